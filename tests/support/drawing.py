"""Boards and drawings for tests of figures."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures import Material, artifact_reader
from prunebench.leaderboard.figures.all_figures import drawings
from prunebench.leaderboard.figures.style import Drawn
from prunebench.record import Record
from support.records import grid

KINDS = {"random": "static", "small-loss": "static", "full": "baseline", "short-full": "baseline"}

CLASSES = b"class,name,kept_share,test_accuracy\n0,cat,%s,0.9\n1,dog,0.5,0.8\n"
EPOCHS = (b"epoch,score_auroc,kept_noise_rate\n0,,0.2\n1,%s,0.3\n2,0.7,0.4\n"
          b"3,0.9,0.5\n")  # fmt: skip
WRONG = np.arange(200) % 4 == 0

METHODS = ("full", "short-full", "random", "small-loss", "infobatch", "infobatch+align")


def kinded(records: list[Record]) -> list[Record]:
    """The same with the kind of method and a ledger that knows a full run's size."""
    ledger = {"num_samples": 100, "full_epochs": 10, "trained": 500, "proxy_trained": 0}
    found = []
    for r in records:
        name = r.spec["method"]["name"]
        more = {"proxy_trained": 1000, "proxy_scoring": 300} if name == "small-loss" else {}
        kind = KINDS.get(name, "dynamic")
        found.append(
            replace(
                r, info={**r.info, "kind": kind}, ledger={**r.ledger, **ledger, **more}
            ).sealed()
        )
    return found


def scored_elsewhere(records: list[Record], *methods: str) -> list[Record]:
    """The same, but that another network's scoring run chose the samples of some methods."""
    found = []
    for r in records:
        scoring = {"scoring_recipe": {**r.spec["recipe"], "model": "cnn"}}
        more = scoring if r.spec["method"]["name"] in methods else {}
        ledger = {**r.ledger, "proxy_trained": 1000} if more else r.ledger
        found.append(replace(r, spec={**r.spec, **more}, ledger=ledger).sealed())
    return found


def draw(name: str, material: Material) -> list[Any]:
    return [found for _, found in drawings(material, [name])]


def one(name: str, material: Material) -> Drawn:
    (found,) = draw(name, material)
    assert isinstance(found, Drawn), found
    return found


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def panels(drawn: Drawn) -> list[Any]:
    return [axes for axes in drawn.figure.axes if axes.get_visible()]


def with_files(r: Record, files: dict[str, bytes], root: Path) -> Record:
    folder = root / "artifacts" / r.key
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        entries[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return replace(r, artifacts=entries).sealed()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def losses(**more: Any) -> bytes:
    start = np.where(WRONG, 2.0, 0.5) + np.arange(200) / 1000
    rows = np.stack([start, start.copy(), start / 2, start / 4]).astype(np.float32)
    rows[1, WRONG] = 1.5 + np.arange(50) / 1000  # the second epoch trains wrong labels only
    arrays = {"id": np.arange(200), "epoch": np.array([1, 2, 3, 4]), "loss": rows, "wrong": WRONG}
    return npz(**{name: value for name, value in {**arrays, **more}.items() if value is not None})


def stored_board(root: Path, **arrays: Any) -> Material:
    """A board whose runs have stored losses, classes and epochs."""
    found = []
    for r in kinded(grid(("full", "infobatch", "infobatch+align"), ("symmetric:0.2",))):
        seed = r.spec["seed"]
        files = {"classes.csv": CLASSES % (b"0.%d" % (1 + seed)),
                 "epochs.csv": EPOCHS % (b"0.%d" % (5 + seed)),
                 "losses.npz": losses(**arrays)}  # fmt: skip
        found.append(with_files(r, files, root))
    return Material(build(found), artifact_reader([root]))
