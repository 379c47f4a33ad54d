"""Goals of the data path, the training epoch, the optimiser and the harness, and the command
line beside its plain counterpart. See ``prunebench.bench.perf`` and ``perf.benchmarks``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perf.benchmarks import BENCHMARKS
from prunebench.bench.perf.suite import find
from prunebench.bench.results.environment import bf16_units
from support.suite import goals
from support.timing import side_by_side

pytestmark = pytest.mark.perf


def test_data_path_against_torchvision() -> None:
    assert goals(find("data-path")) == {"PIL and DataLoader / ours": True}


def test_digits_epoch_against_the_barest_loop() -> None:
    assert goals(find("step")) == {"ours / barest loop": True}


def test_resnet_epoch_against_a_plain_loop() -> None:
    """The convolutions' arithmetic is the same in the launched form, whose gain is therefore
    bounded by what the plain loop spends beside them."""
    met = goals(find("epoch"), compile=True)
    assert met["plain loop / ours, compiled"]
    if bf16_units():
        assert met["plain loop / ours, bf16"]


def test_lars_against_sgd_and_a_whole_step() -> None:
    assert goals(BENCHMARKS["lars"]) == {"LARS / unfused SGD": True, "LARS / whole step": True}


def test_harness_beside_the_network() -> None:
    assert goals(BENCHMARKS["overhead"]) == {"harness / epoch": True}


def test_a_loop_of_ones_own_around_pruning_beside_the_bare_loop() -> None:
    met = goals(BENCHMARKS["own-loop"])
    assert len(met) == 3
    assert all(met.values()), met


def test_reference_passes_beside_the_network() -> None:
    assert all(goals(BENCHMARKS["passes"]).values())


def test_half_the_samples_take_half_the_time() -> None:
    met = goals(find("halves"), repeats=3)
    assert len(met) == 5
    assert all(met.values()), met


def test_help_against_importing_click() -> None:
    script = Path(sys.executable).with_name("prunebench")

    def run(*words: str) -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    ratio = side_by_side(
        "prunebench --help / python -c 'import click'",
        lambda: run(sys.executable, str(script), "--help"),
        lambda: run(sys.executable, "-c", "import click"),
        11,
    )
    assert ratio <= 3
