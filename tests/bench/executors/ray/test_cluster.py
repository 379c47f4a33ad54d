"""How a cluster of its own is started and left, with a stand-in for Ray."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prunebench.bench.executors.ray import cluster as own
from prunebench.bench.executors.ray.cluster import Cluster
from prunebench.errors import InputError
from prunebench.files import is_private


class FakeRay(SimpleNamespace):
    """Behaves like Ray at a start: opens its folder, takes SIGTERM, and may fail first."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__(up=False, failures=failures, calls=[])

    def is_initialized(self) -> bool:
        return bool(self.up)

    def init(self, **arguments: Any) -> None:
        self.calls.append(arguments | {"cards": os.environ.get("CUDA_VISIBLE_DEVICES")})
        Path(arguments["_temp_dir"]).mkdir(exist_ok=True)
        Path(arguments["_temp_dir"]).chmod(0o777)
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("The node\ntimed out\nduring startup")
        self.up = True

    def shutdown(self) -> None:
        self.up = False


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    for name, value in (own.OWN | own.ALWAYS).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    one = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", one)
    return one


def test_everything_of_a_cluster_lies_in_a_private_folder(ray: FakeRay) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    one = Cluster(None, cpus=4, cards=[])
    folder = Path(ray.calls[0]["_temp_dir"]).parent
    assert is_private(folder)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert Cluster(None, cpus=4, cards=[]).ray is ray  # a second one uses what is there
    assert len(ray.calls) == 1
    one.close()
    assert not ray.up
    assert not folder.exists()


def test_only_the_chosen_cards_are_shown_while_it_starts(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(None, cpus=1, cards=[0, 2]).close()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    Cluster(None, cpus=1, cards=[0, 2]).close()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b,GPU-c"
    assert [call["cards"] for call in ray.calls] == ["0,2", "GPU-a,GPU-c"]


def test_a_start_is_tried_four_times(ray: FakeRay) -> None:
    ray.failures = 3
    Cluster(None, cpus=1, cards=[]).close()
    assert len(ray.calls) == 4
    ray.failures = 4
    with pytest.raises(InputError, match=r"Ray does not start here \(The node timed out\)"):
        Cluster(None, cpus=1, cards=[])
    assert not Path(ray.calls[-1]["_temp_dir"]).parent.exists()


def test_a_ray_that_was_imported_without_a_token_starts_no_cluster(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    with pytest.raises(InputError, match="imported Ray before"):
        Cluster(None, cpus=1, cards=[])
    assert not ray.calls
    assert os.environ["RAY_AUTH_TOKEN"] == "another"
    ray.up = True  # whoever made a connection keeps it
    Cluster(None, cpus=1, cards=[]).close()
    assert ray.up
