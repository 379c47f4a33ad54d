"""What a node without the results folder makes reaches the driver's, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prunebench.bench.executors.base import Job
from prunebench.bench.executors.messages import JobEnded
from prunebench.bench.executors.ray import transfer
from prunebench.bench.executors.ray.actor import NodeInfo, Report
from prunebench.bench.executors.ray.gateway import ResultsGateway
from prunebench.bench.executors.ray.run import RayRun, RaySlot
from prunebench.bench.executors.ray.settings import RaySettings
from prunebench.bench.executors.ray.transfer import StagingFolder
from prunebench.bench.executors.tracker import JobTracker
from prunebench.bench.results.claims import Claims
from prunebench.bench.results.names import STATE
from prunebench.bench.results.store import Store
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.errors import InputError
from prunebench.record import Record, content_key
from support.cells import small_cell

KEY = content_key({"cell": 1})
JOB = Job(KEY, {})


def save(store: Store) -> Record:
    record = Record(key=KEY, spec={"cell": 1}, status="done", metrics={"x": 1.0})
    store.save(record, {"a.bin": b"1234"})
    return record


@pytest.fixture
def home(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


@pytest.fixture
def gateway(home: Store) -> ResultsGateway:
    return ResultsGateway(home, retry_failed=False, put=lambda files: files)


def test_a_record_is_stored_once(gateway: ResultsGateway, home: Store, tmp_path: Path) -> None:
    node = StagingFolder(tmp_path / "node")
    assert gateway.begin(JOB) is None
    assert Claims(home.claims).holder(KEY)
    assert gateway.job_files(JOB).checkpoint is None
    save(node.store)
    results = node.take_results([KEY])
    assert not node.store.keys()
    assert gateway.finish(JOB, results) is None
    assert Claims(home.claims).holder(KEY) is None
    assert (home.artifacts / KEY / "a.bin").read_bytes() == b"1234"
    found = gateway.begin(JOB)
    assert found == JobResult(OutcomeCode.EXISTS, "done")
    assert Claims(home.claims).holder(KEY) is None


def test_a_node_gets_no_encoder_for_a_run_that_its_recipe_skips(gateway: ResultsGateway) -> None:
    skipped = small_cell("tdds", recipe_params={"epochs": 2})
    assert gateway.job_files(Job(skipped.spec.key, skipped.to_json())).evidence == {}


def test_a_claim_of_another_process_keeps_a_cell_busy(gateway: ResultsGateway, home: Store) -> None:
    claim = Claims(home.claims).acquire(KEY)
    assert claim is not None
    found = gateway.begin(JOB)
    assert found is not None
    assert found.code is OutcomeCode.BUSY
    claim.release()
    assert gateway.begin(JOB) is None
    gateway.close()
    assert Claims(home.claims).holder(KEY) is None


def test_damage_on_the_way_stores_nothing_and_releases_the_claim(
    gateway: ResultsGateway, home: Store, tmp_path: Path
) -> None:
    node = StagingFolder(tmp_path / "node")
    assert gateway.begin(JOB) is None
    save(node.store)
    results = node.take_results([KEY])
    data, _ = results.records[KEY]
    with pytest.raises(InputError, match="arrived damaged"):
        gateway.finish(JOB, replace(results, records={KEY: (data, {"a.bin": b"123x"})}))
    assert not home.keys()
    assert Claims(home.claims).holder(KEY) is None


def test_a_view_without_a_checkpoint_neither_travels_nor_is_in_the_way(
    gateway: ResultsGateway, home: Store, tmp_path: Path
) -> None:
    node = StagingFolder(tmp_path / "node")
    for store in (home, node.store):
        store.write(store.checkpoint_path(KEY) / "view.npy", b"of an epoch that was not saved")
    assert node.new_checkpoint(KEY) is None
    assert gateway.job_files(JOB).checkpoint is None
    node.add_checkpoint(KEY, {STATE: b"epoch 3"})
    assert node.new_checkpoint(KEY) == {STATE: b"epoch 3"}


def test_a_checkpoint_that_is_read_under_its_run_names_what_came_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on while the folder is read: the older state is the one that fits."""

    def later(folder: Path) -> dict[str, bytes]:
        (folder / STATE).write_bytes(b"names one and two")
        return {"one.npy": b"1", STATE: b"names one and two"}

    (tmp_path / STATE).write_bytes(b"names one")
    monkeypatch.setattr(transfer, "read_files", later)
    assert transfer.read_checkpoint(tmp_path) == {"one.npy": b"1", STATE: b"names one"}


def test_checkpoints_travel_both_ways_and_once(
    gateway: ResultsGateway, home: Store, tmp_path: Path
) -> None:
    first, second = StagingFolder(tmp_path / "first"), StagingFolder(tmp_path / "second")
    assert gateway.begin(JOB) is None
    first.add_checkpoint(KEY, {STATE: b"epoch 3", "view.npy": b"of epoch 2"})
    files = first.new_checkpoint(KEY)
    assert files == {STATE: b"epoch 3", "view.npy": b"of epoch 2"}
    assert first.new_checkpoint(KEY) is None
    gateway.keep_checkpoint(KEY, files)
    sent = gateway.job_files(JOB).checkpoint
    assert sent == files
    second.add_checkpoint(KEY, sent)
    assert second.new_checkpoint(KEY) == files
    gateway.release(KEY)
    gateway.keep_checkpoint(KEY, {STATE: b"of a node that lost its claim"})
    assert gateway.job_files(JOB).checkpoint == files


def test_a_time_limit_on_a_node_releases_the_claim(gateway: ResultsGateway, home: Store) -> None:
    tracker = JobTracker([JOB], lambda event: None)
    node = NodeInfo("m", "node-1", "1", "code", sees_results=False)
    slot = RaySlot(0, "cpu", job=JOB, node=node, begun=True)
    start: Any = None
    cluster: Any = SimpleNamespace(ray=None)
    settings = RaySettings(ExecutionOptions(time_limit_s=2.0))
    run = RayRun(settings, start, cluster, gateway, tracker, [slot])
    assert gateway.begin(JOB) is None
    tracker.started(JOB, 0)
    late = JobResult(OutcomeCode.TIME_LIMIT, "failed", "time limit of 2 s")
    run._apply(slot, Report([JobEnded(late, 2.0, last=True)], None, 0, None, None))
    assert Claims(home.claims).holder(KEY) is None
    assert [(o.status, o.code) for o in tracker.outcomes()] == [("failed", OutcomeCode.TIME_LIMIT)]
    assert (slot.job, slot.ready) == (None, False)
