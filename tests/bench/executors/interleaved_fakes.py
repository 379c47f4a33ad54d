"""Cells without training, as generators of steps."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from prunebench.bench.runs.job_result import JobResult


def act(payload: dict[str, Any], context: Any) -> Any:
    """Does what the payload says: ``[verb, argument...]`` in ``do``."""
    verb, *arguments = payload["do"]
    log = Path(payload["log"])
    pid = str(os.getpid())

    def note(text: str) -> None:
        with open(log, "a") as file:
            file.write(f"{payload['name']} {pid} {text}\n")

    note("begin")
    try:
        for step in range(arguments[0] if verb == "steps" else 3):
            note(str(step))
            context.report(step / 10)
            time.sleep(0.02)
            yield None
        if verb == "raise":
            raise ValueError("boom")
        if verb == "kill-once" and not Path(arguments[0]).exists():
            Path(arguments[0]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "out-of-memory" and context.retry_on_oom:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if verb == "endless":
            while True:
                time.sleep(0.01)
                yield None
        if verb == "ignores-sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        note("end")
    finally:
        note("left")
    return JobResult(reason=pid)
