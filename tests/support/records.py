"""Sealed records with made-up numbers, for tests of whatever reads records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from prunebench.leaderboard.board.model import Board, Table
from prunebench.record import Record, content_key

RECIPE = {"name": "digits-mlp", "version": "1", "model": "mlp", "epochs": 10, "batch_size": 64}
NO_SCORES = ("full", "short-full", "full+reference", "random")


def record(
    method: str = "full",
    noise: str = "clean",
    seed: int = 0,
    ratio: float | None = None,
    accuracy: float | None = 0.9,
    *,
    status: str = "done",
    reason: str = "",
    params: dict[str, Any] | None = None,
    metrics: dict[str, float | None] | None = None,
    info: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
) -> Record:
    """One sealed record; ``spec`` replaces whole fields, the other mappings are merged."""
    ratio = (0.0 if method in ("full", "full+reference") else 0.5) if ratio is None else ratio
    content: dict[str, Any] = {
        "schema": 1,
        "dataset": {"name": "digits", "version": "1", "params": {}, "identity": ""},
        "noise": {"name": noise, "rule": noise, "count": "exact_per_class", "seed": None},
        "method": {"name": method, "version": "1", "params": params or {}},
        "criterion": {"name": "ce", "version": "1", "params": {}},
        "recipe": RECIPE,
        "ratio": ratio,
        "budget": "samples",
        "budget_share": None,
        "reference": {"size": 90, "mode": "held_out"},
        "validation": {"size": 0, "labels": "noisy"},
        "proxy": "shared",
        "replica": 0,
        "seed": seed,
        "role": "eval",
        **(spec or {}),
    }
    finished = status in ("done", "diverged")
    numbers: dict[str, float | None] = {
        "test_accuracy": accuracy,
        "realised_ratio": ratio,
        "compute_ratio": ratio * 0.9,
    }
    if method not in NO_SCORES:
        numbers |= {"kept_noise_rate": 0.125, "score_auroc": 0.8}
    labels = f"{content['dataset'].get('name')} {noise} {seed}"
    return Record(
        key=content_key(content),
        spec=content,
        status=status,
        reason=reason,
        metrics={**numbers, **(metrics or {})} if finished else {},
        ledger={"target": 1000, "trained": 1000, "steps": 16, "epochs": 10} if finished else {},
        info={
            "test_size": 450,
            "num_classes": 10,
            "chance": 0.1,
            "oracle": method.startswith("oracle"),
            "clean_labels_used": "",
            "label_digest": hashlib.sha256(labels.encode()).hexdigest()[:16],
            **(info or {}),
        },
        timing={"train_s": 1.5, "total_s": 2.0},
        environment={"device": "cpu", "device_class": "cpu", "code": "abc123"},
    ).sealed()


def grid(
    methods: Iterable[str] = ("full", "random", "infobatch", "infobatch+align"),
    noises: Iterable[str] = ("clean", "symmetric:0.2", "symmetric:0.4"),
    seeds: Iterable[int] = (0, 1, 2),
    ratios: Iterable[float] = (0.5,),
) -> list[Record]:
    """A complete grid; accuracies are multiples of 1/450 drawn from a fixed generator."""
    rng = np.random.default_rng(7)
    records = []
    for method in methods:
        own: Iterable[float] = (0.0,) if method in ("full", "full+reference") else ratios
        for ratio in own:
            for noise in noises:
                for seed in seeds:
                    correct = int(rng.integers(330, 430))
                    records.append(record(method, noise, seed, ratio, correct / 450))
    return records


def only(board: Board) -> Table:
    """The one table of a board."""
    (table,) = board.tables
    return table
