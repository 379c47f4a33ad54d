"""Codes of outcomes: what programs decide by, whatever the text says."""

from __future__ import annotations

import pytest

from prunebench.bench.executors.base import Job
from prunebench.bench.executors.tracker import JobTracker
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.errors import FolderError


@pytest.mark.parametrize("code", list(OutcomeCode))
def test_a_result_survives_a_message(code: OutcomeCode) -> None:
    result = JobResult(code, "failed", "bad input: x")
    again = JobResult.from_json(result.to_json())
    assert again == result
    assert again.code is code


@pytest.mark.parametrize("fields", [{"code": "odd"}, {"status": "odd"}])
def test_unknown_words_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="odd"):
        JobResult.from_json(JobResult().to_json() | fields)


def test_a_lost_folder_is_known_by_its_code() -> None:
    """The text of another error may begin as that of a lost folder does."""
    jobs = [Job("a", {}), Job("b", {})]

    def on_lost(job: Job, status: str, reason: str) -> None:
        if job.key == "a":
            raise FolderError.of("/full", "No space left on device")

    tracker = JobTracker(jobs, lambda event: None, on_lost)
    late = JobResult(OutcomeCode.TIME_LIMIT, "failed", "time limit of 3 s")
    tracker.ended(jobs[0], 0, late)
    alike = JobResult(OutcomeCode.ESCAPED, "failed", f"RuntimeError: {FolderError.START}")
    tracker.ended(jobs[1], 0, alike)
    lost, other = tracker.outcomes()
    assert lost.code is OutcomeCode.FOLDER_LOST
    assert lost.reason.startswith(FolderError.START)
    assert other.code is OutcomeCode.ESCAPED
