"""A Ray cluster of two nodes on this machine, and what is left of one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from prunebench.bench.executors.ray import cluster as own
from prunebench.bench.executors.ray.cluster import retried


@contextmanager
def cluster(nodes: int = 2) -> Iterator[Any]:
    """A cluster of nodes with one CPU each, that only this process can use; ``address`` of it."""
    with patch.dict(os.environ, {**own.OWN, **own.ALWAYS}):
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        facts = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
        one = retried(lambda: Cluster(initialize_head=True, head_node_args=facts), lambda: None)
        try:
            for _ in range(nodes - 1):
                add_node(one)
            yield one
        finally:
            one.shutdown()


def add_node(one: Any) -> Any:
    """A further node, with one CPU."""
    return retried(lambda: one.add_node(num_cpus=1, object_store_memory=100 << 20), lambda: None)


def ray_processes(mark: str) -> dict[int, str]:
    """Command by process id of Ray's processes that mention a text, and of all below them."""
    commands: dict[int, str] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            commands[int(folder.name)], parents[int(folder.name)] = words, int(stat[1])
    found = {pid for pid, words in commands.items() if "ray" in words and mark in words}
    while more := {pid for pid in commands if parents[pid] in found} - found:
        found |= more
    return {pid: commands[pid][:100] for pid in found}


def listening(found: Sequence[int]) -> set[str]:
    """Addresses, as /proc has them, on which processes listen."""
    inodes = set[str]()
    for pid in found:
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    target = os.readlink(link)
                    inodes |= {target[8:-1]} if target.startswith("socket:[") else set()
    hosts = set[str]()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                hosts.add(fields[1].partition(":")[0])
    return hosts
