"""Machines whose clocks are hours apart share a folder: claims and temporaries go by its clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prunebench.bench.results.claims import Claims
from prunebench.bench.results.process import this_process
from prunebench.bench.results.store import Store

KEY = "0123456789abcdef"
#: A holder on another machine, whose clock and whose time stamps can be wrong.
HOLDER = """
import dataclasses, os, sys, time
from pathlib import Path
skew, stamps = float(sys.argv[2]), sys.argv[3] == "stamps"
real_time, real_utime = time.time, os.utime
time.time = lambda: real_time() + skew
if stamps:  # a file system that takes the time from its client
    os.utime = lambda path, times=None, **more: real_utime(path, (time.time(), time.time()))
from prunebench.bench.results import claims
me = claims.this_process()
claims.this_process = lambda: dataclasses.replace(me, host="far", machine="0" * 12)
claim = claims.Claims(Path(sys.argv[1]), heartbeat_s=0.05, expire_s=60.0).acquire(sys.argv[4])
claim.touch()
print("won" if claim else "lost", flush=True)
time.sleep(60)
"""
HOURS = 3600.0


@pytest.mark.parametrize(
    ("hours", "stamps"), [(5, False), (-5, False), (5, True)], ids=["ahead", "behind", "stamped"]
)
def test_a_holder_with_a_wrong_clock_keeps_its_claim_while_it_lives_and_no_longer(
    hours, stamps, tmp_path
):
    words = [tmp_path, hours * HOURS, "stamps" if stamps else "-", KEY]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "won\n"
        mine = Claims(tmp_path, expire_s=1.0)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert mine.acquire(KEY) is None
            time.sleep(0.1)
        found = mine.holder(KEY)
        assert found is not None
        assert found.process is not None
        assert found.process.host == "far"
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    end, taken = time.monotonic() + 30.0, None
    died = time.monotonic()
    while taken is None and time.monotonic() < end:
        time.sleep(0.05)
        taken = mine.acquire(KEY)
    assert taken is not None
    assert time.monotonic() - died > 0.9  # from another machine, only silence tells
    taken.release()


def test_our_own_clock_does_not_matter_either(tmp_path, monkeypatch):
    claim = Claims(tmp_path).acquire(KEY)
    assert claim is not None
    for skew in (5 * HOURS, -5 * HOURS):
        real = time.time
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda real=real, skew=skew: real() + skew)
            holder = Claims(tmp_path).holder(KEY)
        assert holder is not None
        assert holder.live
        assert abs(holder.age_s) < 10.0
    claim.release()


def test_temporaries_that_others_write_now_survive_a_clock_that_runs_ahead(tmp_path):
    """Two hours ahead, a file of another machine would look abandoned for an hour."""
    store = Store.open(tmp_path / "r")
    theirs = store.root / ".tmp" / f".file~{'f' * 12}~1~1~aa.xx.tmp"
    theirs.touch()
    abandoned = store.root / ".tmp" / f".file~{'f' * 12}~1~1~bb.xx.tmp"
    abandoned.touch()
    os.utime(abandoned, (time.time() - 2 * HOURS, time.time() - 2 * HOURS))
    code = (
        "import sys, time; real = time.time; time.time = lambda: real() + 7200\n"
        "from prunebench.bench.results.store import Store; Store.open(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, store.root], check=True)
    assert theirs.exists()
    assert not abandoned.exists()


def test_silence_and_death_are_told_apart(tmp_path):
    """What dies here is known at once, whatever the time stamps say."""
    code = HOLDER.replace('machine="0" * 12', "machine=me.machine")
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(5 * HOURS), "stamps", KEY],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "won\n"
    assert Claims(tmp_path).acquire(KEY) is None
    holder.kill()
    holder.communicate()
    claim = Claims(tmp_path).acquire(KEY)
    assert claim is not None
    found = Claims(tmp_path).holder(KEY)
    assert found is not None
    assert found.process == this_process()
    claim.release()
    assert not list(Path(tmp_path).glob("*.json"))
