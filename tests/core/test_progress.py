"""Loops tell how far they are and stages how long they took, where somebody listens."""

import pytest

from prunebench import progress
from prunebench.progress import counted, listening, stage


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Every look at the clock is a second later than the last one."""
    now = iter(range(10**6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(now)))


def test_loops_alone_are_loops():
    assert list(counted([3, 1])) == [3, 1]
    assert list(counted(iter("ab"), 2)) == ["a", "b"]
    with stage("nobody listens"):
        pass


def test_nested_loops_share_the_way():
    heard = []
    with listening(heard.append):
        for _ in counted(range(2)):
            for _ in counted(range(5)):
                pass
    assert heard == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert list(counted("ab")) == ["a", "b"]
    assert len(heard) == 12


def test_a_loop_that_is_left_early_leaves_the_outer_one_where_it_was():
    heard = []
    with listening(heard.append):
        for _ in counted(range(2)):
            for item in counted(range(10)):
                if item == 1:
                    break
    assert heard == pytest.approx([0, 0, 0.05, 0.5, 0.5, 0.55])


def test_a_fast_loop_reports_now_and_then(monkeypatch):
    ticks = iter(number / 1000 for number in range(10**6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(ticks))
    heard = []
    with listening(heard.append):
        list(counted(range(1000)))
    assert len(heard) == 10


def test_seconds_of_inner_stages_are_theirs_alone():
    with listening() as heard:
        with stage("outer"), stage("inner"):
            pass
        with stage("inner"):
            pass
    assert heard.stages == {"inner": 2.0, "outer": 2.0}
