"""The loops of Lightning and of Hugging Face train what a plain loop trains; real libraries."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prunebench.api.own_epoch import OwnEpoch
from prunebench.api.pruning import Pruning
from prunebench.errors import InputError
from prunebench.methods.base import Plan
from prunebench.methods.compose import resolve_method

pytestmark = pytest.mark.soak

EXAMPLES, EPOCHS = Path(__file__).parents[2] / "examples", 6
Visits = list[list[int]]


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> Visits:
    """The samples of every step, in order, of whatever runs."""
    torch.set_num_threads(1)
    found: Visits = []
    note = OwnEpoch.note
    monkeypatch.setattr(
        OwnEpoch, "note", lambda self, sample: (found.append(sample.tolist()), note(self, sample))
    )
    return found


#: Its samples that are not trained are scored.
IES = {"method": "ies", "ratio": 0.2, "params": {"threshold": 0.05, "ma": 1}}


def example(name: str, **changes: Any) -> Any:
    """A file of ``examples`` as a module.

    Args:
        name: Without its ending.
        changes: What its pruner is given in place of the file's own.
    """
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Pruning = lambda data, method, **fields: Pruning(  # type: ignore[attr-defined]
        data, **{"method": method, **fields, **changes}
    )
    return module


def plain(accumulate: int = 1, by_count: bool = False, **changes: Any) -> tuple[nn.Module, Pruning]:
    """The loop of the examples, written out.

    Args:
        accumulate: Batches of a step.
        by_count: Whether the last step of an epoch is divided by the batches that it has.
        changes: Of the pruner.
    """
    inputs, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
    inputs = (inputs / 16).float()
    train, clean = (TensorDataset(inputs[a:b], labels[a:b]) for a, b in ((0, 1200), (1200, 1300)))
    fields = {"method": "infobatch+align", "ratio": 0.5, **changes}
    pruning = Pruning(train, epochs=EPOCHS, reference=clean, **fields)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(pruning.dataset, batch_size=64, sampler=pruning.sampler)
    for _ in pruning.epochs():
        count, batches = len(loader), list(loader)
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - pruning.progress) * pruning.lr_factor
        for number, (x, y, sample) in enumerate(batches):
            group = min(accumulate, count - number // accumulate * accumulate)
            loss = pruning.loss(F.cross_entropy(model(x), y, reduction="none"), sample)
            (loss / (group if by_count else accumulate)).backward()  # type: ignore[no-untyped-call]
            if (number + 1) % accumulate == 0 or number + 1 == count:
                optimizer.step()
                optimizer.zero_grad()
                optimizer.param_groups[0]["lr"] = 0.1 * (1 - pruning.progress) * pruning.lr_factor
        scored = pruning.score(model)
        assert not scored or pruning.pruner.name == "ies"
        pruning.end_epoch(pruning.reference_loss(model))
    assert scored or pruning.pruner.name != "ies"
    return model, pruning


def same(
    found: tuple[nn.Module, Pruning], wanted: tuple[nn.Module, Pruning], visits: Visits
) -> None:
    """Both ran, one after the other: the same steps, tables and parameters."""
    half = len(visits) // 2
    assert half > EPOCHS
    assert visits[:half] == visits[half:]
    assert found[1].finished
    assert found[1].trained == wanted[1].trained == sum(map(len, visits[:half]))
    tables = wanted[1].tables.state_dict()
    for name, table in found[1].tables.state_dict().items():
        assert torch.equal(table.nan_to_num(-7), tables[name].nan_to_num(-7)), name
    for one, two in zip(found[0].parameters(), wanted[0].parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_lightning(accumulate: int, visits: Visits) -> None:
    pytest.importorskip("lightning", reason="Lightning is not installed: pip install '.[loops]'")
    found = example("lightning_loop").main(
        EPOCHS, accumulate_grad_batches=accumulate, enable_progress_bar=False
    )
    same(found, plain(accumulate), visits)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_hugging_face(accumulate: int, visits: Visits) -> None:
    for name in ("transformers", "accelerate", "datasets"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[loops]'")
    found = example("hf_trainer_loop").main(
        EPOCHS, gradient_accumulation_steps=accumulate, disable_tqdm=True, use_cpu=True
    )
    same(found, plain(accumulate, by_count=True), visits)


def test_samples_that_are_scored_alone_are_scored_by_lightning(visits: Visits) -> None:
    pytest.importorskip("lightning", reason="Lightning is not installed: pip install '.[loops]'")
    found = example("lightning_loop", **IES).main(EPOCHS, enable_progress_bar=False)
    same(found, plain(**IES), visits)


def hugging_face(epochs: int = EPOCHS, resume: Path | None = None, changes: Any = None,
                 **arguments: Any) -> tuple[nn.Module, Pruning]:  # fmt: skip
    """The example of Hugging Face."""
    for name in ("transformers", "accelerate", "datasets"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[loops]'")
    module = example("hf_trainer_loop", **(changes or {}))

    class Dropping(module.Net):  # type: ignore[misc,name-defined]
        """Draws in every step."""

        def __init__(self) -> None:
            super().__init__()
            if resume is not None or arguments.get("save_strategy"):
                self.layers.insert(2, nn.Dropout(0.3))

    module.Net = Dropping
    return module.main(epochs, resume, disable_tqdm=True, use_cpu=True, **arguments)  # type: ignore[no-any-return]


def test_samples_that_are_scored_alone_are_scored_by_hugging_face(visits: Visits) -> None:
    same(hugging_face(changes=IES), plain(by_count=True, **IES), visits)


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_epochs_grow_and_shrink(
    library: str, visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (200, 900, 64, 1200, 65, 700)
    monkeypatch.setattr(
        resolve_method("random-dynamic").target, "plan",
        lambda self, progress, tables, rng: Plan(torch.arange(sizes[progress.epoch]), None),
    )  # fmt: skip
    changes = {"method": "random-dynamic", "budget": "epochs"}
    if library == "lightning":
        pytest.importorskip("lightning", reason="Lightning is not installed")
        found = example("lightning_loop", **changes).main(EPOCHS, enable_progress_bar=False)
    else:
        found = hugging_face(changes=changes)
    assert found[1].trained == sum(sizes)
    same(found, plain(by_count=True, **changes), visits)


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_steps_have_the_factor_and_the_batch_weights_of_the_plan(
    library: str, visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = 0.5 + torch.arange(1000).float() % 7
    monkeypatch.setattr(
        resolve_method("random-dynamic").target, "plan",
        lambda self, progress, tables, rng: Plan(
            torch.arange(1000), weights, None, 1 + progress.epoch / 2, True
        ),
    )  # fmt: skip
    monkeypatch.setattr(
        resolve_method("random-dynamic").target, "signals", frozenset({"batch_loss"})
    )
    changes = {"method": "random-dynamic", "budget": "epochs"}
    if library == "lightning":
        pytest.importorskip("lightning", reason="Lightning is not installed")
        found = example("lightning_loop", **changes).main(EPOCHS, enable_progress_bar=False)
    else:
        found = hugging_face(changes=changes)
    same(found, plain(by_count=True, **changes), visits)
    assert found[1].tables.signal("batch_loss")[:1000].isfinite().all()


@pytest.mark.parametrize("saving", [
    {"save_strategy": "epoch"},
    {"save_strategy": "steps", "save_steps": 5, "gradient_accumulation_steps": 2},
    {"save_strategy": "steps", "save_steps": 19},
], ids=["between epochs", "inside", "at the end of one"])  # fmt: skip
@pytest.mark.parametrize("changes", [{}, IES], ids=["infobatch+align", "ies"])
def test_hugging_face_goes_on_from_its_checkpoint(
    saving: dict[str, Any], changes: dict[str, Any], visits: Visits, tmp_path: Path
) -> None:
    wanted = hugging_face(changes=changes, output_dir=tmp_path / "whole", **saving)
    whole, batches = visits[:], saving.get("gradient_accumulation_steps", 1)
    saved = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "whole").iterdir())
    for step in saved[:-1:2]:
        visits[:] = [] if batches > 1 else whole[:step]
        found = hugging_face(resume=tmp_path / "whole" / f"checkpoint-{step}", changes=changes,
                             output_dir=tmp_path / f"from-{step}", **saving)  # fmt: skip
        if batches > 1:  # the last step of an epoch may have fewer
            visits[:] = whole[: len(whole) - len(visits)] + visits
        same(found, wanted, visits + whole)
    assert len(saved) >= 3


def test_a_checkpoint_without_a_pruner_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    for words in ("FileNotFoundError", "UnpicklingError|RuntimeError"):
        with pytest.raises(InputError, match=rf"pruning\.pt: cannot be read \(({words})\)"):
            hugging_face(resume=tmp_path / "checkpoint-3", output_dir=tmp_path)
        (tmp_path / "checkpoint-3" / "pruning.pt").write_bytes(b"no state")


@pytest.mark.parametrize("every", [{"every_n_train_steps": 27}, {"every_n_epochs": 2}])
def test_lightning_goes_on_from_its_checkpoint(
    every: dict[str, int], visits: Visits, tmp_path: Path
) -> None:
    pytest.importorskip("lightning", reason="Lightning is not installed: pip install '.[loops]'")
    from lightning.pytorch.callbacks import ModelCheckpoint

    main, quiet = example("lightning_loop").main, {"enable_progress_bar": False}
    saved = ModelCheckpoint(
        tmp_path, "{step}", save_top_k=-1, save_on_train_epoch_end=True, **every
    )
    wanted = main(EPOCHS, [saved], **quiet)
    whole = visits[:]
    first = min(tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    step = int(first.stem.split("=")[1])
    visits[:] = visits[:step]
    found = main(EPOCHS, ckpt_path=first, **quiet)
    assert 0 < step < len(whole)
    same(found, wanted, visits + whole)


@pytest.mark.parametrize("shuffle", [False, True])
def test_lightning_with_another_sampler_is_refused(shuffle: bool) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    from prunebench.api.lightning import PruningCallback

    data = TensorDataset(torch.zeros(50, 64), torch.arange(50) % 10)
    pruning = Pruning(data, "full", epochs=2)
    loop = lightning.Trainer(max_epochs=-1, callbacks=[PruningCallback(pruning)], logger=False,
                             enable_checkpointing=False, accelerator="cpu",
                             enable_progress_bar=False)  # fmt: skip
    with pytest.raises(InputError, match=r"Trainer\.fit: a loader with a .*Sampler; accepted"):
        loop.fit(example("lightning_loop").Net(pruning), DataLoader(data, 8, shuffle=shuffle))
