"""Reports of a worker whose driver is gone."""

from __future__ import annotations

from multiprocessing import Pipe
from pathlib import Path

import pytest

from prunebench.bench.executors.local import call
from prunebench.bench.executors.messages import JobProgress, send
from prunebench.bench.results.store import Store
from prunebench.bench.runs.job import run_payload
from prunebench.bench.runs.job_result import OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.stopping import Stopped
from support.cells import small_cell


def test_a_run_whose_driver_died_saves_itself_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "_REPORT_S", 0.0)
    own, driver = Pipe()
    driver.close()
    cell, store = small_cell(), Store.open(tmp_path)
    settings = {"root": str(tmp_path), **ExecutionOptions(checkpoint_s=0.0).for_workers()}
    report = call.throttled(lambda share: send(own, JobProgress(share, 0)))
    # The first run begins anew, the second one from a checkpoint: neither has failed.
    for _ in range(2):
        with pytest.raises(Stopped):
            run_payload(cell.to_json(), WorkerContext(settings, "cpu", report=report))
        assert store.get(cell.spec.key) is None
        assert list(store.checkpoint_path(cell.spec.key).iterdir())
        assert not list((tmp_path / "quarantine").iterdir())
    done = run_payload(cell.to_json(), WorkerContext(settings, "cpu"))
    assert (done.code, done.status) == (OutcomeCode.RECORDED, "done")


def test_without_a_run_the_process_ends() -> None:
    own, driver = Pipe()
    driver.close()
    with pytest.raises(Stopped):
        call.throttled(lambda share: send(own, JobProgress(share, 0)))(0.5)
