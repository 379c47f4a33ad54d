"""Goals of static scoring beside its literal reading; see ``prunebench.bench.perf.static``."""

from __future__ import annotations

import pytest

from support.suite import goals

pytestmark = pytest.mark.perf


def test_windows() -> None:
    assert goals("windows") == {"dyn-unc: literal / ours": True, "dual: literal / ours": True}


def test_prune4rel() -> None:
    met = goals("prune4rel", repeats=3)
    assert met == {"a third, literal / all, ours": True, "memory added": True}
