"""A study that is killed at any moment goes on as if it had not been."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.results.claims import Claims
from prunebench.bench.results.store import Store
from prunebench.bench.tuning.storage import Journal, declare
from prunebench.bench.tuning.trials import RETRIES, EarlierWork, Slots, ended_trials
from prunebench.record import Record
from support.tuning import Fake, go, params_of, study_at, tiny


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize(
    "fields", [{"round": 1}, {"round": 3}, {"round": 2, "fidelities": (0.5, 1.0)}]
)
def test_a_kill_at_any_write_of_the_journal_changes_nothing(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = tiny(trials=14, **fields)
    whole, _ = go(design, tmp_path / "whole", Fake(store=Store.open(tmp_path / "whole")))
    writes = len((tmp_path / "whole/tuning/s.journal").read_text().splitlines())
    append = Journal.append_logs
    moment = iter([1, 0, *range(2, 400, 7)])
    left = next(moment)

    def shot(self: Journal, logs: list[Any]) -> None:
        nonlocal left
        if left == 0:
            with open(self.where, "ab") as file:
                file.write(b'{"op_code": 4, "wor')  # half a line
            raise Killed
        left -= 1
        append(self, logs)

    monkeypatch.setattr(Journal, "append_logs", shot)
    kills = 0
    while True:
        try:
            pinned, _ = go(design, tmp_path / "shot", Fake(store=Store.open(tmp_path / "shot")))
            break
        except Killed:
            kills, left = kills + 1, next(moment)
    assert kills > 6
    assert writes > 60
    assert pinned.path.read_bytes() == whole.path.read_bytes()
    assert params_of(tmp_path / "shot") == params_of(tmp_path / "whole")


def die_over(store: Store, key: str) -> None:
    """A process claims a cell and dies."""
    child = os.fork()
    if child == 0:
        Claims(store.claims).acquire(key)
        os._exit(0)
    os.waitpid(child, 0)


def test_a_trial_that_keeps_killing_its_driver_is_given_up_and_charged(tmp_path: Path) -> None:
    design, store = tiny(trials=3), Store.open(tmp_path)
    shots = 0

    class Deadly(Fake):
        def __call__(self, cells: Any) -> dict[str, Record]:
            nonlocal shots
            if cells[0].spec.method.params["r"] != 0.5 and shots <= RETRIES:
                shots += 1
                die_over(store, cells[0].spec.key)
                raise Killed
            return super().__call__(cells)

    for _ in range(RETRIES + 1):
        with pytest.raises(Killed):
            go(design, tmp_path, Deadly())
    pinned, report = go(design, tmp_path, Deadly())
    assert shots == RETRIES + 1
    assert report["trials"] == {"complete": 2, "diverged": 0, "stopped": 0, "failed": 1}
    assert report["history"][1]["state"] == "failed"
    assert "driver was killed 3 times" in report["history"][1]["reason"]
    assert pinned.body["choice"]["trial"] != 1
    # Two trials with two seeds, the cell that was begun in vain, and the finalists.
    assert report["budget"]["cells"] == 2 * 2 + 1 + 2 * 2


def test_progress_between_kills_is_no_failure_of_the_trial(tmp_path: Path) -> None:
    design = tiny(trials=2)
    with study_at(tmp_path) as study:
        declare(study, design.content)
        deaths = [(0, True), (1, True), (1, True), (1, True), (2, True), (2, False), (2, False),
                  (2, True), (2, False), (2, True)]  # fmt: skip
        for death in deaths:
            slots = Slots(study, design, lambda point, death=death: EarlierWork(*death, []))
            slots.end_abandoned()
            assert not ended_trials(study)
            slots.ask(0, lambda point: None)
        Slots(study, design, lambda point: EarlierWork(2, True, [])).end_abandoned()
        assert list(ended_trials(study)) == [0]
