"""Claims: one live holder, never two, and none that outlives its process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from prunebench.bench.results.claims import Claims
from prunebench.bench.results.process import Process, alive, start_time, this_process
from prunebench.errors import InputError
from prunebench.files import OwnFolder

KEY = "0123456789abcdef"
HOLD = """
import sys, time
from pathlib import Path
from prunebench.bench.results.claims import Claims
claim = Claims(Path(sys.argv[1]), heartbeat_s=0.05, expire_s=60.0).acquire(sys.argv[2])
print("won" if claim else "lost", flush=True)
time.sleep(60)
"""
RACE = """
import sys, time
from pathlib import Path
from prunebench.bench.results.claims import Claims
folder, won, rounds, begin = Path(sys.argv[1]), [], int(sys.argv[2]), float(sys.argv[3])
claims = Claims(folder)
time.sleep(max(0.0, begin - time.time()))
held = [claims.acquire(f"{number:016x}") for number in range(rounds)]
print(*[number for number, claim in enumerate(held) if claim], flush=True)
sys.stdin.readline()
"""
TURNS = """
import os, sys, time
from pathlib import Path
from prunebench.bench.results.claims import Claims
folder, turns = Path(sys.argv[1]), int(sys.argv[2])
claims, inside, done = Claims(folder / "claims"), folder / "inside", 0
while done < turns:
    claim = claims.acquire("0" * 16)
    if claim is None:
        time.sleep(0.002)
        continue
    with claim:
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        time.sleep(0.001)
        inside.unlink()
        done += 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "claims"


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def take(claims: Claims, key: str = KEY) -> bool:
    """Whether the claim can be had; gives it back."""
    claim = claims.acquire(key)
    if claim is None:
        return False
    assert claim.valid()
    claim.release()
    return True


def plant(folder: Path, age: float = 0.0, **fields: object) -> Path:
    """A claim file of somebody else, whose last heartbeat is ``age`` seconds old."""
    me = this_process()
    body = {"host": me.host, "machine": me.machine, "pid": me.pid, "start": me.start,
            "token": "t", **fields}  # fmt: skip
    folder.mkdir(exist_ok=True)
    path = folder / f"{KEY}.json"
    path.write_text(json.dumps(body))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_a_claim_excludes_others_until_it_is_released(folder: Path) -> None:
    claims, others = Claims(folder), Claims(folder)
    claim = claims.acquire(KEY)
    assert claim is not None
    assert claim.valid()
    assert others.acquire(KEY) is None
    holder = others.holder(KEY)
    assert holder is not None
    assert holder.live
    assert holder.process == this_process()
    assert holder.token == claim.token
    claim.release()
    claim.release()
    assert not claim.valid()
    assert others.holder(KEY) is None
    with others.acquire(KEY) or pytest.fail("free, but refused"):
        assert claims.acquire(KEY) is None
    assert not list(folder.glob("*.json"))


def test_an_error_inside_releases(folder: Path) -> None:
    claims = Claims(folder)
    with pytest.raises(RuntimeError), claims.acquire(KEY) or pytest.fail("refused"):
        raise RuntimeError
    assert take(claims)


def test_malformed_keys_are_refused(folder: Path) -> None:
    for key in ("../x", "", "x" * 16):
        with pytest.raises(InputError):
            Claims(folder).acquire(key)


def test_a_killed_holder_loses_at_once(folder: Path) -> None:
    holder = start(HOLD, folder, KEY)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "won\n"
    assert Claims(folder).acquire(KEY) is None
    end(holder)
    found = Claims(folder).holder(KEY)
    assert found is not None
    assert not found.live
    assert take(Claims(folder))


def test_a_zombie_counts_as_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    deadline = time.time() + 20
    while alive(child.pid) and time.time() < deadline:
        time.sleep(0.01)
    assert not alive(child.pid)
    assert child.wait() == 0


def test_a_reused_process_id_is_recognised_by_its_start(folder: Path) -> None:
    if not start_time(os.getpid()):
        pytest.skip("this system does not tell when a process started")
    plant(folder, start="1")
    assert take(Claims(folder))
    me = this_process()
    assert Process(me.host, me.machine, me.pid, "1").dead() is True
    assert me.dead() is False
    assert Process(me.host, "elsewhere", me.pid, me.start).dead() is None


@pytest.mark.parametrize(("age", "live"), [(0.0, True), (50.0, True), (70.0, False)])
def test_another_machine_loses_by_silence_only(folder: Path, age: float, live: bool) -> None:
    plant(folder, age=age, machine="elsewhere", pid=1)
    claims = Claims(folder, expire_s=60.0)
    found = claims.holder(KEY)
    assert found is not None
    assert found.live is live
    assert take(claims) is not live


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"host": 1}', '{"pid": "x"}', "\x00" * 9000, "[" * 4000,
     '{"host": "", "machine": "", "pid": 1e999, "start": "", "token": ""}'],
)  # fmt: skip
def test_torn_claims_expire(folder: Path, text: str) -> None:
    path = plant(folder)
    path.write_text(text)
    assert not take(Claims(folder, expire_s=60.0))
    os.utime(path, (time.time() - 61, time.time() - 61))
    assert take(Claims(folder, expire_s=60.0))


def test_the_heartbeat_keeps_claims_alive_and_one_thread_serves_them_all(folder: Path) -> None:
    mine = Claims(folder, heartbeat_s=0.05, expire_s=60.0)
    held = [mine.acquire(f"{number:016x}") for number in range(5)]
    path = mine.path("0" * 16)
    first = path.stat().st_mtime_ns
    deadline = time.time() + 20
    while path.stat().st_mtime_ns == first and time.time() < deadline:
        time.sleep(0.01)
    assert path.stat().st_mtime_ns > first
    assert [thread.name for thread in threading.enumerate()].count("claims") == 1
    for claim in held:
        assert claim is not None
        claim.release()
    while "claims" in [t.name for t in threading.enumerate()] and time.time() < deadline:
        time.sleep(0.01)
    assert "claims" not in [thread.name for thread in threading.enumerate()]


def test_a_holder_that_fell_silent_finds_out_and_leaves_its_successor_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "prunebench.bench.results.claims._HEARTBEATS.add", lambda claim, interval: None
    )
    silent = Claims(folder)
    lost = silent.acquire(KEY)
    assert lost is not None
    path = silent.path(KEY)
    os.utime(path, (time.time() - 100, time.time() - 100))
    won = Claims(folder, expire_s=10.0).acquire(KEY)
    assert won is not None
    assert not lost.valid()
    assert won.valid()
    os.utime(path, (time.time() - 5, time.time() - 5))
    before = path.stat().st_mtime_ns
    lost.touch()
    assert path.stat().st_mtime_ns == before
    lost.release()
    assert won.valid()
    assert path.exists()
    won.release()


def test_a_sweep_removes_stale_claims_and_names_live_holders(folder: Path) -> None:
    stale = plant(folder, start="1").rename(folder / f"{'a' * 16}.json")
    silent = plant(folder, age=70.0, machine="elsewhere").rename(folder / f"{'b' * 16}.json")
    plant(folder, machine="elsewhere", host="node7")
    (folder / "notes.json").touch()
    with Claims(folder).acquire("c" * 16) or pytest.fail("refused"):
        live = Claims(folder).remove_stale()
    assert live.keys() == {KEY, "c" * 16}
    assert live[KEY].process is not None
    assert live[KEY].process.host == "node7"
    assert not stale.exists()
    assert not silent.exists()
    assert (folder / "notes.json").exists()


def test_a_forked_child_neither_holds_nor_releases(folder: Path) -> None:
    claim = Claims(folder).acquire(KEY)
    assert claim is not None
    child = os.fork()
    if child == 0:
        held = claim.valid()
        claim.release()
        os._exit(int(held))
    assert os.waitpid(child, 0)[1] == 0
    assert claim.valid()
    claim.release()


def test_of_many_processes_one_wins_each_claim(folder: Path) -> None:
    rounds, begin = 30, time.time() + 1.5
    folder.mkdir()
    for number in range(0, rounds, 2):  # every second one has a dead holder to take over from
        path = plant(folder, start="1")
        path.rename(folder / f"{number:016x}.json")
    racers = [start(RACE, folder, rounds, begin) for _ in range(6)]
    won: list[str] = []
    for racer in racers:
        assert racer.stdout is not None
        won += racer.stdout.readline().split()
    for racer in racers:
        end(racer)
    assert sorted(won, key=int) == [str(number) for number in range(rounds)]


def test_never_two_at_once_over_many_turns(tmp_path: Path) -> None:
    players = [start(TURNS, tmp_path, 25) for _ in range(4)]
    for player in players:
        player.communicate(timeout=60)
    assert [player.returncode for player in players] == [0, 0, 0, 0]


def test_who_may_not_write_sees_claims_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of somebody else: no clock file can be made there."""
    claim = Claims(folder).acquire(KEY)
    assert claim is not None
    real = OwnFolder.open

    def refuse(self: OwnFolder, path: Path, flags: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(self, path, flags)

    monkeypatch.setattr(OwnFolder, "open", refuse)
    holder = Claims(folder).holder(KEY)
    assert holder is not None
    assert holder.live
    monkeypatch.undo()
    claim.release()
    (folder / f"{KEY}.json").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        Claims(folder).holder(KEY)
