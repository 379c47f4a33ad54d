"""The encoder of ``ssp`` as part of a cell: it is saved, goes on, gives way and reports."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from prunebench.bench.networks.base import FeatureNet, flat_size
from prunebench.bench.networks.build import register_model
from prunebench.bench.results.claims import Busy, Claims
from prunebench.bench.results.manifest import MANIFEST, read_manifest, write_manifest
from prunebench.bench.results.store import Store
from prunebench.bench.runs import checkpoint_file, self_supervised
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.checkpoint_file import FILE
from prunebench.bench.runs.execute import cell_steps, run_cell
from prunebench.bench.runs.resolve import resolve_cell
from prunebench.bench.runs.self_supervised import encoder_key
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train import self_supervised as encoding
from prunebench.bench.train import stopping
from prunebench.bench.train.interleaved import InterleavedRuns
from prunebench.bench.train.self_supervised import Encoder
from prunebench.bench.train.task import load_task
from prunebench.bench.train.trainer import guarded
from prunebench.record import Record
from prunebench.registry import MODELS
from prunebench.rng import Streams
from support.cells import small_cell
from support.faults import Child, same_results, whole

#: 2 steps of the encoder in each of 3 epochs.
FIELDS: dict[str, Any] = {
    "dataset": "synthetic",
    "dataset_params": {"n": 560, "test": 40, "classes": 4, "superclasses": 2, "size": 8},
    "recipe_params": {"epochs": 3, "model": "mlp", "model_params": {"width": 8, "depth": 1}},
}
STEPS = 6


def cell(method: str = "ssp", **fields: Any) -> Cell:
    usual = {"noise": "symmetric:0.3", "ratio": 0.5}
    return resolve_cell(method=method, **{**usual, **FIELDS, **fields})


def go(root: Path, options: ExecutionOptions = ExecutionOptions(), **fields: Any) -> Record:
    return run_cell(cell(**fields), Store.open(root), options)[0]


@contextmanager
def asked_at(step: int) -> Iterator[None]:
    """This process is asked to end in the n-th step of what runs."""
    count = 0

    def asked() -> bool:
        nonlocal count
        count += 1
        return count == step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "asked", asked)
        yield


@contextmanager
def trains(steps: int) -> Iterator[None]:
    """Exactly so many steps of the encoder are made."""
    count, real = 0, Encoder.train

    def train(self: Encoder, *arguments: Any) -> None:
        nonlocal count
        count += 1
        real(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "train", train)
        yield
    assert count == steps


def features(root: Path) -> bytes:
    return (Store(root).evidence_path(encoder_key(cell().spec)) / "features.npy").read_bytes()


def checkpoint(root: Path) -> Path:
    return Store(root).checkpoint_path(encoder_key(cell().spec)) / FILE


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    root = tmp_path_factory.mktemp("calm") / "r"
    with trains(STEPS):
        return root, go(root)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose encoder was stopped in the middle of its second epoch."""
    root = tmp_path_factory.mktemp("half") / "r"
    with trains(3), asked_at(3), pytest.raises(stopping.Stopped):
        go(root)
    assert checkpoint(root).is_file()
    return root


CHANGED: list[dict[str, Any]] = [
    {"imbalance": "exp:20"},
    {"corrupt": "fog:0.3"},
    {"noise": "openset:0.2"},
    {"imbalance": "step:5", "corrupt": "fog:0.3", "noise": "openset:0.1"},
]


@pytest.mark.parametrize("setting", CHANGED, ids=lambda setting: " + ".join(setting))
def test_where_the_setting_changes_the_training_images_it_sees_the_training_split_alone(
    tmp_path: Path, setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**setting, "validation": {"size": 60, "labels": "noisy"}}
    seen: set[int] = set()
    draw = encoding.strong_draws

    def spy(inputs: Any, rows: Tensor, stream: Any) -> Tensor:
        seen.update(rows.tolist())
        return draw(inputs, rows, stream)

    monkeypatch.setattr(encoding, "strong_draws", spy)
    record = go(tmp_path / "r", **fields)
    assert record.status in ("done", "diverged"), record.reason
    assert sum(record.info.get("class_sizes", [])) in (0, record.info["train_size"])
    one = cell(**fields)
    kept = load_task(one.spec, one.data).train.sample_ids
    assert seen <= set(kept.tolist())
    assert len(seen) >= min(256, len(kept))
    spec = cell(noise="symmetric:0.3").spec
    assert encoder_key(cell(noise="clean", seed=1, validation=fields["validation"]).spec) == (
        encoder_key(spec)
    )
    others = [cell(**{**fields, **more}).spec for more in (
        {}, {"seed": 1}, {"reference": {"size": 10}}, {"validation": {"size": 61}},
        {"imbalance": "exp:21"}, {"ratio": 0.3},
    )]  # fmt: skip
    assert len({encoder_key(one) for one in [spec, *others]}) == 6  # every ratio shares it


def agrees(root: Path, record: Record, calm: tuple[Path, Record]) -> None:
    assert features(root) == features(calm[0])
    assert (record.metrics, record.artifacts, record.ledger, record.info) == (
        calm[1].metrics, calm[1].artifacts, calm[1].ledger, calm[1].info
    )  # fmt: skip
    assert not list((root / "checkpoints").iterdir())
    whole(root)


@pytest.mark.parametrize("step", [1, 4, STEPS])
def test_one_that_is_stopped_goes_on_from_that_very_step(
    step: int, calm: tuple[Path, Record], tmp_path: Path
) -> None:
    root = tmp_path / "r"
    with trains(step), asked_at(step), pytest.raises(stopping.Stopped):
        go(root)
    assert not Claims(Store(root).claims).claimed()
    with trains(STEPS - step):
        record = go(root)
    agrees(root, record, calm)
    assert not list((root / "quarantine").iterdir())


def test_networks_that_draw_go_on_with_their_draws(tmp_path: Path) -> None:
    @register_model("drawing-encoder")
    def build(shape: tuple[int, ...], num_classes: int) -> nn.Module:
        body = nn.Sequential(nn.Flatten(), nn.Linear(flat_size(shape), 8), nn.Dropout(0.5))
        return FeatureNet(body, 8, num_classes)

    recipe = {"epochs": 3, "model": "drawing-encoder", "model_params": {}}
    try:
        whole = go(tmp_path / "a", recipe_params=recipe)
        with asked_at(3), pytest.raises(stopping.Stopped):
            go(tmp_path / "b", recipe_params=recipe)
        torch.rand(5)
        with trains(STEPS - 3):
            assert go(tmp_path / "b", recipe_params=recipe).artifacts == whole.artifacts
    finally:
        MODELS._entries.pop("drawing-encoder", None)
    files = [next(tmp_path.glob(f"{name}/evidence/*/features.npy")) for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_cells_that_share_it_wait_for_it_and_others_go_on(
    calm: tuple[Path, Record], tmp_path: Path
) -> None:
    cells = {"first": cell(), "second": cell(seed=1), "other": cell("infobatch")}
    store = Store.open(tmp_path / "r")
    alone = Store.open(shutil.copytree(calm[0], tmp_path / "alone"))
    runs, waited, found = InterleavedRuns(torch.device("cpu"), 3), 0, {}

    def add(name: str) -> None:
        runs.add(name, cell_steps(cells[name], store, ExecutionOptions(), WorkerContext()))

    for name in cells:
        add(name)
    with trains(STEPS):
        while len(found) < len(cells):
            for end in runs.step():
                if isinstance(end.error, Busy):
                    waited += 1
                    add(end.name)
                    continue
                assert end.error is None
                found[end.name] = end.value[0]
    runs.close()
    assert waited >= STEPS - 1
    assert features(store.root) == features(calm[0])
    for name, record in found.items():
        single = run_cell(cells[name], alone)[0]
        assert (record.metrics, record.artifacts) == (single.metrics, single.artifacts), name


def words(out: Path) -> list[object]:
    line: list[object] = ["run", "--dataset", "synthetic", "--noise", "symmetric:0.3"]
    line += ["--method", "ssp", "--ratio", "0.5", "--out", out]
    for flag, options in (("data", FIELDS["dataset_params"]), ("", FIELDS["recipe_params"])):
        for name, value in options.items():
            text = json.dumps(value) if isinstance(value, dict) else value
            line += ["--dataset-param" if flag else "--recipe-param", f"{name}={text}"]
    return [*line, "--checkpoint-s", "0", "--no-mlflow", "-q", "-w", "1"]


def shot_at(step: int, number: int) -> None:
    """Has this process be shot in the middle of the n-th step of the encoder."""
    real, count = Encoder.train, 0

    def train(self: Encoder, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), number)
        real(self, *arguments)

    Encoder.train = train  # type: ignore[method-assign]


def test_a_process_that_is_killed_loses_an_epoch_at_most(tmp_path: Path) -> None:
    calm, shot = tmp_path / "calm", tmp_path / "shot"
    assert Child(*words(calm)).wait().code == 0
    assert Child(*words(shot), before=lambda: shot_at(4, signal.SIGKILL)).wait().code == -9
    saved = checkpoint(shot).read_bytes()
    said = Child(*words(shot), before=lambda: shot_at(3, signal.SIGTERM)).wait()
    assert (said.code, said.err.startswith("prunebench: stopped;")) == (1, True)
    assert checkpoint(shot).read_bytes() != saved
    # Steps 1 to 4 and 3 to 5 are made: the second process goes on after the first epoch.
    assert Child(*words(shot), before=lambda: shot_at(2, signal.SIGKILL)).wait().code == 0
    same_results(shot, calm)
    assert features(shot) == features(calm)
    assert not list((shot / "quarantine").iterdir())


def spoil(root: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> None:
    """Has the checkpoint of a folder changed and sealed."""
    tensors = load(checkpoint(root).read_bytes()[32:])
    meta = json.loads(bytes(tensors.pop("__meta__").numpy()))
    change(tensors, meta)
    tensors["__meta__"] = torch.tensor(list(json.dumps(meta).encode()), dtype=torch.uint8)
    body = save(tensors)
    checkpoint(root).write_bytes(hashlib.sha256(body).digest() + body)


def flip(root: Path) -> None:
    data = bytearray(checkpoint(root).read_bytes())
    data[len(data) // 2] ^= 1
    checkpoint(root).write_bytes(data)


def fill(tensors: dict[str, Tensor], value: float) -> None:
    for name, tensor in tensors.items():
        if name.startswith("model/") and tensor.is_floating_point():
            tensor.fill_(value)


CHANGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "empty": lambda root: checkpoint(root).write_bytes(b""),
    "a cell's": lambda root: spoil(root, lambda _, m: m.update(key="0" * 16)),
    "a card's": lambda root: spoil(root, lambda _, m: m.update(key=m["key"][:16] + "+cuda")),
    "a late step": lambda root: spoil(root, lambda _, m: m.update(step=STEPS + 1)),
    "no step": lambda root: spoil(root, lambda _, m: m.update(step="3")),
    "one moment": lambda root: spoil(
        root, lambda t, _: t.update({"optimizer1/exp_avg": torch.zeros(1)})
    ),
    "no moment": lambda root: spoil(root, lambda t, _: t.pop("optimizer1/exp_avg")),
    "another projector": lambda root: spoil(
        root, lambda t, _: t.update({"projector/0.weight": torch.zeros(2, 2)})
    ),
    "no generators": lambda root: spoil(root, lambda t, _: t.pop("generators/cpu")),
    "a generator": lambda root: spoil(
        root, lambda t, _: t.update({"generators/cpu": torch.zeros(3, dtype=torch.uint8)})
    ),
    "not finite": lambda root: spoil(root, lambda t, _: fill(t, torch.nan)),
}  # fmt: skip


#: Found only after the training has gone on from it.
LATE = ("no moment", "a generator", "not finite")


@pytest.mark.parametrize("name", ["flipped", "a card's", *LATE])
def test_a_damaged_or_hostile_checkpoint_ends_in_a_fresh_start(
    name: str, half: Path, calm: tuple[Path, Record], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(half, tmp_path / "r"))
    CHANGES[name](root)
    agrees(root, go(root), calm)
    (note,) = root.glob("quarantine/checkpoints-*/reason.json")
    reason = json.loads(note.read_text())["reason"]
    assert "checkpoint" in reason or FILE in reason


def test_what_does_not_fit_is_refused_before_a_step(half: Path, tmp_path: Path) -> None:
    task, key = load_task(cell().spec, cell().data), encoder_key(cell().spec)
    encoder = Encoder(task.raw, cell().spec.recipe, Streams(0, "d", "n"), torch.device("cpu"))

    def taken(root: Path) -> bool:
        def load(content: checkpoint_file.Content) -> None:
            self_supervised._load(encoder, content)

        return checkpoint_file.restore(checkpoint(root).parent, f"{key}+cpu", load)

    assert taken(half)
    assert encoder.step == 3
    for name in CHANGES.keys() - LATE:
        root = Path(shutil.copytree(half, tmp_path / name.replace(" ", "")))
        CHANGES[name](root)
        with pytest.raises(checkpoint_file.DamagedCheckpoint):
            taken(root)


def test_what_fails_again_is_recorded_once(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fail(*_: object) -> None:
        tried.append(1)
        raise RuntimeError("no luck")

    root = Path(shutil.copytree(half, tmp_path / "r"))
    monkeypatch.setattr(Encoder, "train", fail)
    record = go(root)
    assert (record.status, "no luck" in record.reason, len(tried)) == ("failed", True, 2)
    assert not Claims(Store(root).claims).claimed()


def test_a_lack_of_memory_is_that_of_the_cell_and_keeps_the_checkpoint(
    half: Path, calm: tuple[Path, Record], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(half, tmp_path / "r"))

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "train", fail)
        with pytest.raises(torch.OutOfMemoryError):
            run_cell(cell(), Store.open(root), context=WorkerContext(retry_on_oom=True))
        record = go(root)
        assert (record.status, record.reason.startswith("out of memory")) == ("failed", True)
    with trains(STEPS - 3):
        record = go(root, ExecutionOptions(retry_failed=True))
    agrees(root, record, calm)


def test_a_checkpoint_that_outlived_its_encoder_is_removed(
    half: Path, calm: tuple[Path, Record], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(calm[0], tmp_path / "r"))
    shutil.copytree(half / "checkpoints", root / "checkpoints", dirs_exist_ok=True)
    with trains(0):
        go(root, seed=1)
    assert not list((root / "checkpoints").iterdir())


def count(steps: Iterator[Any]) -> int:
    with guarded(torch.device("cpu")):
        return sum(1 for _ in steps)


def test_every_step_gives_way_and_the_share_done_only_grows(
    calm: tuple[Path, Record], tmp_path: Path
) -> None:
    shares: list[float] = []
    context = WorkerContext(report=shares.append)
    steps = cell_steps(cell(), Store.open(tmp_path / "r"), ExecutionOptions(), context)
    found = Store.open(shutil.copytree(calm[0], tmp_path / "found"))
    own = count(cell_steps(cell(seed=1), found, ExecutionOptions(), WorkerContext()))
    assert count(steps) == STEPS + own
    assert len(shares) > STEPS
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0
    # Two views of every image in 3 epochs, against half of the samples in the run's 3.
    assert shares[STEPS - 1] == pytest.approx(0.8, abs=0.03)


def test_scoring_runs_give_way_too(tmp_path: Path) -> None:
    wanted = small_cell("small-loss", recipe_params={"epochs": 2})
    store, context = Store.open(tmp_path / "r"), WorkerContext()
    all_steps = count(cell_steps(wanted, store, ExecutionOptions(), context))
    other = replace(wanted, spec=wanted.spec.replace(ratio=0.4))
    shared = count(cell_steps(other, store, ExecutionOptions(), context))
    assert all_steps >= shared + 2 * (1253 // 128)


def test_one_that_is_broken_off_holds_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "r")
    steps = cell_steps(cell(), store, ExecutionOptions(), WorkerContext())
    with guarded(torch.device("cpu")):
        next(steps)
        assert sorted(Claims(store.claims).claimed()) == sorted(
            [cell().spec.key, encoder_key(cell().spec)]
        )
        other = cell_steps(cell(seed=1), store, ExecutionOptions(), WorkerContext())
        with pytest.raises(Busy, match="is being trained elsewhere"):
            next(other)
        steps.close()
    assert not Claims(store.claims).claimed()


def test_how_it_was_made_is_said_where_it_is_not_the_usual_form(
    calm: tuple[Path, Record], tmp_path: Path
) -> None:
    key = encoder_key(cell().spec)
    usual = read_manifest(calm[0] / "evidence" / key)
    assert usual is not None
    assert usual.keys() == {"key", "needs", "trained", "files"}
    assert "encoder" not in calm[1].info
    root = tmp_path / "r"
    record = go(root, ExecutionOptions(graph="rehearse"))
    other = read_manifest(root / "evidence" / key)
    assert other is not None
    assert record.info["encoder"] == other["made"]
    assert (other["made"]["precision"], other["made"]["steps"]) == ("fp32", "captured")
    assert "differ" in other["note"]
    # What somebody else has written there reaches no record.
    for odd in ({"steps": ["x"]}, "text", {"steps": "x" * 1000}):
        write_manifest(root / "evidence" / key, {**other, "made": odd})
        assert "encoder" not in go(root, seed=1).info
        (root / "records" / f"{cell(seed=1).spec.key}.json").unlink()
        assert (root / "evidence" / key / MANIFEST).read_bytes() == (
            calm[0] / "evidence" / key / MANIFEST
        ).read_bytes()
