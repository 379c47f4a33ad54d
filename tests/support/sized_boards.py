"""Boards of any number of methods with everything that figures are drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material, artifact_reader
from prunebench.record import Record
from support.drawing import WRONG, npz, with_files
from support.records import RECIPE, record

NOISES, RATIOS, SEEDS, TESTED = ("clean", "symmetric:0.4 + exp:50"), (0.3, 0.5), (0, 1, 2), 10_000
EPOCHS = 4
CONTROLS = ("full", "short-full", "random", "random-dynamic")
#: Names of the methods behind the controls, in turn; every fourth has a long one.
_NAMES = ("dual-{}", "ies-{}", "ies-{}+align", "a-method-with-a-long-name-{}")
#: Values of an option of one method, on boards of twelve methods and more.
WINDOWS = (2, 3, 5)


def names(count: int) -> list[str]:
    """As many methods, controls first."""
    rest = [_NAMES[k % 4].format(k // 4) for k in range(count - len(CONTROLS))]
    return [*CONTROLS, *rest][:count]


def sized(root: Path, count: int) -> Material:
    """A board of ``count`` methods: many close together, some far below, one far above.

    Runs at the smaller ratio have classes, epochs, evaluations and losses.
    """
    rng = np.random.default_rng(count)
    found = []
    for place, method in enumerate(names(count)):
        lead = (-30.0, -8.0, 3.0)[place % 3] if place % 7 == 6 else float(rng.normal(0, 0.4))
        rows = [{}] if count < 12 or place != 6 else [{"window": w} for w in WINDOWS]
        for params, noise, seed in product(rows, NOISES, SEEDS):
            for ratio in (0.0,) if method == "full" else RATIOS:
                points = 88 + lead - 4 * ratio + float(rng.normal(0, 0.3)) + len(params)
                made = _run(method, noise, seed, ratio, round(TESTED * points / 100), params)
                found.append(with_files(made, dict(_files(made, rng)), root)
                             if ratio in (0.0, RATIOS[0]) else made)  # fmt: skip
    return Material(build(found), artifact_reader([root]), nemenyi=True)


def _run(
    method: str, noise: str, seed: int, ratio: float, hits: int, params: dict[str, object]
) -> Record:
    kind = "baseline" if method in ("full", "short-full") else (
        "static" if method.startswith(("random", "dual")) and "dynamic" not in method
        else "dynamic")  # fmt: skip
    label, _, imbalance = noise.partition(" + ")
    spec = {"recipe": {**RECIPE, "eval_every": 1}}
    spec |= {"imbalance": {"name": imbalance}} if imbalance else {}
    info = {"kind": kind, "test_size": TESTED, "noise_rate": 0.4}
    metrics = {"worst_class_accuracy": hits / TESTED - 0.1}
    made = record(method, label, seed, ratio, hits / TESTED, params=params, info=info, spec=spec,
                  metrics=metrics)  # fmt: skip
    ledger = {"num_samples": 100, "full_epochs": 10, "trained": 500,
              "proxy_trained": 1000 * (kind == "static"), "proxy_scoring": 0}  # fmt: skip
    timing = {"train_s": 10 * (1 - ratio) + seed / 10 + len(method) / 20, "total_s": 12.0}
    return replace(made, ledger={**made.ledger, **ledger}, timing=timing)


def _files(made: Record, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    names_of_classes = ("airplane", "cat", "dog")
    classes = [f"{c},{name},{rng.uniform(0.2, 0.9):.3f},0.9"
               for c, name in enumerate(names_of_classes)]  # fmt: skip
    yield "classes.csv", "\n".join(["class,name,kept_share,test_accuracy", *classes]).encode()
    end = made.metrics["test_accuracy"]
    assert end is not None
    rows = [f"{e},40,40,{40 * e + 40},{rng.uniform(0.4, 0.9):.3f},{rng.uniform(0.1, 0.4):.3f},"
            f"{'' if e == EPOCHS - 1 else end * (0.6 + e / 10)}"
            for e in range(EPOCHS)]  # fmt: skip
    head = "epoch,trained,planned,spent,score_auroc,kept_noise_rate,test_accuracy"
    yield "epochs.csv", "\n".join([head, *rows]).encode()
    if made.spec["noise"]["name"] != "clean" and made.spec["seed"] == 0:
        loss = np.where(WRONG, 1.5, 0.5) * rng.uniform(0.3, 3, (EPOCHS, len(WRONG)))
        yield "losses.npz", npz(id=np.arange(len(WRONG)), epoch=np.arange(1, EPOCHS + 1),
                                loss=loss.astype(np.float32), wrong=WRONG)  # fmt: skip


def crossed(count: int) -> Material:
    """A grid of scores by samplers of about ``count`` rows beside full training and random."""
    samplers = ("top", "beta", "strata", "balanced", "window")[: 2 if count < 12 else 4]
    rng = np.random.default_rng(count)
    found = []
    for noise, seed in product(("clean", "symmetric:0.4"), SEEDS):
        found.append(record("full", noise, seed, accuracy=0.9))
        found.append(record("random", noise, seed, accuracy=0.8))
        for k, sampler in product(range(max(2, count // len(samplers))), samplers):
            name = f"score-{k}" if sampler == "top" else f"score-{k}@{sampler}"
            found.append(record(name, noise, seed, accuracy=int(rng.integers(300, 400)) / 450,
                                info={"score": f"score-{k}", "sampler": sampler}))  # fmt: skip
    return Material(build(found))


def transferred(count: int) -> Material:
    """Subsets of ``count`` methods, chosen by one network and trained by two others too."""
    rng = np.random.default_rng(count)
    found = []
    for model, seed in product(("mlp", "cnn", "resnet18"), SEEDS):
        own = {"recipe": {**RECIPE, "model": model}}
        scored = own if model == "mlp" else {**own, "scoring_recipe": RECIPE}
        for method in ("full", "random", *(f"method-{k}" for k in range(count - 2))):
            spec = own if method in ("full", "random") else scored
            accuracy = int(rng.integers(300, 400)) / 450
            found.append(record(method, "clean", seed, accuracy=accuracy, spec=spec))
    return Material(build(found))
