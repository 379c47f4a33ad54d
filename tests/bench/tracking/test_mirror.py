"""The MLflow mirror against a real SQLite store; MLflow is imported once for the whole file."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.tracking import (
    BackgroundMirror,
    Mirror,
    SyncReport,
    TrackingError,
    background,
    sync,
)
from prunebench.bench.tracking.database import default_uri, sqlite_path, sqlite_uri
from prunebench.bench.tracking.identity import identity
from prunebench.bench.tracking.mirror import writer_lock
from prunebench.bench.tracking.payload import Payload, build_payload
from prunebench.bench.tracking.sync import default_experiment
from prunebench.errors import InputError
from prunebench.record import Record, content_key

DEAD_SERVER = "http://127.0.0.1:9"


def make_record(seed: int = 0, status: str = "done", **fields: Any) -> Record:
    spec = {
        "schema": 1,
        "dataset": {"name": "digits", "version": "1", "params": {}, "identity": ""},
        "noise": {"name": "symmetric:0.4", "rule": "symmetric", "count": "exact", "seed": None},
        "method": {"name": "infobatch+align", "version": "2", "params": {"r": 0.3, "new": [1]}},
        "criterion": {"name": "ce", "version": "1", "params": {}},
        "recipe": {"name": "tiny", "epochs": 3, "model": "m" * 7000},
        "ratio": 0.5,
        "seed": seed,
        "role": "eval",
        "something_new": {"deep": {"er": True}},
    } | fields.pop("spec", {})
    return Record(
        key=content_key(spec),
        spec=spec,
        status=status,
        metrics=fields.pop("metrics", {"test_accuracy": 0.75, "realised_ratio": 0.5}),
        ledger={"trained": 500, "steps": 8},
        timing=fields.pop("timing", {"total_s": 4.0, "train_s": 3.0}),
        environment={"device": "cpu", "code": "abc"},
        **fields,
    ).sealed()


def client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def all_runs(uri: str, experiment: str) -> list[Any]:
    api = client(uri)
    found = api.get_experiment_by_name(experiment)
    return [] if found is None else list(api.search_runs([found.experiment_id]))


def current(uri: str, experiment: str) -> dict[str, str]:
    """Key -> digest of the runs that are neither superseded nor orphaned."""
    runs = [r.data.tags for r in all_runs(uri, experiment)]
    live = [t for t in runs if "superseded_by" not in t and "orphaned" not in t]
    assert len({t["cell_key"] for t in live}) == len(live)
    return {t["cell_key"]: t["record_digest"] for t in live}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder whose schema was created by a live writer; tests differ by experiment."""
    results = tmp_path_factory.mktemp("results") / "new? %41"
    with BackgroundMirror(None, results, "first"):
        pass  # closing waits until the store is there
    assert (results / "mlflow.db").is_file()
    assert [path.name for path in results.parent.iterdir()] == [results.name]
    return results


def test_payload_limits_names_and_times(tmp_path: Path) -> None:
    (tmp_path / "epochs.csv").write_text(
        "epoch,train_loss,test_accuracy\n0,2.5,\n1,nan,0.5\n2,oops,0.75\n"
    )
    made = make_record(timing={"total_s": 4.0, "finished": 1000.0})
    payload = build_payload(made, tmp_path)
    metrics = {(p.name, p.step): p.value for p in payload.metrics}
    assert metrics["final/test_acc", 0] == 0.75
    assert metrics["final/backward_samples", 0] == 500
    assert metrics["final/wall_s", 0] == 4.0
    assert metrics["diverged", 0] == 0
    assert metrics["epoch/train_loss", 0] == 2.5
    assert metrics["epoch/test_accuracy", 2] == 0.75
    assert ("epoch/train_loss", 1) not in metrics
    assert all(math.isfinite(value) for value in metrics.values())
    assert (payload.start, payload.end) == (996_000, 1_000_000)
    assert len(payload.params["recipe.model"]) == 6000
    assert payload.params["something_new.deep.er"] == "true"
    tags = payload.tags
    assert (tags["method"], tags["base_method"], tags["alignprune"]) == (
        "infobatch+align", "infobatch", "true",
    )  # fmt: skip
    assert (tags["noise_rate"], tags["ratio"], tags["seed_role"]) == ("0.4", "0.5", "eval")
    other_seed = build_payload(make_record(seed=1), None)
    assert other_seed.tags["config_hash"] == tags["config_hash"]
    assert other_seed.key != payload.key


def test_importing_the_package_does_not_import_mlflow() -> None:
    code = "import sys, prunebench.bench.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.soak
def test_a_child_reads_what_the_parent_created(store: Path) -> None:
    code = (
        "import sys; from mlflow.tracking import MlflowClient as C;"
        "print(C(sys.argv[1]).get_experiment_by_name('first').experiment_id)"
    )
    command = [sys.executable, "-c", code, default_uri(store)]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert child.stdout.strip()


def test_live_runs_hold_the_record(store: Path, tmp_path: Path) -> None:
    (tmp_path / "epochs.csv").write_text(
        "epoch,train_loss,kept_fraction\n" + "".join(f"{i},1.5,0.5\n" for i in range(600))
    )
    statuses = ("done", "diverged", "skipped", "failed", "killed")
    records = [make_record(i, status) for i, status in enumerate(statuses)]
    tuning = make_record(0, spec={"role": "tune"})
    with BackgroundMirror(None, store, "live") as tracking:
        for record in (*records, tuning):
            tracking.submit(record, tmp_path)
        tracking.submit(records[0], tmp_path)
        summary = tracking.close()
    assert (summary.written, summary.unchanged, summary.lost) == (6, 1, 0)
    runs = {run.data.tags["status"]: run for run in all_runs(default_uri(store), "live")}
    assert {name: run.info.status for name, run in runs.items()} == {
        "done": "FINISHED", "diverged": "FINISHED", "skipped": "FINISHED",
        "failed": "FAILED", "killed": "KILLED",
    }  # fmt: skip
    done = runs["done"]
    assert done.data.metrics["final/test_acc"] == 0.75
    assert runs["diverged"].data.metrics["diverged"] == 1
    history = client(default_uri(store)).get_metric_history(done.info.run_id, "epoch/train_loss")
    assert [m.step for m in sorted(history, key=lambda m: m.step)] == list(range(600))
    assert done.data.params["method.params.r"] == "0.3"
    assert done.data.tags["record_digest"] == records[0].digest
    assert done.info.end_time - done.info.start_time == 4000
    (used,) = done.inputs.dataset_inputs
    assert used.dataset.name == "digits"
    (tuned,) = all_runs(default_uri(store), "live/tuning")
    assert tuned.data.tags["seed_role"] == "tune"


def test_metrics_that_are_not_finite_are_left_out(store: Path) -> None:
    made = dataclasses.replace(make_record(), metrics={"test_accuracy": math.nan, "x": math.inf})
    with BackgroundMirror(None, store, "nan") as tracking:
        tracking.submit(made)
        assert tracking.close().written == 1
    (run,) = all_runs(default_uri(store), "nan")
    assert "final/test_acc" not in run.data.metrics
    assert "final/x" not in run.data.metrics
    assert run.data.metrics["final/backward_samples"] == 500


def test_sync_creates_keeps_supersedes_and_reaps(store: Path) -> None:
    uri, name = default_uri(store), "sync"
    records = [make_record(seed) for seed in range(4)]
    assert sync(store, records, experiment=name) == SyncReport(4, 0, 0, 0, 0)
    assert sync(store, iter(records), experiment=name) == SyncReport(0, 4, 0, 0, 0)
    assert current(uri, name) == {r.key: r.digest for r in records}

    changed = dataclasses.replace(records[0], metrics={"test_accuracy": 0.5}).sealed()
    with writer_lock(store):
        mirror = Mirror(uri, store, name)
        api, experiment = client(uri), mirror.experiment_id
        mirror.write(build_payload(records[2], None))  # a twin, as two writers could leave it
        killed = api.create_run(experiment, tags={"cell_key": "feed"}).info.run_id
        half = api.create_run(experiment, tags={"cell_key": records[1].key}).info.run_id
        foreign = api.create_run(experiment, tags={"mine": "1"}).info.run_id
    report = sync(store, [changed, *records[1:3]], experiment=name)
    assert report == SyncReport(created=1, unchanged=2, superseded=3, orphaned=2, reaped=1)
    tags = {run.info.run_id: run.data.tags for run in all_runs(uri, name)}
    live = {
        t["cell_key"]: t["record_digest"]
        for t in tags.values()
        if "cell_key" in t and "superseded_by" not in t and "orphaned" not in t
    }
    assert live == {r.key: r.digest for r in (changed, *records[1:3])}
    old = [t for t in tags.values() if t.get("record_digest") == records[0].digest]
    assert tags[old[0]["superseded_by"]]["record_digest"] == changed.digest
    assert api.get_run(killed).info.status == "KILLED"
    assert api.get_run(half).info.status == "KILLED"
    assert api.get_run(foreign).info.status == "RUNNING"

    assert sync(store, records, experiment=name) == SyncReport(0, 4, 1, 0, 0)  # restored


def test_settings_are_named_as_on_boards() -> None:
    spec = {"imbalance": {"name": "exp:5"}, "corrupt": {"name": "fog:0.3", "severity": 5}}
    payload = build_payload(make_record(spec=spec), None)
    assert "symmetric:0.4 + exp:5 + fog:0.3 severity 5" in payload.name
    assert payload.tags["corrupt"] == "fog:0.3 severity 5"
    assert payload.tags["imbalance"] == "exp:5"


def test_a_finished_write_left_running_is_ended_not_repeated(store: Path) -> None:
    made = make_record(9)
    with writer_lock(store):
        mirror = Mirror(default_uri(store), store, "cut")
        run_id = mirror.write(build_payload(made, None))
        client(default_uri(store)).update_run(run_id, status="RUNNING")
    assert sync(store, [made], experiment="cut") == SyncReport(0, 1, 0, 0, 0)
    (run,) = all_runs(default_uri(store), "cut")
    assert run.info.status == "FINISHED"


def test_an_unreachable_server_is_counted_and_said_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever closes the mirror tells its failure, once."""
    tracking = BackgroundMirror(DEAD_SERVER, tmp_path, "x")
    with caplog.at_level(logging.WARNING), tracking:
        for seed in range(5):
            tracking.submit(make_record(seed))
        summary = tracking.close()
    assert (summary.written, summary.lost) == (0, 5)
    assert summary.reason
    assert "\n" not in summary.reason
    assert not [r for r in caplog.records if r.name.startswith("prunebench")]
    with pytest.raises(TrackingError, match="MLflow sync stopped"):
        sync(tmp_path, [make_record()], uri=DEAD_SERVER)
    assert capfd.readouterr() == ("", "")


ODD_NAMES = [
    "plain", "what if?r=0.5", "100%41 %2e%2e%2f", "a#b", "é 中文", "x&mode=memory", "file:y",
    "[x]:8@y", "back\\slash 'quoted\"", b"\xff\xfe",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_database_lies_in_its_folder_whatever_the_name(
    store: Path, tmp_path: Path, name: str | bytes
) -> None:
    results = tmp_path / os.fsdecode(name)
    results.mkdir()
    assert sqlite_path(default_uri(results)) == results.resolve() / "mlflow.db"
    shutil.copyfile(store / "mlflow.db", results / "mlflow.db")
    assert sync(results, [make_record()]).created == 1
    assert [path.name for path in tmp_path.iterdir()] == [results.name]
    assert {path.name for path in results.iterdir()} == {"mlflow.db", "mlflow.json", "mlflow.lock"}
    read_only = sqlite_uri(results / "mlflow.db", read_only=True)
    assert list(current(read_only, default_experiment(results)).values()) == [make_record().digest]


def _shared(store: Path, tmp_path: Path) -> tuple[Path, Path, str]:
    """Two folders of one name, and one store for both."""
    folders = tmp_path / "a/demo", tmp_path / "b/demo"
    for folder in folders:
        folder.mkdir(parents=True)
    return *folders, sqlite_uri(Path(shutil.copyfile(store / "mlflow.db", tmp_path / "both.db")))


def test_folders_of_one_name_leave_each_others_runs_alone(store: Path, tmp_path: Path) -> None:
    a, b, uri = _shared(store, tmp_path)
    common, name = make_record(0), default_experiment(a)
    other = dataclasses.replace(common, metrics={"test_accuracy": 0.5}).sealed()
    assert sync(a, [common, make_record(1)], uri=uri).created == 2
    with BackgroundMirror(uri, b, name) as tracking:
        tracking.submit(other)
        tracking.submit(make_record(2))
    (unfinished,) = (
        client(uri).create_run("1", tags={"cell_key": "feed", "results_id": "0" * 32}) for _ in "1"
    )
    assert sync(b, [other], uri=uri) == SyncReport(0, 1, 0, orphaned=1, reaped=0)
    assert sync(a, [common], uri=uri) == SyncReport(0, 1, 0, orphaned=1, reaped=0)
    runs = [run.data.tags for run in all_runs(uri, name)]
    live = [t["record_digest"] for t in runs if not t.keys() & {"superseded_by", "orphaned"}]
    assert sorted(live) == sorted([common.digest, other.digest])
    assert client(uri).get_run(unfinished.info.run_id).info.status == "RUNNING"


def test_runs_of_earlier_versions_belong_to_whom_has_their_records(
    store: Path, tmp_path: Path
) -> None:
    a, b, uri = _shared(store, tmp_path)
    name, api = default_experiment(a), client(uri)
    sync(a, [make_record(0)], uri=uri)
    sync(b, [make_record(1)], uri=uri)
    for run in all_runs(uri, name):
        api.delete_tag(run.info.run_id, "results_id")
    assert sync(a, [make_record(0)], uri=uri) == SyncReport(0, 1, 0, 0, 0)
    assert sync(a, [], uri=uri) == SyncReport(0, 0, 0, orphaned=1, reaped=0)
    assert sync(b, [make_record(1)], uri=uri) == SyncReport(0, 1, 0, 0, 0)


def test_moved_folders_keep_their_runs_and_copies_get_their_own(
    store: Path, tmp_path: Path
) -> None:
    a, _, uri = _shared(store, tmp_path)
    records = [make_record(seed) for seed in range(2)]
    sync(a, records, uri=uri)
    moved = Path(shutil.move(a, tmp_path / "moved/demo"))
    assert sync(moved, records, uri=uri) == SyncReport(0, 2, 0, 0, 0)
    copy = shutil.copytree(moved, tmp_path / "copy/demo")
    assert identity(copy).name != identity(moved).name
    assert sync(copy, records[:1], uri=uri) == SyncReport(1, 0, 0, 0, 0)
    assert sync(moved, records[1:], uri=uri) == SyncReport(0, 1, 0, orphaned=1, reaped=0)


def test_a_copied_database_goes_with_its_folder(store: Path, tmp_path: Path) -> None:
    a, _, _ = _shared(store, tmp_path)
    shutil.copyfile(store / "mlflow.db", a / "mlflow.db")
    records = [make_record(seed) for seed in range(2)]
    sync(a, records)
    copy = shutil.copytree(a, tmp_path / "copy/demo")
    assert sync(copy, records[:1]) == SyncReport(0, 1, 0, orphaned=1, reaped=0)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"name": 1, "place": "", "former": []}', "\xff", "[" * 9999]
)
def test_a_damaged_identity_is_made_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "mlflow.json").write_text(text)
    made = identity(tmp_path)
    assert identity(tmp_path) == made
    foreign = tmp_path / "foreign"
    foreign.write_text(text)
    (tmp_path / "mlflow.json").unlink()
    (tmp_path / "mlflow.json").symlink_to(foreign)
    with pytest.raises(InputError, match="is a link"):
        identity(tmp_path)
    assert foreign.read_text() == text


def test_a_store_that_breaks_or_hangs_never_reaches_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    release = threading.Event()

    class Broken:
        def __init__(self, *_: object) -> None: ...

        def runs(self, key: str) -> list[object]:
            return []

        def reconcile(self, payload: Payload, existing: list[object]) -> tuple[bool, int]:
            calls.append(payload.key)
            raise OSError("disk full")

    class Hanging(Broken):
        def reconcile(self, payload: Payload, existing: list[object]) -> tuple[bool, int]:
            release.wait(30)
            return True, 0

    monkeypatch.setattr(background, "Mirror", Broken)
    with BackgroundMirror(None, tmp_path, "x") as tracking:
        for seed in range(10):
            tracking.submit(make_record(seed))
        summary = tracking.close()
    assert summary.lost == 10
    assert "disk full" in summary.reason
    assert len(calls) == background.MAX_FAILURES

    monkeypatch.setattr(background, "Mirror", Hanging)
    with BackgroundMirror(None, tmp_path, "x") as tracking:
        tracking.submit(make_record())
        begun = time.monotonic()
        summary = tracking.close(timeout=0.2)
        assert time.monotonic() - begun < 10
    release.set()
    assert summary.lost == 1
    assert "0.2 s" in summary.reason
    assert tracking.close() is summary


def test_a_missing_mlflow_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with BackgroundMirror(None, tmp_path, "x") as tracking:
        tracking.submit(make_record())
        summary = tracking.close()
    assert summary.lost == 1
    assert "mlflow" in summary.reason


@pytest.mark.perf
def test_runs_per_second(store: Path) -> None:
    """About 100 metrics a run; the cost is MLflow's object mapping, not the disk."""
    records = [make_record(seed) for seed in range(60)]
    for record in records:
        folder = store / "artifacts" / record.key
        folder.mkdir(parents=True)
        text = "".join(f"{i},1.5,0.5,0.1\n" for i in range(30))
        (folder / "epochs.csv").write_text("epoch,train_loss,kept_fraction,lr\n" + text)
    begun = time.perf_counter()
    assert sync(store, records, experiment="perf").created == 60
    rate = 60 / (time.perf_counter() - begun)
    print(f"{rate:.1f} runs/s")
    assert rate > 2
