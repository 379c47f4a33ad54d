"""cuBLAS reads CUBLAS_WORKSPACE_CONFIG once, at the first matrix product of a process: it is set
before torch is there, in every process that can come to train."""

import os
import subprocess
import sys

import pytest
import torch

from prunebench.bench.cli import options
from prunebench.bench.executors.base import Job
from prunebench.bench.executors.local.executor import LocalExecutor
from prunebench.bench.executors.messages import JobEnded
from prunebench.bench.executors.ray.actor import NodeActor
from prunebench.bench.executors.ray.settings import ActorStart, RaySettings
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.setup import choose_algorithms
from prunebench.errors import InputError
from support.command import prunebench

NAME = "CUBLAS_WORKSPACE_CONFIG"
ASK = {"do": ["variable", NAME]}
LOOK = f"""
import os, sys
import prunebench.bench.executors.local.worker
print(os.environ["{NAME}"], "torch" in sys.modules)
"""


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that has lost the variable."""
    monkeypatch.delenv(NAME, raising=False)


@pytest.fixture
def _switches(monkeypatch: pytest.MonkeyPatch):
    for name in ("benchmark", "deterministic"):
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled


@pytest.mark.parametrize(("given", "found"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_a_fresh_process_sets_it_before_torch_and_keeps_what_the_user_set(given, found):
    env = {name: value for name, value in os.environ.items() if name != NAME}
    env |= {} if given is None else {NAME: given}
    said = subprocess.run(
        [sys.executable, "-c", LOOK], env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [found, "False"]


@pytest.mark.usefixtures("_bare", "fakes")
def test_a_worker_has_it():
    (outcome,) = LocalExecutor("fakes:act").run([Job("a", ASK)], lambda event: None)
    assert outcome.reason == ":4096:8"


@pytest.mark.usefixtures("_bare", "fakes")
def test_the_worker_of_a_ray_actor_has_it():
    settings = RaySettings(ExecutionOptions(), run="fakes:act")
    actor = NodeActor(ActorStart(settings, (), "r", os.getcwd(), tuple(sys.path), None))
    actor.start()
    reports = []
    try:
        while not reports:
            reports = actor.report().events
        actor.run_job(ASK, False, ["a"], None)
        while not any(isinstance(event, JobEnded) for event in reports):
            reports = actor.report().events
    finally:
        actor.stop()
    assert [event.result.reason for event in reports] == [":4096:8"]


@pytest.mark.usefixtures("_switches")
def test_deterministic_fills_no_fresh_memory(monkeypatch):
    monkeypatch.setenv(NAME, ":4096:8")
    choose_algorithms(ExecutionOptions(deterministic=True), torch.device("cuda"))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    choose_algorithms(ExecutionOptions(), torch.device("cuda"))
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.usefixtures("_switches")
def test_work_spaces_that_do_not_repeat_their_bits_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(NAME, ":0:0")
    choose_algorithms(ExecutionOptions(), torch.device("cuda"))
    choose_algorithms(ExecutionOptions(deterministic=True), torch.device("cpu"))
    with pytest.raises(InputError, match=NAME):
        choose_algorithms(ExecutionOptions(deterministic=True), torch.device("cuda"))
    assert not torch.are_deterministic_algorithms_enabled()
    monkeypatch.setattr(options, "check_devices", lambda devices: None)
    words = ["grid", "demo", "--devices", "cuda:0", "--deterministic", "--out", str(tmp_path / "r")]
    said = prunebench(*words)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "':0:0'" in said.err
    assert not (tmp_path / "r").exists()
