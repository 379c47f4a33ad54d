"""Pausing the garbage collector: its state before is its state after."""

from __future__ import annotations

import gc

import pytest

from prunebench.bench.results.collector import collector_paused


def test_the_collector_is_off_inside_and_on_again_after_an_error() -> None:
    @collector_paused()
    def failing() -> None:
        raise ValueError(f"enabled: {gc.isenabled()}")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="enabled: False"):
        failing()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_collector_that_is_off_stays_off_and_frozen_objects_stay_frozen() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    gc.freeze()
    try:
        with collector_paused():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
