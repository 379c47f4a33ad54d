"""Plug-ins that raise, return nonsense, fork or leave: each fails alone, by its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from support.command import figures, prunebench
from support.faults import Child, grid, one_line, tiny_grid, whole

HEAD = """
import os, sys, time
import torch
from prunebench.methods.base import *
from prunebench.methods.base import Subset, Plan

def everything(self, *_):
    return Plan(torch.arange(self.view.num_samples))

def method(name, base=DynamicPruner, **hooks):
    hooks.setdefault("plan", everything)
    if base is StaticPruner:
        hooks.setdefault("keep", lambda self, evidence, k, rng: Subset(torch.arange(k)))
    if base is BatchPruner:
        hooks.setdefault("select", lambda self, batch, k, rng: torch.arange(k))
    register_method(name)(type(name, (base,), hooks))

def boom(*_, **__):
    raise RuntimeError("boom")
"""
#: Hook that raises -> base of the method.
RAISING = {
    "__init__": "DynamicPruner",
    "needs": "StaticPruner",
    "cautions": "DynamicPruner",
    "pruned_share": "DynamicPruner",
    "begin": "DynamicPruner",
    "plan": "DynamicPruner",
    "select": "BatchPruner",
    "keep": "StaticPruner",
    "state_dict": "DynamicPruner",
}
#: Method -> (how it is made, words of its reason).
NONSENSE = {
    "no-subset": ("StaticPruner, keep=lambda s, e, k, r: [1, 2]", "keep() returned list"),
    "nan-scores": (
        "StaticPruner, keep=lambda s, e, k, r: Subset(torch.arange(k), "
        "torch.full((len(e.labels),), torch.nan))",
        "scores hold NaN",
    ),
    "short-scores": (
        "StaticPruner, keep=lambda s, e, k, r: Subset(torch.arange(k), torch.ones(3))",
        "scores must be a vector of",
    ),
    "keeps-more": (
        "StaticPruner, keep=lambda s, e, k, r: Subset(torch.arange(k + 1))", "where",
    ),
    "keeps-twice": (
        "StaticPruner, keep=lambda s, e, k, r: Subset(torch.zeros(k, dtype=torch.int64))",
        "hold a sample twice",
    ),
    "keeps-floats": (
        "StaticPruner, keep=lambda s, e, k, r: Subset(torch.arange(k).float())", "int64 vector",
    ),
    "keeps-strangers": (
        "StaticPruner, keep=lambda s, e, k, r: Subset(torch.arange(k) - 1)", "outside 0..",
    ),
    "negative-weights": (
        "plan=lambda s, *_: Plan(torch.tensor([1, 2]), torch.tensor([1.0, -1.0]))",
        "finite and not negative",
    ),
    "selects-fewer": ("BatchPruner, select=lambda s, b, k, r: torch.arange(k - 1)", "int64 ["),
    "selects-twice": (
        "BatchPruner, select=lambda s, b, k, r: torch.zeros(k, dtype=torch.int64)", "each once",
    ),
    "selects-negative": (
        "BatchPruner, select=lambda s, b, k, r: torch.arange(k) - 1", "each once",
    ),
    "selects-strangers": (
        "BatchPruner, select=lambda s, b, k, r: torch.arange(k) + 10**6", "each once",
    ),
    "selects-floats": ("BatchPruner, select=lambda s, b, k, r: torch.ones(k)", "int64 ["),
    "exits": ("plan=lambda *_: sys.exit(3)", "SystemExit: 3"),
}  # fmt: skip


def plugin(path: Path, lines: list[str]) -> Path:
    path.write_text(HEAD + "\n".join(lines) + "\n")
    return path


def by_method(root: Path) -> dict[str, tuple[str, str]]:
    records = Store(root).scan().records
    return {r.spec["method"]["name"]: (r.status, r.reason) for r in records}


def test_every_hook_that_raises_and_every_nonsense_fails_its_cell_alone(tmp_path):
    names = [f"in-{hook.strip('_').replace('_', '-')}" for hook in RAISING]
    lines = [f'method("{name}", {made})' for name, (made, _) in NONSENSE.items()]
    for name, (hook, base) in zip(names, RAISING.items(), strict=True):
        lines += [f"def {hook}(*_, **__): boom()", f'method("{name}", {base}, {hook}={hook})']
    file = plugin(tmp_path / "bad.py", lines)
    toml = tiny_grid(tmp_path / "bad.toml", [*names, *NONSENSE, "random", "small-loss"], epochs=4)
    root = tmp_path / "r"
    line = ["--plugin", file, "grid", toml, "--out", root, "-w", "1", "--no-mlflow", "-q"]
    before = lambda: os.environ.update(PRUNEBENCH_INLINE="1")  # noqa: E731
    said = Child(*line, "--checkpoint-s", "0", before=before).wait()
    assert said.code == 1
    assert "Traceback" not in said.err
    found = by_method(root)
    for name, hook in zip(names, RAISING, strict=True):
        assert found[name] == ("failed", f"RuntimeError: boom (method {name}, in {hook}())")
    for name, (_, words) in NONSENSE.items():
        status, reason = found[name]
        assert status == "failed", name
        assert words in reason, name
        assert name in reason
    assert {found[name][0] for name in ("random", "small-loss", "full")} <= {"done", "diverged"}
    for record in Store(root).scan().records:
        if record.status == "failed":
            assert Store(root).artifact(record.key, "traceback.txt")
    whole(root)
    again = Child(*line, before=before).wait()  # nothing is tried again unless it is asked for
    assert again.code == 1
    assert "cells failed before; --retry-failed runs them again" in one_line(again)


def test_a_plugin_that_raises_at_import_is_one_line(tmp_path):
    file = plugin(tmp_path / "bad.py", ["boom()"])
    toml = tiny_grid(tmp_path / "g.toml", ["random"])
    said = prunebench("--plugin", file, "grid", toml, "--out", tmp_path / "r", "-q")
    assert said.code == 2
    assert "the plug-in fails to import (RuntimeError: boom)" in one_line(said)
    assert not (tmp_path / "r").exists()


@pytest.mark.soak
def test_cells_that_leave_or_fork_in_a_worker_trouble_no_other_cell(tmp_path, monkeypatch):
    """Workers of their own: one method ends its process, one goes on as two processes."""
    lines = [
        'method("leaves", plan=lambda *_: os._exit(0))',
        'method("forks", plan=lambda s, *_: os.fork() >= 0 and everything(s))',
    ]
    file = plugin(tmp_path / "bad.py", lines)
    toml = tiny_grid(tmp_path / "g.toml", ["forks", "random", "leaves"], epochs=3)
    root, calm = tmp_path / "r", tmp_path / "calm"
    words = ["--no-mlflow", "-q", "-w", "1"]
    said = Child("--plugin", file, "grid", toml, "--out", root, *words).wait()
    assert said.code == 1
    found = by_method(root)
    assert found["leaves"] == ("killed", "the worker exited with code 0 (after 2 attempts)")
    assert " leaves 0.5 s0: the worker exited" in one_line(said)
    assert found["forks"][0] in ("done", "diverged")
    whole(root)

    good = tiny_grid(tmp_path / "good.toml", ["random"], epochs=3)
    assert grid(good, calm).code == 0
    assert figures(calm).items() <= figures(root).items()


HOGS = {
    "hog": "torch.empty(1 << 36)",
    "list-hog": "bytearray(1 << 36)",
}


@pytest.mark.parametrize("name", HOGS)
def test_a_cell_without_memory_fails_and_says_so(name, tmp_path):
    """The process may not have more memory than it has, and a gigabyte."""
    import resource

    def before() -> None:
        os.environ["PRUNEBENCH_INLINE"] = "1"
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + (1 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    file = plugin(tmp_path / "bad.py", [f'method("{name}", plan=lambda *_: {HOGS[name]})'])
    toml = tiny_grid(tmp_path / "g.toml", [name, "random"], epochs=2)
    root = tmp_path / "r"
    line = ["--plugin", file, "grid", toml, "--out", root, "-w", "1", "--no-mlflow", "-q"]
    if not Path("/proc/self/statm").exists():
        pytest.skip("reads the size of this process in /proc")
    said = Child(*line, before=before).wait()
    assert said.code == 1
    found = by_method(root)
    assert found[name][0] == "failed"
    assert found[name][1].startswith("out of memory")
    assert found[name][1].endswith(f"(method {name}, in <lambda>())")
    assert found["random"][0] in ("done", "diverged")
    whole(root)
