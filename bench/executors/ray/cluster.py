"""A Ray cluster to work on: somebody's, or one of our own on this machine alone."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from prunebench.bench.results.process import alive, here
from prunebench.errors import InputError
from prunebench.files import is_private, private_folder

T = TypeVar("T")
_FOLDER = "pbray-"
_STORE_BYTES = 100 << 20
_TRIES = 4
_PLACE_ROOM = 12  # a socket's path has room for 107 characters, most of them Ray's
#: Of our own cluster: no telemetry, loopback only, a token that only its processes know, cells as
#: urgent as any other process, time to come up on a busy machine, no kills
#: by Ray's memory monitor beside our own guard.
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
ALWAYS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def require_ray() -> Any:
    """The module ``ray``.

    Raises:
        InputError: It is not installed.
    """
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


class Cluster:
    """A connection to a cluster.

    Args:
        address: ``auto`` or the address of a running one; None starts one here.
        cpus: CPUs of an own cluster.
        cards: Accelerators of an own cluster, by index.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """

    def __init__(self, address: str | None, cpus: int, cards: list[int]) -> None:
        own = address is None
        with _environment(OWN if own else {}):
            self.ray = require_ray()
            self._own, self._folder = False, Path()
            if self.ray.is_initialized():
                return
            if own:
                _refresh(self.ray)
                self._start(cpus, cards)
            else:
                self._join(str(address))
        self._own = True
        self._quiet()

    def rooms(self, cpus: int, share: float) -> int:
        """Actors that the cluster as it stands has room for.

        Args:
            cpus: CPUs of each.
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
        """Leaves the cluster; an own one ends."""
        if self._own:
            with _handlers():
                self.ray.shutdown()
            self._own = False
        if self._folder.name:
            shutil.rmtree(self._folder, ignore_errors=True)
            _refresh(self.ray)

    def _quiet(self) -> None:
        """Ray prints what becomes of actors on stdout, among results; we tell that ourselves."""
        with suppress(AttributeError):
            self.ray._private.worker.print_to_stdstream = lambda *data, **options: None

    def _start(self, cpus: int, cards: list[int]) -> None:
        self._folder = _private_folder()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else []
        chosen = ",".join(names[card] if names else str(card) for card in cards)
        with _environment({"CUDA_VISIBLE_DEVICES": chosen} if cards else {}), _handlers():
            try:
                insist(lambda: self._init(cpus, len(cards)), self.ray.shutdown)
            except BaseException as error:
                shutil.rmtree(self._folder, ignore_errors=True)
                if not isinstance(error, Exception):
                    raise
                raise InputError(
                    f"Ray does not start here ({_line(error)})",
                    where="--executor ray",
                    accepted="a machine that is less busy, or a running cluster with --ray-address",
                ) from error

    def _init(self, cpus: int, cards: int) -> None:
        self.ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=cards,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=str(self._folder),
        )

    def _join(self, address: str) -> None:
        host, colon, port = address.rpartition(":")
        try:
            if colon and port.isdecimal() and "/" not in host:
                socket.create_connection((host.strip("[]"), int(port)), 5.0).close()
            with _handlers():
                self.ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"no Ray cluster answers at {address!r} ({_line(error)})",
                where="--ray-address",
                accepted="auto on a node of a cluster, or HOST:PORT of its head",
            ) from None


def insist(start: Callable[[], T], undo: Callable[[], object]) -> T:
    """Starts what belongs to Ray, again where it is late: a node gives its own processes a fixed
    time, not settable, which they exceed on a busy machine; it then dies and is not missed.

    Args:
        start: Starts it.
        undo: Clears up after a start that failed.
    """
    for left in reversed(range(_TRIES)):
        try:
            return start()
        except BaseException as error:
            undo()
            if not left or "timed out" not in str(error):
                raise
    raise AssertionError


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return " ".join(lines[0].split())[:300] if lines else type(error).__name__


def _refresh(ray: Any) -> None:
    """Has Ray look at the environment again: it did so when somebody imported it first."""
    own = os.environ.get("RAY_AUTH_TOKEN") == OWN["RAY_AUTH_TOKEN"]
    with suppress(AttributeError, ImportError):
        inner: Any = import_module("ray._raylet")
        inner.Config.initialize("")
        inner.AuthenticationTokenLoader.instance().reset_cache()
        constants: Any = import_module("ray._private.ray_constants")
        constants.ENABLE_RAY_CLUSTER = not own


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    old = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _handlers() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the caller's handlers come back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _private_folder() -> Path:
    """A folder for the cluster's sockets and logs; those of drivers that were killed go."""
    place = Path(tempfile.gettempdir())
    if len(str(place)) > _PLACE_ROOM:
        place = Path("/tmp")
    me = here()
    ours = f"{_FOLDER}{me.machine[:4]}-"
    for old in place.glob(f"{ours}*"):
        pid, _, rest = old.name.removeprefix(ours).partition("-")
        with suppress(OSError):
            if is_private(old) and pid.isdecimal() and not alive(int(pid), rest.partition("-")[0]):
                shutil.rmtree(old, ignore_errors=True)
    return private_folder(place / f"{ours}{me.pid}-{me.start}-{secrets.token_hex(2)}")
