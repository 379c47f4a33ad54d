"""Goals of static scoring beside its literal reading; see ``perf.benchmarks.static``."""

from __future__ import annotations

import pytest

from perf.benchmarks import BENCHMARKS
from support.suite import goals

pytestmark = pytest.mark.perf


def test_windows() -> None:
    assert goals(BENCHMARKS["windows"]) == {
        "dyn-unc: literal / ours": True,
        "dual: literal / ours": True,
    }


def test_prune4rel() -> None:
    met = goals(BENCHMARKS["prune4rel"], repeats=3)
    assert met == {"a third, literal / all, ours": True, "memory added": True}


def test_features() -> None:
    met = goals(BENCHMARKS["features"], repeats=1)
    assert len(met) == 9
    assert all(met.values())


def test_strata() -> None:
    met = goals(BENCHMARKS["strata"])
    assert met == {"aum: seconds": True, "strata: seconds": True, "memory added": True}
