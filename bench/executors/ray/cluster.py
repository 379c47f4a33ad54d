"""A connection to a Ray cluster: a running one, or one of its own on this machine alone."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from prunebench.bench.executors.ray.transfer import run_folder
from prunebench.errors import InputError

T = TypeVar("T")
_STORE_BYTES = 100 << 20
_TRIES = 4
_CARDS = "CUDA_VISIBLE_DEVICES"
#: Environment of a cluster of its own, which Ray reads when it is imported: no usage statistics,
#: loopback only, a token that only its processes know, no kills by Ray's memory monitor beside our
#: guard, cells with the priority of any other process, and time to start on a busy machine.
OWN = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "180",
    "RAY_agent_register_timeout_ms": "180000",
}
#: Of any cluster, unless the user has set them: no warning about actors without a card, and no
#: colours in what Ray prints.
ALWAYS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_COLOR_PREFIX": "0"}


class Cluster:
    """A connection to a cluster. One that this process has made already is used and left open.

    Args:
        address: ``auto`` or the address of a running cluster; None starts one here.
        cpus: CPUs of a cluster of its own.
        cards: Accelerators of a cluster of its own, by index.

    Raises:
        InputError: Ray is not installed or does not start, no cluster answers, or Ray was imported
            before it could get the environment of a private cluster.
    """

    def __init__(self, address: str | None, cpus: int, cards: list[int]) -> None:
        self.ray = _import_ray(own=address is None)
        self._folder: Path | None = None
        self._connected = not self.ray.is_initialized()
        if self._connected:
            try:
                if address is None:
                    self._start(cpus, cards)
                else:
                    self._join(address)
            except BaseException:
                self.close()
                raise

    def capacity(self, cpus: int, share: float) -> int:
        """Number of actors that the nodes of the cluster have room for.

        Args:
            cpus: CPUs of each actor.
            share: Share of a card of each; 0 for none.
        """
        count = 0
        for node in self.ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                fits = int(has.get("CPU", 0) // cpus)
                cards = int(has.get("GPU", 0)) * int(1 / share + 1e-9) if share else fits
                count += min(fits, cards)
        return count

    def close(self) -> None:
        """Leaves the cluster; one of its own ends."""
        if self._connected:
            self.ray.shutdown()
            self._connected = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, cpus: int, cards: list[int]) -> None:
        # Ray opens its own folder to everybody, so that one lies inside ours.
        self._folder = run_folder("pbray", f"{os.getpid()}-{secrets.token_hex(2)}", 20)
        own = {"num_cpus": cpus, "num_gpus": len(cards), "object_store_memory": _STORE_BYTES,
               "_temp_dir": str(self._folder / "r")}  # fmt: skip
        try:
            with _visible(cards):
                retried(lambda: self._init("local", **own), self.ray.shutdown)
        except Exception as error:
            raise InputError(
                f"Ray does not start here ({first_lines(error)})",
                where="--executor ray",
                accepted="a machine that is less busy, or a running cluster with --ray-address",
            ) from error

    def _join(self, address: str) -> None:
        host, colon, port = address.rpartition(":")
        try:
            if colon and port.isdecimal() and "/" not in host:
                socket.create_connection((host.strip("[]"), int(port)), 5.0).close()
            self._init(address)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"no Ray cluster answers at {address!r} ({first_lines(error)})",
                where="--ray-address",
                accepted="auto on a node of a cluster, or HOST:PORT of its head",
            ) from None

    def _init(self, address: str, **own: Any) -> None:
        handler = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        try:
            self.ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **own,
            )
        finally:  # Ray takes SIGTERM for itself
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)


def retried(start: Callable[[], T], undo: Callable[[], object]) -> T:
    """Starts what belongs to Ray, several times where it fails: a node gives its own processes a
    fixed time, not settable, which they exceed on a busy machine.

    Args:
        start: Starts it.
        undo: Clears up before the next try.
    """
    for _ in range(_TRIES - 1):
        try:
            return start()
        except Exception:
            undo()
    return start()


def first_lines(error: Exception) -> str:
    """The first two lines of an error's text as one."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


def _import_ray(own: bool) -> Any:
    """The module ``ray``, imported with the environment of a private cluster where ``own``."""
    loaded = sys.modules.get("ray")
    if own and not (loaded is not None and loaded.is_initialized()):
        if loaded is not None and os.environ.get("RAY_AUTH_TOKEN") != OWN["RAY_AUTH_TOKEN"]:
            raise InputError(
                "this process imported Ray before it could be told to keep a cluster private",
                where="--executor ray",
                accepted="a process that has not imported Ray, or a cluster with --ray-address",
            )
        os.environ.update(OWN)
    os.environ.update({name: value for name, value in ALWAYS.items() if name not in os.environ})
    try:
        import ray
    except ImportError:
        raise InputError(
            "Ray is not installed; pip install 'prunebench[ray]'",
            where="--executor ray",
            accepted="local without it",
        ) from None
    return ray


@contextmanager
def _visible(cards: list[int]) -> Iterator[None]:
    """Shows only these cards to a cluster that starts."""
    old = os.environ.get(_CARDS)
    names = old.split(",") if old else None
    if cards:
        os.environ[_CARDS] = ",".join(names[card] if names else str(card) for card in cards)
    try:
        yield
    finally:
        os.environ.pop(_CARDS, None)
        if old is not None:
            os.environ[_CARDS] = old
