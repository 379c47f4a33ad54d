"""Goals of choices by gradients beside literal forms; see ``perf.benchmarks.gradients``."""

from __future__ import annotations

import pytest

from perf.benchmarks import BENCHMARKS
from support.suite import goals

pytestmark = pytest.mark.perf


@pytest.mark.parametrize("name", ["gradmatch", "submodular", "gradients", "many_classes"])
def test_gradients(name: str) -> None:
    met = goals(BENCHMARKS[name], repeats=1)
    assert met
    assert all(met.values()), met
