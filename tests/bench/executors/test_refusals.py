"""What an executor cannot start with is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.errors import InputError
from support.jobs import Events, jobs

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slots": 0}, "slots is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"attempts": 0}, "attempts is 0"),
        ({"time_limit_s": 0.0}, "time limit"),
        ({"time_limit_s": float("nan")}, "time limit"),
        ({"slots": 3, "devices": ("cuda:0", "cuda:1")}, "3 slots on 2"),
        ({"slots": 2, "inline": True}, "inline"),
        ({"slots": 1, "inline": True, "time_limit_s": 1.0}, "inline"),
    ],
)
def test_wrong_arguments_are_one_clear_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LocalExecutor("fakes:act", **arguments)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("path", ["nowhere:act", "fakes:nothing", "fakes", "fakes:HERE", ":"])
def test_a_function_that_cannot_be_found_is_reported_once(path: str, inline: bool) -> None:
    with pytest.raises(InputError, match=r"worker function|is no function"):
        LocalExecutor(path, slots=1, inline=inline).run(jobs(("nap", 0)), Events())


def test_a_module_that_breaks_or_kills_at_import_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_cells.py").write_text("1 / 0\n")
    (tmp_path / "deadly_cells.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="ZeroDivisionError"):
        LocalExecutor("broken_cells:f", slots=2).run(jobs(("nap", 0), ("nap", 0)), Events())
    with pytest.raises(InputError, match="do not start: the worker exited with code 9"):
        LocalExecutor("deadly_cells:f", slots=2).run(jobs(("nap", 0), ("nap", 0)), Events())


def test_a_missing_plug_in_is_reported() -> None:
    with pytest.raises(InputError, match=r"no such file: /nowhere/plugin\.py"):
        LocalExecutor("fakes:act", slots=2, plugins=["/nowhere/plugin.py"]).run(
            jobs(("nap", 0)), Events()
        )
