"""DistributedDataParallel around ``Pruning``: two processes train what one process trains."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from api import shared_run
from api.shared_run import BATCH, RUNS

from prunebench.api.pruning import Pruning
from prunebench.bench.train.distributed.world import World, joined
from prunebench.errors import InputError

Seen = list[dict[str, Any]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What both processes saw of every run."""
    folder = tmp_path_factory.mktemp("shared")
    words = [sys.executable, shared_run.__file__, str(folder)]
    tests = {**os.environ, "PYTHONPATH": str(Path(shared_run.__file__).parents[1])}
    job = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=180, env=tests)
    assert job.returncode == 0, job.stderr
    return {
        name: [torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)]
        for name in RUNS
    }


def together(both: Seen) -> list[list[list[int]]]:
    """The samples of both processes by epoch and step, in the order of the plan."""
    return [
        [
            [sample for pair in zip(one, two, strict=True) for sample in pair]
            for one, two in zip(*steps, strict=True)
        ]
        for steps in zip(*(run["order"] for run in both), strict=True)
    ]


@pytest.mark.parametrize("name", RUNS)
def test_both_processes_step_alike_and_stop_at_the_budget(
    name: str, shared: dict[str, Seen]
) -> None:
    one, two = shared[name]
    for key in ("params", "gradients"):
        assert all(map(torch.equal, one[key], two[key])), key
    for table, values in one["tables"].items():
        assert torch.equal(values, two["tables"][table]), table
    steps = together([one, two])  # equally many of equal size
    flat = list(itertools.chain.from_iterable(itertools.chain.from_iterable(steps)))
    assert len(flat) == one["trained"] == two["trained"]
    assert one["target"] % 2  # the odd sample does not go round
    assert one["trained"] == one["target"] - 1
    for epoch in steps:
        samples = list(itertools.chain.from_iterable(epoch))
        assert len(set(samples)) == len(samples)


@pytest.mark.parametrize("name", ["infobatch", "infobatch+align", "ies", "asking"])
def test_two_processes_train_what_one_trains(name: str, shared: dict[str, Seen]) -> None:
    both = shared[name]
    alone = shared_run.fit(RUNS[name], processes=2)
    assert together(both) == alone["order"]
    assert {sum(map(len, epoch)) for epoch in alone["order"][:-1]} != {52}  # it prunes
    close = {"rtol": 1e-5, "atol": 1e-6}
    for found, wanted in zip(both[0]["gradients"], alone["gradients"], strict=True):
        torch.testing.assert_close(found, wanted, **close)
    torch.testing.assert_close(both[0]["params"], alone["params"], **close)
    for table, values in alone["tables"].items():
        torch.testing.assert_close(both[0]["tables"][table], values, **close)
    assert sum(run["scored"] for run in both) == alone["scored"]
    assert (alone["scored"] > 0) == (name in ("ies", "asking"))
    assert max(len(step) for epoch in both[0]["order"] for step in epoch) == BATCH


@pytest.mark.parametrize(("name", "whole"), [
    ("restarted", "infobatch+align"), ("asking-restarted", "asking"), ("divbs-restarted", "divbs"),
])  # fmt: skip
def test_a_state_that_one_process_wrote_serves_all(
    name: str, whole: str, shared: dict[str, Seen]
) -> None:
    for found, wanted in zip(shared[name], shared[whole], strict=True):
        assert found["order"] == wanted["order"]
        assert torch.equal(found["params"], wanted["params"])
        for table, values in wanted["tables"].items():
            assert torch.equal(found["tables"][table], values), table


def test_the_state_of_another_process_is_refused_inside_an_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of(rank: int, size: int) -> Pruning:
        monkeypatch.setattr("prunebench.api.pruning.joined", lambda: World(rank, size))
        monkeypatch.setattr(World, "agree", lambda *_: None)
        pruning = Pruning(shared_run.data(), "full", epochs=2)
        pruning.begin_epoch()
        sample = torch.tensor(list(pruning.sampler)[:4])
        pruning.loss(torch.ones(4), sample)
        return pruning

    state = of(0, 2).state_dict()
    again = of(0, 2)
    again.load_state_dict(state)
    assert len(again.sampler) == 22
    for rank, size in ((1, 2), (0, 1), (0, 3)):
        with pytest.raises(InputError, match=rf"in process 0 of 2, for process {rank} of {size}"):
            of(rank, size).load_state_dict(state)


def test_a_plan_of_fewer_samples_than_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunebench.api.pruning.joined", lambda: World(0, 5))
    pruning = Pruning(shared_run.data(8), "random", epochs=3, ratio=0.5, budget="epochs")
    with pytest.raises(InputError, match=r"begin_epoch: 4 samples for 5 processes"):
        pruning.begin_epoch()


@pytest.mark.cuda
def test_a_group_of_a_device_exchanges_what_lies_on_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``nccl`` takes tensors of a card only; tables and plans lie on the host by default."""
    places = []

    def doubled(x: torch.Tensor, how: Any) -> None:
        places.append(x.device.type)
        x += x

    def everybody(parts: list[torch.Tensor], x: torch.Tensor) -> None:
        places.extend(part.device.type for part in [*parts, x])
        for part in parts:
            part.copy_(x)

    for name, value in {
        "is_initialized": lambda: True, "get_backend_config": lambda: "cuda:nccl",
        "get_rank": lambda: 1, "get_world_size": lambda: 2,
        "all_reduce": doubled, "all_gather": everybody,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.distributed, name, value)
    world, host = joined(), torch.arange(3)
    assert world.add(host) is host
    assert host.tolist() == [0, 2, 4]
    world.agree("a plan", (host,))
    assert world.gather_rows(host, 6).device.type == "cpu"
    assert set(places) == {"cuda"}
    monkeypatch.setattr(torch.distributed, "get_backend_config", lambda: "cpu:gloo,cuda:nccl")
    assert joined() == World(1, 2)
