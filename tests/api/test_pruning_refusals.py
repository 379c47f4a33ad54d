"""What breaks the contract of ``Pruning`` is one line, and leaves no trace."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from api.own_loop import fifty, losses_of, visits
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, IterableDataset

from prunebench.api.own_epoch import OwnEpoch
from prunebench.api.pruning import Pruning
from prunebench.bench.train.distributed.world import World
from prunebench.errors import InputError

torch.set_num_threads(1)


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
