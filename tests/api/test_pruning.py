"""``Pruning`` in a plain loop equals the harness's own trainer; what breaks its contract."""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from api.own_loop import BATCH, OwnLoop, parameters, to_end, trainer
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from prunebench.api.own_epoch import OwnEpoch
from prunebench.api.pruning import Pruning
from prunebench.bench.train.distributed.world import World
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


def fifty(labels: Any = None) -> TensorDataset:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, torch.arange(50) % 5 if labels is None else labels)


def losses_of(sample: torch.Tensor) -> torch.Tensor:
    return sample.float().sin() + 1.5


def visits(pruning: Pruning, workers: int = 0, steps: int | None = None) -> list[tuple[int, float]]:
    """(sample, weighted loss of its batch) of every step, for some steps or to the end."""
    loader = DataLoader(pruning.dataset, batch_size=8, sampler=pruning.sampler,
                        num_workers=workers, persistent_workers=workers > 0)  # fmt: skip
    seen: list[tuple[int, float]] = []
    count = itertools.count()
    for _ in pruning.epochs():
        for _, _, sample in loader:
            value = pruning.loss(losses_of(sample), sample).item()
            seen += [(number, value) for number in sample.tolist()]
            if next(count) + 1 == steps:
                return seen
        pruning.end_epoch(1.0)
    return seen


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


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(3))


class Counted(Stream):
    """A stream that knows its length."""

    def __len__(self) -> int:
        return 3


@dataclass
class Kept:
    """What was chosen before."""

    indices: Any


BAD: list[tuple[dict[str, Any], str]] = [
    ({"train_set": Stream()}, "no iterable one"),
    ({"train_set": []}, "no samples"),
    ({"train_set": [(1, 2)]}, "cannot be read without loading every sample"),
    ({"labels": torch.zeros(49, dtype=torch.int64)}, "49 labels"),
    ({"labels": torch.zeros(50)}, "float32"),
    ({"labels": torch.arange(50) - 1}, "-1 at sample 0"),
    ({"method": "infobatsch"}, "infobatch"),
    ({"ratio": None}, "needs a ratio"),
    ({"ratio": 1.0}, "ratio: 1.0"),
    ({"ratio": 0.999}, "nothing left to train"),
    ({"epochs": 0}, "epochs: 0"),
    ({"budget": "paper"}, "budget: 'paper'"),
    ({"train_set": Counted()}, "no iterable one"),
    ({"train_set": iter([1])}, "no iterable one"),
    ({"reference": Stream()}, "reference: Stream has no samples by number"),
    ({"reference": []}, "reference: no samples"),
    ({"num_classes": 4}, "labels: 4 at sample 4; accepted: 0 to 3"),
    ({"num_classes": 0}, "labels: 0 at sample 0"),
    ({"labels": torch.arange(50)[:, None]}, "int64 of shape (50, 1)"),
    ({"ids": torch.arange(50) / 2}, "float32 ids"),
    ({"method": 7}, "method: a int"),
    ({"method": Kept([3, 4, 3])}, "method: indices: sample 3 is there 2 times"),
    ({"method": Kept([3, 50])}, "method: indices: sample 50; accepted: 0 to 49"),
    ({"method": Kept([-1, 3])}, "method: indices: sample -1"),
    ({"method": Kept([0.5, 3.5])}, "method: indices: float64"),
    ({"method": Kept(torch.ones(50, dtype=torch.bool))}, "method: indices: bool"),
    ({"method": Kept([])}, "method: indices: float64 of shape (0,)"),
    ({"ids": torch.arange(50) // 2}, "25 different, for 50 samples"),
    ({"ids": torch.arange(49)}, "ids of shape (49,)"),
    ({"method": "infobatch+align"}, "reference"),
    ({"params": {"speed": 1}}, "speed"),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_input_is_one_line(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"train_set": fifty(), "method": "infobatch", "epochs": 1,
                             "ratio": 0.5, **change}  # fmt: skip
    with pytest.raises(InputError) as caught:
        Pruning(given.pop("train_set"), given.pop("method"), **given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loop_that_breaks_the_contract_is_told_how() -> None:
    pruning = Pruning(fifty(), "infobatch+align", epochs=4, ratio=0.5, reference=fifty())
    sample = torch.arange(8)
    for call in (lambda: pruning.loss(losses_of(sample), sample), pruning.end_epoch,
                 lambda: list(pruning.sampler)):  # fmt: skip
        with pytest.raises(InputError, match="no epoch is under way"):
            call()
    epochs = pruning.epochs()
    next(epochs)
    with pytest.raises(InputError, match='reduction="none"'):
        pruning.loss(losses_of(sample).mean(), sample)
    with pytest.raises(InputError, match="has not asked"):
        pruning.loss(losses_of(sample), sample)
    assert len(list(pruning.sampler)) == 50
    pruning.loss(losses_of(sample), sample)
    with pytest.raises(InputError, match=r"sampler=pruning\.sampler"):
        pruning.loss(losses_of(sample), sample)
    with pytest.raises(InputError, match=r"sampler=pruning\.sampler"):
        pruning.loss(losses_of(sample), sample + 100)
    for odd in (sample - 1, torch.full((2,), 20), sample + 0.5, sample + 7):
        with pytest.raises(InputError, match=r"sampler=pruning\.sampler"):
            pruning.loss(losses_of(odd), odd)
    assert len(pruning.sampler) == 42  # what was refused left no trace
    pruning.loss(losses_of(sample), sample + 8)
    assert len(pruning.sampler) == 34
    with pytest.raises(InputError, match=r"reference_loss=pruning\.reference_loss"):
        pruning.end_epoch()
    with pytest.raises(InputError, match="epoch 0 has not ended"):
        next(epochs)
    with pytest.raises(InputError, match="the last epoch has not ended"):
        pruning.begin_epoch()
    pruning.end_epoch(1.0)


def test_without_any_batch_an_epoch_does_not_end() -> None:
    pruning = Pruning(fifty(), "full", epochs=1)
    pruning.begin_epoch()
    with pytest.raises(InputError, match="nothing was trained"):
        pruning.end_epoch()


def test_a_loss_that_is_no_cross_entropy_needs_logits_where_they_are_read() -> None:
    pruning = Pruning(fifty(), "infobatch", epochs=2, ratio=0.3, is_cross_entropy=False)
    pruning.begin_epoch()
    sample = torch.tensor(list(pruning.sampler)[:8])
    with pytest.raises(InputError, match="logits="):
        pruning.loss(losses_of(sample), sample)
    logits, labels = torch.randn(8, 5), sample % 5
    with pytest.raises(InputError, match="labels="):
        pruning.loss(losses_of(sample), sample, logits=logits)
    for wrong in (logits[:, 0], logits[:7], logits[..., None]):
        with pytest.raises(InputError, match=r"accepted: \[B, C\] and \[B\]"):
            pruning.loss(losses_of(sample), sample, logits=wrong, labels=labels)
    pruning.loss(losses_of(sample), sample, logits=logits, labels=labels)
    wanted = F.cross_entropy(logits, labels, reduction="none")
    assert torch.equal(pruning.tables.ce[sample], wanted)
    assert torch.equal(pruning.tables.loss[sample], losses_of(sample))


def test_reference_loss_and_score_leave_the_mode_of_the_network() -> None:
    pruning = Pruning(fifty(), "infobatch+align", epochs=4, ratio=0.5, reference=fifty())
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Dropout(0.9))
    found = pruning.reference_loss(model, batch_size=7)
    x, y = fifty().tensors
    assert found == pytest.approx(F.cross_entropy(model[0](x), y).item(), rel=1e-6)
    assert model.training


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_forgets_the_sampler_is_refused_at_its_first_batch(workers: int) -> None:
    pruning = Pruning(fifty(), "full", epochs=2)
    loader = DataLoader(pruning.dataset, batch_size=8, shuffle=True, num_workers=workers)
    next(pruning.epochs())
    for _, _, sample in loader:
        with pytest.raises(InputError, match=r"sampler=pruning\.sampler"):
            pruning.loss(losses_of(sample), sample)


class Odd(torch.utils.data.Dataset[Any]):
    """Fifty samples, of which one cannot be read; its length may change."""

    def __init__(self) -> None:
        self.size, self.labels = 50, [n % 5 for n in range(50)]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Any:
        if number == 23:
            raise OSError("broken file")
        return torch.ones(4), self.labels[number]


class OddInBatches(Odd):
    """Read in batches, as those of Hugging Face."""

    def __getitems__(self, numbers: list[int]) -> list[Any]:
        return [self[number] for number in numbers]


class Bare(Odd):
    """Whose samples are no tuples."""

    def __getitem__(self, number: int) -> Any:
        return torch.ones(4) if number == 23 else (torch.ones(4), self.labels[number])


class Short(Odd):
    """That gives fewer samples than it was asked for."""

    def __getitems__(self, numbers: list[int]) -> list[Any]:
        return [(torch.ones(4), 0)] * (len(numbers) - 1)


UNREAD = [
    (Odd, "sample 23 cannot be read (OSError: broken file)"),
    (OddInBatches, "sample 23 cannot be read (OSError: broken file)"),
    (Bare, "sample 23 is a Tensor"),
    (Short, "__getitems__ gave 7 samples for 8 numbers"),
]


@pytest.mark.parametrize(("kind", "words"), UNREAD)
def test_a_sample_that_cannot_be_read_is_named(kind: type[Odd], words: str) -> None:
    with pytest.raises(InputError) as caught:
        visits(Pruning(kind(), "full", epochs=1))
    assert str(caught.value).startswith(f"train_set: {words}; accepted: ")
    # So a loader hands over the error of a worker process: as the text of its traceback.
    handed_over = ExceptionWrapper(caught._excinfo, where="in DataLoader worker process 0")
    with pytest.raises(InputError) as again:
        handed_over.reraise()
    assert str(again.value) == str(caught.value)


def test_a_reference_sample_that_cannot_be_read_is_named() -> None:
    pruning = Pruning(fifty(), "infobatch+align", epochs=4, ratio=0.5, reference=Odd())
    with pytest.raises(InputError, match="reference: sample 23 cannot be read"):
        pruning.reference_loss(torch.nn.Linear(4, 5))


def test_a_data_set_whose_length_changes_is_refused_at_the_next_epoch() -> None:
    data = Odd()
    pruning = Pruning(data, "infobatch", epochs=3, ratio=0.3)
    epochs = pruning.epochs()
    next(epochs)
    sample = torch.tensor(list(pruning.sampler))
    pruning.loss(losses_of(sample), sample)
    pruning.end_epoch()
    data.size = 49
    with pytest.raises(InputError, match="train_set: 49 samples, where there were 50"):
        next(epochs)


def begun(method: str = "infobatch+align", **fields: Any) -> tuple[Pruning, torch.Tensor]:
    """In an epoch, its sampler asked, with the numbers of its first batch."""
    pruning = Pruning(fifty(), method, epochs=4, ratio=0.5, reference=fifty(), **fields)
    pruning.begin_epoch()
    return pruning, torch.tensor(list(pruning.sampler)[:8])


def state(pruning: Pruning) -> str:
    """Everything that a run would go on from."""
    return json.dumps(pruning.state_dict(), default=lambda table: table.nan_to_num(-7).tolist())


LOGITS = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"losses": torch.ones(())}, 'reduction="none"'),
        ({"losses": torch.ones(1)}, 'reduction="none"'),
        ({"losses": torch.ones(8, 1)}, 'reduction="none"'),
        ({"losses": torch.ones(8, dtype=torch.int64)}, "losses torch.int64"),
        ({"losses": 0.5}, "a float in place of a tensor"),
        ({"sample": [1, 2]}, "a list in place of a tensor"),
        ({"logits": None}, "logits="),
        ({"logits": LOGITS[:, 0]}, "[B, C] and [B]"),
        ({"logits": LOGITS[:, :3]}, "labels 0 to 4 beside 3 logits"),
        ({"labels": torch.arange(8) - 1}, "labels -1 to 6 beside 5 logits"),
        ({"labels": torch.ones(8)}, "labels torch.float32"),
    ],
)
@pytest.mark.parametrize("call", ["loss", "record"])
def test_a_batch_that_is_refused_leaves_no_trace(
    given: dict[str, Any], words: str, call: str
) -> None:
    pruning, sample = begun(is_cross_entropy=False)
    good: dict[str, Any] = {"losses": torch.ones(8), "sample": sample, "logits": LOGITS,
                            "labels": torch.arange(8) % 5}  # fmt: skip
    before, batch = state(pruning), {**good, **given}
    with pytest.raises(InputError) as caught:
        getattr(pruning, call)(batch.pop("losses"), batch.pop("sample"), **batch)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"Pruning.{call}: ")
    assert state(pruning) == before


def test_only_samples_to_be_scored_are_recorded_and_each_once() -> None:
    now = OwnEpoch(torch.arange(9), None, torch.tensor([11, 14, 17]), 20, World())
    for odd in ([3], [11, 11], [14, 19], [100]):
        with pytest.raises(InputError, match=r"accepted: those of pruning\.unscored, each once"):
            now.note_scored(torch.tensor(odd))
    assert now.unscored.tolist() == [11, 14, 17]
    now.note_scored(torch.tensor([17, 11]))
    assert now.unscored.tolist() == [14]
    with pytest.raises(InputError, match="or were scored before"):
        now.note_scored(torch.tensor([17]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("low", "a str; accepted: one number"),
        (torch.ones(3), "a Tensor of shape [3]"),
        ([0.5], "a list"),
        (None, "reference_loss=pruning.reference_loss(model)"),
    ],
)
def test_a_reference_loss_that_is_no_number_does_not_end_the_epoch(value: Any, words: str) -> None:
    pruning, sample = begun()
    pruning.loss(losses_of(sample), sample)
    before = state(pruning)
    with pytest.raises(InputError) as caught:
        pruning.end_epoch(value)
    assert words in str(caught.value)
    assert state(pruning) == before


def test_a_state_of_another_run_is_not_taken_in_part() -> None:
    pruning, sample = begun()
    pruning.loss(losses_of(sample), sample)
    before = state(pruning)
    other, further = begun(params={"align.window": 3, "align.min_obs": 2})
    other.loss(2 * losses_of(further), further)
    odd = {**pruning.state_dict(), "tables": {**other.state_dict()["tables"]}}
    for broken in (odd, {**other.state_dict(), "now": {}}, {}, None):
        with pytest.raises(InputError, match="not a state of infobatch"):
            pruning.load_state_dict(broken)  # type: ignore[arg-type]
        assert state(pruning) == before
    pruning.loss(losses_of(sample + 0), torch.tensor(list(pruning.sampler)[:8]))


@pytest.mark.parametrize(
    "shapes",
    [((8,), (8, 3), (8,)), ((8, 5), (8, 3, 1), (8,)), ((8, 5), (7, 3), (8,)), ((8, 5), (8, 3), ())],
)
def test_shapes_that_a_batch_is_not_chosen_from(shapes: tuple[tuple[int, ...], ...]) -> None:
    pruning, sample = begun("divbs")
    logits, features, labels = map(torch.zeros, shapes)
    with pytest.raises(InputError, match=r"Pruning\.choose: .*accepted: \[B, C\], \[B, D\]"):
        pruning.choose(logits, features, labels.long(), sample)


def test_a_network_of_fewer_classes_than_labels() -> None:
    pruning, _ = begun()
    with pytest.raises(InputError, match="the network: labels 0 to 4 beside 3 logits"):
        pruning.reference_loss(torch.nn.Linear(4, 3))


@pytest.mark.parametrize("shape", [(50,), (50, 5, 2), (10, 5)])
def test_a_network_whose_output_is_not_one_row_a_sample(shape: tuple[int, ...]) -> None:
    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(shape)

    pruning = Pruning(fifty(), "infobatch+align", epochs=4, ratio=0.5, reference=fifty())
    with pytest.raises(InputError, match=r"the network: an output of \(.*logits \[B, C\]"):
        pruning.reference_loss(Network())


def test_a_batch_is_read_in_one_call_where_the_data_can() -> None:
    class Batched(OddInBatches):
        calls = 0

        def __getitem__(self, number: int) -> Any:
            return torch.ones(4), self.labels[number]

        def __getitems__(self, numbers: list[int]) -> list[Any]:
            self.calls += 1
            return super().__getitems__(numbers)

    data = Batched()
    assert len(visits(Pruning(data, "full", epochs=1))) == 50
    assert data.calls == 7
