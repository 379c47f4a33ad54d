"""Interleaved runs give the bits that they give alone."""

import itertools

import pytest
import torch
from torch import nn

from prunebench.bench.networks.base import FeatureNet, flat_size
from prunebench.bench.networks.build import register_model
from prunebench.bench.train import interleaved, trainer
from prunebench.bench.train.interleaved import Finished, InterleavedRuns
from prunebench.bench.train.step import RunAhead
from prunebench.registry import MODELS
from support.runs import Hooks, everything, make, run_all

CPU = torch.device("cpu")
RUNS = [
    {"method": "infobatch", "noise": "symmetric:0.2"},
    {"method": "divbs", "seed": 3},
    {"method": "infobatch+align"},
    {"method": "full", "noise": "clean"},
    {"method": "random-dynamic", "seed": 5, "ratio": 0.7},
]


@pytest.fixture(scope="module")
def forgetful():
    """A network with dropout, which reads torch's global generator."""

    @register_model("forgetful")
    def build(shape, num_classes):
        body = nn.Sequential(nn.Flatten(), nn.Linear(flat_size(shape), 32), nn.ReLU(),
                             nn.Dropout(0.5))  # fmt: skip
        return FeatureNet(body, 32, num_classes)

    yield "forgetful"
    MODELS._entries.pop("forgetful", None)


def steps(fields, graph, done):
    run = make(graph=graph, **fields)
    yield from run.steps()
    done.append(run)
    state = {name: value.clone() for name, value in everything(run).items()}
    run.close()
    return state, run.epoch_log, run.ledger


@pytest.mark.parametrize("graph", ["auto", "rehearse"])
@pytest.mark.parametrize("count", [2, 3])
def test_interleaved_runs_equal_runs_alone(graph, count, forgetful):
    short = {"epochs": 2}
    runs = [{**fields, "recipe_params": short} for fields in RUNS]
    runs += [{"method": "infobatch", "model": forgetful, "recipe_params": short, "seed": seed}
             for seed in (0, 1)]  # fmt: skip
    order, alone = [], []
    together = run_all([lambda f=f: steps(f, graph, order) for f in runs], CPU, count)
    for fields in runs:
        run = make(graph=graph, **fields)
        run.fit()
        alone.append((everything(run), run.epoch_log, run.ledger))
    for (state, table, ledger), (other, other_table, other_ledger) in zip(
        together, alone, strict=True
    ):
        assert state.keys() == other.keys()
        for name in state:
            assert torch.equal(state[name].nan_to_num(-7), other[name].nan_to_num(-7)), name
        assert table == other_table
        assert ledger == other_ledger


def test_runs_alternate_and_later_ones_take_freed_places():
    seen = []

    def counting(name, steps):
        for step in range(steps):
            seen.append((name, step))
            yield None
        return name

    jobs = [("a", 3), ("b", 1), ("c", 2)]
    assert run_all([lambda j=j: counting(*j) for j in jobs], CPU, 2) == ["a", "b", "c"]
    assert seen == [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("c", 0), ("c", 1)]


class Delay:
    """Work under way that ends when it has been asked about often enough."""

    def __init__(self, asks):
        self.asks, self.synchronised = asks, 0

    def query(self):
        self.asks -= 1
        return self.asks < 0

    def synchronize(self):
        self.synchronised += 1
        self.asks = 0


def test_a_run_that_waits_lets_the_others_go_on():
    seen, delay = [], Delay(2)

    def waiting():
        yield delay
        seen.append("served")

    def working():
        for step in range(4):
            seen.append(step)
            yield None

    run_all([waiting, working], CPU, 2)
    assert seen == [0, 1, 2, "served", 3]
    assert delay.synchronised == 0
    late = Delay(100)

    def stuck():
        yield late

    run_all([stuck], CPU, 2)
    assert late.synchronised == 1


def test_where_all_wait_the_first_that_is_served_goes_on(monkeypatch):
    seen, pauses = [], []
    monkeypatch.setattr(interleaved.time, "sleep", pauses.append)
    late, soon = Delay(60), Delay(20)

    def waiting(name, delay):
        yield delay
        seen.append(name)

    run_all([lambda: waiting("late", late), lambda: waiting("soon", soon)], CPU, 2)
    assert seen == ["soon", "late"]
    assert soon.synchronised == 0
    assert late.synchronised == 1  # nobody else was left
    assert 0 < len(pauses) <= 20
    assert max(pauses) <= 0.001


@pytest.mark.parametrize("waits", [(0, 0, 0), (3, 0, 0), (5, 1, 2), (9, 9, 9)])
def test_no_run_starves_beside_others(waits):
    turns = []

    def run(name, asks):
        for _ in range(6):
            turns.append(name)
            yield Delay(asks) if asks else None

    run_all([lambda n=n, w=w: run(n, w) for n, w in enumerate(waits)], CPU, len(waits))
    for name, asks in enumerate(waits):
        places = [place for place, turn in enumerate(turns) if turn == name]
        apart = [b - a for a, b in itertools.pairwise(places)]
        # While it waits, others have a turn for each time that its wait is looked at.
        assert len(places) == 6
        assert max(apart) <= (asks + 1) * len(waits)


def test_the_host_is_a_bounded_number_of_steps_ahead_of_a_card(monkeypatch):
    queued, done = 0, 0

    class Event:
        """The end of the steps queued so far."""

        def __init__(self):
            self.at = queued

        def synchronize(self):
            nonlocal done
            done = max(done, self.at)

    monkeypatch.setattr("prunebench.bench.train.step.work_so_far", Event)
    monkeypatch.setattr(trainer, "RunAhead", lambda device: RunAhead(torch.device("cuda")))
    monkeypatch.setattr(RunAhead, "EVERY", 2)
    ahead = []

    def note(_):
        nonlocal queued
        queued += 1
        ahead.append(queued - done)

    short = {"batch_size": 32, "epochs": 1}
    make(graph="auto", recipe_params=short, callbacks=[Hooks(step_end=note)]).fit()
    assert len(ahead) > 20
    assert max(ahead) == 4
    assert min(ahead[4:]) > 2  # the card never runs dry
    on_cpu = RunAhead(CPU)
    assert {on_cpu.step() for _ in range(9)} == {None}


def test_a_lack_of_memory_costs_a_place_and_no_run():
    room, running, limits = 2, [0], []

    def hungry(name):
        running[0] += 1
        try:
            if running[0] > room:
                raise torch.OutOfMemoryError("no room")
            for _ in range(3):
                yield None
        finally:
            running[0] -= 1
        return name

    names = list("abcdef")
    assert run_all([lambda n=n: hungry(n) for n in names], CPU, 4, limits.append) == names
    assert limits[-1] == room
    assert limits == sorted(limits, reverse=True)
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        run_all([lambda: hungry("alone")], CPU, 1)


def test_an_error_ends_all_and_every_run_is_closed():
    closed = []

    def failing():
        yield None
        raise RuntimeError("broken")

    def patient():
        try:
            while True:
                yield None
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="broken"):
        run_all([failing, patient], CPU, 2)
    assert closed == [True]


def test_the_generators_of_the_process_are_left_alone():
    state = torch.get_rng_state()
    runs = InterleavedRuns(CPU, 1)

    def drawing():
        torch.manual_seed(1)
        yield None
        return torch.rand(2)

    runs.add("a", drawing())
    assert runs.step() == []
    torch.rand(7)
    outside = torch.get_rng_state()
    (end,) = runs.step()
    assert isinstance(end, Finished)
    assert torch.equal(torch.get_rng_state(), outside)
    torch.manual_seed(1)
    assert torch.equal(end.value, torch.rand(2))
    torch.set_rng_state(state)
    runs.add("b", drawing())
    with pytest.raises(ValueError, match="all 1 runs are under way"):
        runs.add("c", drawing())
    runs.cancel("b")
    assert runs.running == []
