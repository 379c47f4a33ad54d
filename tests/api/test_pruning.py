"""``Pruning`` in a plain loop equals the harness's own trainer, from a saved state too."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from api.own_loop import BATCH, OwnLoop, fifty, losses_of, parameters, to_end, trainer, visits
from torch.utils.data import DataLoader

from prunebench.api.pruning import Pruning
from prunebench.bench.train.optimizers import EagerSGD
from prunebench.bench.train.trainer import Trainer
from prunebench.errors import InputError
from prunebench.methods.compose import list_methods
from support.asking import ASKING, Asking, asking

torch.set_num_threads(1)

METHODS = [
    info.name for info in list_methods()
    if info.kind in ("dynamic", "batch") and info.target.__module__.startswith("prunebench.")
    and info.build().needs(9, 2).empty
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_plain_loop_trains_what_the_trainer_trains(method: str) -> None:
    ratio = 0.0 if method in ("full", "short-full", "full+reference") else 0.5
    same_training(trainer(method, ratio), method)


@pytest.mark.parametrize("pruner", ASKING)
def test_a_plain_loop_honours_what_a_pruner_asks_for(
    pruner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, ratio = ASKING[pruner]
    monkeypatch.setattr("prunebench.api.pruning.pruner_of", lambda *_: (kind(), ratio))
    same_training(asking(pruner, {"batch_size": BATCH, "cycle_momentum": False}), pruner)


def test_what_a_pruner_asks_for_survives_a_state_inside_an_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prunebench.api.pruning.pruner_of", lambda *_: (Asking(), 0.0))
    run = asking("asking", {"batch_size": BATCH, "cycle_momentum": False})
    whole, broken, after = (OwnLoop(run, "asking") for _ in range(3))
    to_end(whole)
    for _ in itertools.islice(broken.train(), 30):
        pass
    state = broken.pruning.state_dict()
    assert state["now"]["batches"] > 1
    after.pruning.load_state_dict(state)
    after.model, after.optimizer = broken.model, broken.optimizer
    to_end(after)
    tables = after.pruning.tables.state_dict()
    for name, table in whole.pruning.tables.state_dict().items():
        assert torch.equal(table.nan_to_num(-7), tables[name].nan_to_num(-7)), name
    del state["now"]["batches"], state["now"]["batch_of"]  # as an earlier version wrote it
    OwnLoop(run, "asking").pruning.load_state_dict(state)


@pytest.mark.parametrize("budget", ["samples", "epochs"])
def test_what_a_batch_level_method_passed_over_is_not_offered_again(budget: str) -> None:
    """Its epoch goes on from a state between two steps as if nothing had been."""
    run = trainer("big-loss", 0.4)
    whole, broken, after = (OwnLoop(run, "big-loss", budget=budget) for _ in range(3))
    shares = [whole.pruning.progress for _ in whole.train()]
    for _ in itertools.islice(broken.train(), 28):
        pass
    begun, state = broken.order, broken.pruning.state_dict()
    after.pruning.load_state_dict(state)
    after.model, after.optimizer = broken.model, broken.optimizer
    to_end(after)
    assert [*begun[:-1], begun[-1] + after.order[0], *after.order[1:]] == whole.order
    assert whole.pruning.trained == after.pruning.trained
    step = 1 / len(shares)
    assert shares == pytest.approx([step * (n + 1) for n in range(len(shares))], abs=2 * step)
    del state["now"]["passed"]  # as an earlier version wrote it
    OwnLoop(run, "big-loss", budget=budget).pruning.load_state_dict(state)


@pytest.mark.parametrize("method", ["big-loss", "ucb", "infobatch+bls"])
def test_a_state_stays_as_it_was_taken_and_one_that_is_refused_leaves_no_trace(method: str) -> None:
    pruning = Pruning(fifty(), method, epochs=5, ratio=0.4)
    taken = []
    for epoch in pruning.epochs():
        for number, (_, labels, sample) in enumerate(
            DataLoader(pruning.dataset, batch_size=8, sampler=pruning.sampler)
        ):
            if (epoch, number) in ((1, 1), (2, 2)):
                state = pruning.state_dict()
                taken.append((state, copy.deepcopy(state)))
            logits = F.one_hot(labels, 5) * losses_of(sample)[:, None]
            part = pruning.choose(logits, logits, labels, sample)
            pruning.loss(losses_of(sample[part]) + epoch, sample[part])
        pruning.end_epoch()
    for state, copied in taken:
        same_state(state, copied)
    (first, _), (state, copied) = taken
    pruning.load_state_dict(state)
    with pytest.raises(InputError, match="not a state of"):
        pruning.load_state_dict({**first, "now": {**first["now"], "trained": None}})
    same_state(pruning.state_dict(), copied)


def same_state(one: Any, other: Any) -> None:
    """Two states hold the same tensors and numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            same_state(value, other[name])
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    else:
        assert one == other


def test_the_factor_is_on_the_learning_rate_within_a_step_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prunebench.api.pruning.pruner_of", lambda *_: (Asking(), 0.0))
    pruning, seen = Pruning(fifty(), "asking", epochs=3), []
    weight = torch.zeros(1, requires_grad=True)
    optimizer = EagerSGD([{"params": [weight], "lr": 0.5}], lr=1.0, weight_decay=0.5)
    rate = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    for _ in range(2):
        pruning.apply_lr_factor(optimizer)  # once is enough
    for epoch in range(3):
        pruning.begin_epoch()
        assert pruning.lr_factor == 1 + epoch / 2
        weight.grad, before = torch.ones(1), float(weight.detach())
        optimizer.step()
        step = 0.5**epoch / 2 * (1 + epoch / 2)
        assert float(weight.detach()) == pytest.approx(before - step * (1 + 0.5 * before))
        rate.step()
        seen.append(optimizer.param_groups[0]["lr"])
        if epoch == 1:
            with pytest.raises(InputError, match=r"multiplies the learning rate by 1\.5, which "):
                pruning.apply_lr_factor(Stranger())
        pruning._now = None
        pruning.epoch += 1
        if epoch == 1:
            with pytest.raises(InputError, match="by 2, which cannot be put on a Stranger"):
                pruning.begin_epoch()
            pruning._rate._others.clear()
            pruning._now = None
    assert seen == [0.25, 0.125, 0.0625]


class Stranger:
    """An optimizer that is none of torch."""


def test_a_batch_is_chosen_from_scores_unless_the_method_reads_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = torch.arange(8)
    for pruner, wanted in (("mixed", None), ("unscored", 4)):
        kind, _ = ASKING[pruner]
        monkeypatch.setattr("prunebench.api.pruning.pruner_of", lambda *_, k=kind: (k(), 0.5))
        pruning = Pruning(fifty(), pruner, epochs=2)
        pruning.begin_epoch()
        if wanted is None:
            with pytest.raises(InputError, match="choose: mixed chooses by scores of the batch"):
                pruning.choose(None, None, sample % 5, sample)
        else:
            assert pruning.choose(None, None, sample % 5, sample).tolist() == [0, 1, 2, 3]
        assert pruning.scoring_pass == (wanted is None)


def same_training(run: Trainer, method: str) -> None:
    """A run and a plain loop with its data and its pruner end alike."""
    loop = OwnLoop(run, method)
    visited: list[list[int]] = []
    close = run.sample_tables.close_epoch
    run.sample_tables.close_epoch = lambda v, e: (visited.append(v.tolist()), close(v, e))[1]  # type: ignore[assignment]
    run.fit()
    to_end(loop)
    assert run.epoch == loop.pruning.epoch
    assert run.ledger.trained == loop.pruning.trained
    wanted = [sorted(v) for v in visited]
    found = [sorted(v) for v in loop.order]
    assert [v for v in found if v] == [v for v in wanted if v in found]
    for name, table in run.sample_tables.state_dict().items():
        own = loop.pruning.tables.state_dict()[name]
        assert torch.equal(table.nan_to_num(-7), own.nan_to_num(-7)), name
    for name, value in parameters(run.model).items():
        assert torch.equal(value, parameters(loop.model)[name]), name


def test_workers_of_the_loader_change_nothing() -> None:
    first, second = (Pruning(fifty(), "infobatch", epochs=5, ratio=0.4, seed=3) for _ in range(2))
    assert visits(first) == visits(second, workers=2)


def test_the_budget_ends_inside_an_epoch_and_progress_follows_it() -> None:
    pruning = Pruning(fifty(), "full", epochs=3, ratio=0.0)
    assert pruning.progress == 0.0
    assert len(visits(pruning)) == 150
    pruning = Pruning(fifty(), "random-dynamic", epochs=4, ratio=0.47)
    assert len(visits(pruning)) == pruning.trained == 106
    assert pruning.finished
    assert pruning.progress == 1.0
    by_epochs = Pruning(fifty(), "infobatch", epochs=4, ratio=0.4, budget="epochs")
    visits(by_epochs)
    assert by_epochs.epoch == 4


@pytest.mark.parametrize("steps", [3, 9, 16])
def test_a_run_goes_on_from_its_state_inside_an_epoch(steps: int) -> None:
    def fresh() -> Pruning:
        params = {"align.window": 3, "align.min_obs": 2}
        return Pruning(
            fifty(),
            "infobatch+align",
            epochs=6,
            ratio=0.3,
            seed=1,
            reference=fifty(),
            params=params,
        )

    whole = [number for number, _ in visits(fresh())]
    first, second = fresh(), fresh()
    begun = [number for number, _ in visits(first, steps=steps)]
    second.load_state_dict(first.state_dict())
    assert begun + [number for number, _ in visits(second)] == whole
    with pytest.raises(InputError, match="not a state of infobatch"):
        Pruning(fifty(), "infobatch", epochs=6, ratio=0.3).load_state_dict({"epoch": 1})


def test_a_subset_that_was_chosen_elsewhere() -> None:
    class Chosen:
        indices = torch.tensor([3, 9, 4])

    pruning = Pruning(fifty(), Chosen(), epochs=4, budget="epochs")
    numbers = [number for number, _ in visits(pruning)]
    assert sorted(numbers) == sorted([3, 4, 9] * 4)
    random = Pruning(fifty(), "random", epochs=2, ratio=0.6, budget="epochs")
    assert len(visits(random)) == 40
    for name in ("small-loss", "cld", "tdds"):
        with pytest.raises(InputError, match="after a scoring run"):
            Pruning(fifty(), name, epochs=2, ratio=0.6)
    with pytest.raises(InputError, match="airbench-proxy reads a scoring run"):
        Pruning(fifty(), "airbench-proxy", epochs=2, ratio=0.6)


def test_samples_that_are_dicts_carry_their_number() -> None:
    rows = [{"pixels": torch.ones(2), "label": n % 2} for n in range(6)]
    pruning = Pruning(rows, "full", epochs=1, labels=[n % 2 for n in range(6)])
    pruning.begin_epoch()
    batch = next(iter(DataLoader(pruning.dataset, batch_size=6, sampler=pruning.sampler)))
    assert sorted(batch["sample"].tolist()) == list(range(6))
