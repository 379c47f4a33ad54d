"""Cells without training, and a driver that a test can kill.

``python fakes.py ROOT CELLS SLOTS NAP`` runs a small grid with records, claims and worker
processes, like the real driver does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from prunebench.bench.executors.base import Job, Outcome
from prunebench.bench.results.claims import Claims
from prunebench.bench.results.store import Store
from prunebench.bench.runs.job_result import JobResult, OutcomeCode
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.train.capture import half_way
from prunebench.record import Record, content_key

HERE = str(Path(__file__).parent)


def spec(number: int) -> dict[str, Any]:
    return {"cell": number}


def record(number: int, **fields: Any) -> Record:
    body = spec(number)
    return Record(**{"key": content_key(body), "spec": body, "status": "done", **fields})


def keys(count: int) -> list[str]:
    return [content_key(spec(number)) for number in range(count)]


def act(payload: dict[str, Any], context: WorkerContext) -> JobResult:
    """Does what the payload says: ``[verb, argument...]`` in ``do``."""
    verb, *arguments = payload["do"]
    log = payload.get("log")
    if log:
        with open(log, "a") as file:
            file.write(f"{payload.get('name', verb)} {os.getpid()} begin\n")
    if verb == "nap":
        time.sleep(arguments[0])
    elif verb == "raise":
        raise {"value": ValueError, "memory": MemoryError, "exit": SystemExit}[arguments[0]]("boom")
    elif verb == "signal":
        os.kill(os.getpid(), getattr(signal, arguments[0]))
        time.sleep(30)
    elif verb == "signal-once" and not Path(arguments[0]).exists():
        Path(arguments[0]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "exit":
        os._exit(arguments[0])
    elif verb == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    elif verb == "report":
        for step in range(4):
            context.report(step / 4)
            time.sleep(0.25)
    elif verb == "return":
        fields = arguments[0]
        if not isinstance(fields, dict):
            return fields
        return JobResult(**{**fields, "code": OutcomeCode(fields.get("code", "recorded"))})
    elif verb == "half-way":
        half_way.note()
    elif verb == "variable":
        return JobResult(reason=str(os.environ.get(arguments[0])))
    elif verb == "hold":
        block = bytearray(arguments[0] << 20)
        block[::4096] = b"x" * len(block[::4096])
        time.sleep(arguments[1])
    elif verb == "grow" and not Path(arguments[1]).exists():
        import resource

        Path(arguments[1]).touch()
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
        bytearray(arguments[0] << 20)
    elif verb == "global":
        return JobResult(reason=str(globals()[arguments[0]]))
    elif verb == "surroundings":
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        values = [os.environ.get(name, "") for name in names]
        return JobResult(reason="|".join([context.device, *values]))
    if log:
        with open(log, "a") as file:
            file.write(f"{payload.get('name', verb)} {os.getpid()} end\n")
    return JobResult()


def cell(payload: dict[str, Any], context: WorkerContext) -> JobResult:
    """A cell as the real one goes: record? claim, record again? compute, save, release."""
    store = Store.open(context.settings["root"])
    number, nap = payload["number"], payload["nap"]
    fresh = record(number)
    if store.get(fresh.key) is not None:
        return JobResult(OutcomeCode.EXISTS)
    claim = Claims(store.claims, heartbeat_s=0.5, expire_s=30.0).acquire(fresh.key)
    if claim is None:
        return JobResult(OutcomeCode.BUSY)
    with claim:
        if store.get(fresh.key) is not None:
            return JobResult(OutcomeCode.EXISTS)
        with open(Path(context.settings["root"]) / "log", "a") as file:
            file.write(f"{fresh.key} {os.getpid()}\n")
        time.sleep(nap)
        once = os.urandom(8).hex()
        files = {"a.bin": os.urandom(20_000), "b.txt": once.encode()}
        store.save(record(number, metrics={"x": float(number)}, info={"once": once}), files)
    return JobResult()


def drive(root: str, cells: int, slots: int, nap: float) -> list[Outcome]:
    from prunebench.bench.executors.local.executor import LocalExecutor  # workers need no torch

    Claims(Store.open(root).claims).remove_stale()
    executor = LocalExecutor("fakes:cell", slots=slots, settings={"root": root})
    jobs = [Job(key, {"number": n, "nap": nap}) for n, key in enumerate(keys(cells))]
    return executor.run(jobs, lambda event: None)


if __name__ == "__main__":
    sys.path.insert(0, HERE)
    drive(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
