"""Records with artifacts in which the answers to the report's questions are planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from prunebench.record import Record
from support.drawing import npz, with_files
from support.records import RECIPE, record

#: 200 samples; the first 60 have wrong labels, of the others every second was forgotten once.
IDS = np.arange(1000, 1200)
WRONG = np.arange(200) < 60
EVENTS = np.where(WRONG, 0, np.arange(200) % 2).astype(np.float32)
NOISES = ("symmetric:0.3", "symmetric:0.6", "asymmetric:0.3")
SEEDS = range(5)
ALIGN = {"align.reference": "clean", "align.reference_size": None, "align.impurity": 0.0}
SMALL = "infobatch+align, small"

#: By method: mean visits of easy, hard and wrong samples, final accuracy, share memorised.
PLANTED: dict[str, tuple[tuple[int, int, int], float, float]] = {
    "full": ((10, 10, 10), 0.90, 0.60),
    "forgetting": ((2, 10, 5), 0.88, 0.50),
    "random": ((5, 5, 5), 0.80, 0.50),
    "infobatch": ((5, 5, 9), 0.90, 0.55),
    "infobatch+align": ((6, 6, 2), 0.94, 0.10),
    SMALL: ((6, 6, 4), 0.92, 0.30),
}


def losses(method: str, seed: int) -> bytes:
    """Full training ends with losses alike, a row that memorises little with losses apart."""
    rng = np.random.default_rng(seed)
    start = np.where(WRONG, 2.0, 1.0) + rng.uniform(0, 0.1, 200)
    apart = 1 - PLANTED[method][2]
    end = 0.2 + rng.uniform(0, 1, 200) + np.where(WRONG, 2 * apart - 0.8, 0)
    loss = np.stack([start, end]).astype(np.float32)
    return npz(id=IDS, epoch=np.array([1, 8]), loss=loss, wrong=WRONG)


def epochs(accuracy: float, size: int, memorised: float) -> bytes:
    """Accuracy, and wrong labels predicted, rise to their end in eight steps of so many samples."""
    lines = ["epoch,trained,planned,spent,test_accuracy,wrong_label_accuracy"]
    for n in range(1, 9):
        shown = f"{accuracy * min(1.0, 0.5 + n / 12):.17g}" if n < 8 else ""
        fitted = f"{memorised * n / 8:.17g}" if n < 8 else ""
        lines.append(f"{n - 1},{size},{size},{n * size},{shown},{fitted}")
    return ("\n".join(lines) + "\n").encode()


def planted(root: Path, *, artifacts: bool = True, effects: bool = True) -> list[Record]:
    """A grid of all rows; ``effects`` False gives random accuracies and what was kept like the
    data."""
    rng = np.random.default_rng(3)
    found = []
    for method, (visits, accuracy, memorised) in PLANTED.items():
        for noise in NOISES:
            for seed in SEEDS:
                shift = int(rng.integers(-3, 4)) / 450
                value = (accuracy if effects else 0.9) + shift
                found.append(_run(root, method, noise, seed, visits, value, memorised, artifacts,
                                  effects))  # fmt: skip
    return found


def _run(
    root: Path, method: str, noise: str, seed: int, visits: tuple[int, int, int], accuracy: float,
    memorised: float, artifacts: bool, effects: bool,
) -> Record:  # fmt: skip
    rng = np.random.default_rng([seed, NOISES.index(noise), [*PLANTED].index(method)])
    places = np.where(WRONG, 2, EVENTS.astype(int))
    own = np.array(visits if effects else (5, 5, 5))[places] + rng.integers(0, 2, 200)
    params: dict[str, Any] = {}
    info: dict[str, Any] = {"noise_rate": 0.3, "kind": "dynamic", "reference_size": 90}
    if method == "forgetting":
        params, info["kind"], info["score"], info["sampler"] = (
            {"epochs": 8}, "static", "forgetting", "balanced",
        )  # fmt: skip
    if "+align" in method:
        params = {**ALIGN, "align.reference_size": 10 if method == SMALL else None}
        info["clean_labels_used"] = "reference set"
    if method == SMALL:
        info["label"] = SMALL
    metrics = {
        "kept_noise_rate": float(own[WRONG].sum() / own.sum()),
        "wrong_label_accuracy": memorised if effects else 0.5,
        "right_label_accuracy": 0.9,
    }
    name = method.partition(",")[0]
    made = record(name, noise, seed, accuracy=accuracy, params=params, metrics=metrics, info=info,
                  spec={"recipe": {**RECIPE, "eval_every": 1}})  # fmt: skip
    if not artifacts:
        return made
    score = {"score": EVENTS} if method == "forgetting" else {}
    files = {
        "samples.npz": npz(id=IDS, visits=own.astype(np.int32), **score),
        "losses.npz": losses(method, seed),
        "epochs.csv": epochs(accuracy, 200 if method == "full" else 100, memorised),
    }
    return with_files(made, files, root)
