"""What no card has run yet says so: in code, in help and in the docs."""

from pathlib import Path

import pytest

from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.experimental import NOTE, experimental
from prunebench.bench.train.capture.compile import compiled
from prunebench.bench.train.capture.graph import CudaCapture
from prunebench.bench.train.capture.pool import CapturedStepPool, acquire_captured_step
from prunebench.bench.train.capture.step import CapturedStep
from prunebench.bench.train.interleaved import InterleavedRuns
from prunebench.bench.train.self_supervised import CapturedEncoderStep

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("thing", [
    compiled, CudaCapture, CapturedStepPool, acquire_captured_step, CapturedStep, InterleavedRuns,
    CapturedEncoderStep,
])  # fmt: skip
def test_fast_paths_carry_the_mark(thing):
    assert thing.__doc__.startswith(NOTE)


def test_the_mark_keeps_what_it_marks():
    @experimental
    def half(x):
        """x / 2."""
        return x / 2

    assert half(3) == 1.5
    assert half.__doc__.split() == [*NOTE.split(), "x", "/", "2."]


def test_options_of_fast_paths_carry_it_in_their_help():
    marked = {
        name for name, (flag, _) in ExecutionOptions.flags().items() if NOTE in flag.help_text
    }
    assert marked == {"lanes", "compile"}
    assert "experimental" in ExecutionOptions.flags()["graph"][0].help_text


@pytest.mark.parametrize("page", ["cuda.md", "performance.md"])
def test_the_docs_say_it(page):
    assert "is experimental" in (DOCS / page).read_text(encoding="utf-8")
