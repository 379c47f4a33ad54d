"""The same records give the same bytes on every processor, locale and number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prunebench.leaderboard.figures.style import available
from support import rendered
from support.vector_units import numpy_groups, openblas_cores

#: Leaves the C library its functions without fused multiply-add.
PLAIN_LIBM = "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"


_VARIED = {"NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "GLIBC_TUNABLES", "LC_ALL", "TZ",
           "PYTHONHASHSEED", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}  # fmt: skip


def disabled() -> list[str]:
    """Sets of groups to switch off: the highest one, the highest two, ... all of them."""
    own = numpy_groups()
    return [" ".join(own[place:]) for place in range(len(own) - 1, -1, -1)]


def settings() -> list[dict[str, str]]:
    """Environments that between them hold every set of groups and every core type once."""
    off, types = disabled() or [""], openblas_cores()
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


def elsewhere(environment: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """The digests as another process finds them."""
    kept = {name: value for name, value in os.environ.items() if name not in _VARIED}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "support.rendered", *names],
        env={**kept, **environment, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return json.loads(done.stdout)


def check(environments: Sequence[dict[str, str]], names: Sequence[str]) -> None:
    here = rendered.digests(names)
    assert {name.partition("/")[0] for name in here} >= set(names)
    assert any("/figures/" in name for name in here) == available()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda environment: elsewhere(environment, names), environments)
        for environment, digests in zip(environments, found, strict=True):
            assert digests == here, environment


def test_boards_and_figures_do_not_depend_on_the_processor() -> None:
    check(settings()[:1], ["demo", "memorise-mnist", "news"])


@pytest.mark.soak
def test_no_set_of_instructions_changes_a_byte() -> None:
    check(settings(), rendered.NAMES)
