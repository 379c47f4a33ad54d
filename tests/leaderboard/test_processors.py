"""The same records give the same bytes on every processor, locale and number of threads."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import rendered

CORES = {  # OpenBLAS core types and the flags they need; others crash
    "Prescott": {"pni"},
    "Nehalem": {"sse4_2"},
    "Sandybridge": {"avx"},
    "Haswell": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
}
#: Leaves the C library its functions without fused multiply-add.
PLAIN_LIBM = "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"


def groups() -> list[str]:
    """Groups of instructions that numpy can be told to leave alone here, lowest first."""
    try:
        from numpy._core import _multiarray_umath as numpy_core
    except ImportError:
        from numpy.core import _multiarray_umath as numpy_core
    return [g for g in numpy_core.__cpu_dispatch__ if numpy_core.__cpu_features__.get(g)]


def disabled() -> list[str]:
    """Sets of groups to switch off: the highest one, the highest two, ... all of them."""
    own = groups()
    return [" ".join(own[place:]) for place in range(len(own) - 1, -1, -1)]


def cores() -> list[str]:
    """Core types of OpenBLAS that this processor supports."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    return [core for core, needed in CORES.items() if needed <= flags]


def settings() -> list[dict[str, str]]:
    """Environments that between them hold every set of groups and every core type once."""
    off, types = disabled() or [""], cores()
    others = [
        {"LC_ALL": "de_DE.UTF-8", "TZ": "Pacific/Auckland", "PYTHONHASHSEED": "1",
         "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GLIBC_TUNABLES": PLAIN_LIBM},
        {"LC_ALL": "C", "TZ": "America/St_Johns", "PYTHONHASHSEED": "77",
         "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    ]  # fmt: skip
    found = []
    for place in range(max(len(off), len(types))):
        own = {"NPY_DISABLE_CPU_FEATURES": off[-1 - place % len(off)], **others[place % 2]}
        if types:
            own["OPENBLAS_CORETYPE"] = types[place % len(types)]
        found.append(own)
    return found


def elsewhere(environment: dict[str, str], figures: Sequence[str]) -> dict[str, str]:
    """The digests as another process finds them."""
    varied = {name for setting in settings() for name in setting}
    kept = {name: value for name, value in os.environ.items() if name not in varied}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", rendered.__file__, *figures],
        env={**kept, **environment}, capture_output=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return json.loads(done.stdout)


def check(places: Iterable[int], figures: Sequence[str]) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        figures = ()
    here = rendered.digests(figures)
    assert any("/figures/" in name for name in here) == bool(figures)
    for place in places:
        environment = settings()[place]
        assert elsewhere(environment, figures) == here, environment


def test_boards_and_figures_do_not_depend_on_the_processor() -> None:
    check([0], ["demo", "news"])


@pytest.mark.soak
def test_no_set_of_instructions_changes_a_byte() -> None:
    check(range(len(settings())), rendered.NAMES)
