"""Several processes of one run, forked from the test (no second import of torch); ports and servers
that do not answer."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from prunebench.bench.train.distributed import world
from prunebench.bench.train.distributed.world import World


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def silent_server() -> Iterator[int]:
    """Takes connections and never says a word."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
        assert held, "nobody called"
    finally:
        server.close()
        for connection in held:
            connection.close()


def together(function: Callable[[World], Any], size: int = 2, timeout_s: float = 60.0) -> list[Any]:
    """Runs a function in ``size`` processes that form a group.

    Args:
        function: Called with the world of each process.
        size: How many.
        timeout_s: After which they are ended.

    Returns:
        What each returned, or ``(type of the exception, its text)``.
    """
    context = multiprocessing.get_context("fork")
    port = free_port()
    queue: Any = context.Queue()

    def body(rank: int) -> None:
        # A fork leaves torch's pool unusable until the first call; two at once would race for it.
        torch.set_num_threads(torch.get_num_threads())
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size),
            LOCAL_WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
        )  # fmt: skip
        try:
            value = function(world.start())
        except Exception as error:
            if not isinstance(error, ValueError):
                traceback.print_exc()
            value = (type(error).__name__, str(error))
        queue.put((rank, pickle.dumps(value)))  # by value, without shared memory

    processes = [context.Process(target=body, args=(rank,)) for rank in range(size)]
    for process in processes:
        process.start()
    try:
        found = dict(queue.get(timeout=timeout_s) for _ in processes)
    finally:
        for process in processes:
            process.join(2)
            process.kill()
    return [pickle.loads(found[rank]) for rank in range(size)]
