"""SIGTERM: the step is finished, the run saved, and the same command goes on from that step."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from prunebench.bench.results.claims import Claims
from prunebench.bench.results.store import Store
from prunebench.bench.runs.checkpoint_file import FILE
from support.command import command, figures
from support.faults import Child, at_step, count_steps, same_results, tiny_grid, whole
from support.killing import agrees, children, needs_proc

#: Steps of the run of each method in the tiny grid, its scoring run included.
METHODS = {"infobatch": "ce", "infobatch+align": "sop+", "divbs": "ce", "small-loss": "ce"}


def words(method: str, criterion: str, out: Path) -> list[object]:
    options = {"n": 180, "test": 60, "classes": 4, "superclasses": 2, "size": 8}
    fields = {"epochs": 6, "batch_size": 16, "model": "mlp",
              "model_params": '{"width": 8, "depth": 1}'}  # fmt: skip
    line: list[object] = ["run", "--dataset", "synthetic", "--noise", "symmetric:0.4"]
    line += ["--method", method, "--criterion", criterion, "--ratio", "0.5", "--out", out]
    line += [
        part for item in options.items() for part in ("--dataset-param", "{}={}".format(*item))
    ]
    line += [part for item in fields.items() for part in ("--recipe-param", "{}={}".format(*item))]
    return [*line, "--checkpoint-s", "1e9", "--no-mlflow", "-q", "-w", "1"]


def steps(line: list[object], log: Path) -> int:
    """Runs a command to its end and counts its optimiser steps."""
    said = Child(*line, before=lambda: count_steps(log)).wait()
    assert said.code == 0, said.err
    return len(log.read_bytes()) if log.exists() else 0


def terminate_at(step: int, times: int = 1) -> None:
    def shoot() -> None:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGTERM)

    at_step(step, shoot)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_terminated_goes_on_from_that_very_step(method, tmp_path):
    calm, shot = tmp_path / "calm", tmp_path / "shot"
    total = steps(words(method, METHODS[method], calm), tmp_path / "steps")
    line, done = words(method, METHODS[method], shot), 0
    for at in (total // 3, total // 3):  # each in the middle of an epoch
        said = Child(*line, before=lambda at=at: terminate_at(at)).wait()
        done += at
        assert said.code == 1
        assert said.err == (
            "prunebench: stopped; finished cells are recorded, the same command goes on\n"
        )
        assert len(list(shot.glob(f"checkpoints/*/{FILE}"))) == 1
        whole(shot)
    assert steps(line, tmp_path / "rest") == total - done
    same_results(shot, calm)
    assert not list((shot / "quarantine").iterdir())


def test_a_second_signal_leaves_at_once_and_holds_nothing(tmp_path):
    line = words("infobatch", "ce", tmp_path / "r")
    said = Child(*line, before=lambda: terminate_at(30, times=2)).wait()
    assert said.code == 1
    assert said.err.startswith("prunebench: stopped;")
    assert not list(tmp_path.glob(f"r/checkpoints/*/{FILE}"))
    whole(tmp_path / "r")


def test_a_signal_in_the_last_step_leaves_no_step_to_do(tmp_path):
    calm, shot = tmp_path / "calm", tmp_path / "shot"
    total = steps(words("random", "ce", calm), tmp_path / "steps")
    said = Child(*words("random", "ce", shot), before=lambda: terminate_at(total)).wait()
    assert said.code == 1
    assert not Store(shot).keys()
    assert steps(words("random", "ce", shot), tmp_path / "rest") == 0
    same_results(shot, calm)


SLOW = """
import time
from prunebench.methods.base import DynamicPruner, register_method

@register_method("slow")
class Slow(DynamicPruner):
    def plan(self, progress, tables, rng):
        time.sleep(0.02)
        return self.everything()
"""


@pytest.mark.soak
def test_terminated_workers_and_drivers_of_a_grid_save_their_cells(tmp_path, monkeypatch):
    """A worker of its own, stopped twice: alone, and with its driver."""
    needs_proc()
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    toml = tiny_grid(tmp_path / "slow.toml", ["slow"], epochs=150)
    base = ["--plugin", plugin, "grid", toml, "-w", "1", "--no-mlflow", "-q", "--out"]
    with monkeypatch.context() as patch:
        patch.setenv("PRUNEBENCH_INLINE", "1")
        assert Child(*base, tmp_path / "calm").wait().code == 0

    root = tmp_path / "shot"
    line = command(*base, root, "--checkpoint-s", "1e9")

    def saved() -> list[Path]:
        return list(root.glob(f"checkpoints/*/{FILE}"))

    def worker_at_work(driver: subprocess.Popen[bytes], beside: int = 0) -> int:
        claims, end = Claims(root / "claims"), time.monotonic() + 240
        while time.monotonic() < end:
            for key in [path.stem for path in claims.folder.glob("*.json")]:
                holder = claims.holder(key)
                pid = holder.process.pid if holder and holder.process else 0
                if pid in children(driver.pid) - {beside}:
                    time.sleep(0.5)
                    return pid
            time.sleep(0.02)
        raise AssertionError("no worker holds a cell")

    with open(tmp_path / "log", "ab") as log:
        driver = subprocess.Popen(line, stdout=log, stderr=log, process_group=0)
    try:
        first = worker_at_work(driver)
        os.kill(first, signal.SIGTERM)
        worker_at_work(driver, beside=first)
        assert saved()  # without a timed checkpoint: it was made on the way out
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(120) == 1
    finally:
        driver.kill()
        driver.wait()
    assert "stopped; finished cells are recorded" in (tmp_path / "log").read_text()
    assert saved()
    assert not figures(root)
    whole(root)
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    assert Child(*base, root).wait().code == 0
    agrees(root, tmp_path / "calm")
