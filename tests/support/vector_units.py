"""Settings under which numpy, BLAS and torch use fewer vector units than this processor has.

Each library reads its variable once, when it is loaded, so a setting needs a process of its own.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache

#: For every library that torch calls: as little as it can be told to use.
_LEAST = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
}
_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}


def _features() -> tuple[list[str], dict[str, bool]]:
    try:
        from numpy._core import _multiarray_umath as core
    except ImportError:  # numpy 1
        from numpy.core import _multiarray_umath as core
    return core.__cpu_dispatch__, core.__cpu_features__


def numpy_groups() -> list[str]:
    """Groups of instructions that this numpy can switch off and this processor has."""
    dispatched, found = _features()
    return [name for name in dispatched if found.get(name)]


#: Core types of OpenBLAS, the least first, and what they need of a processor, as numpy names it.
_CORES = {
    "Prescott": ("SSE3",),
    "Nehalem": ("SSE42",),
    "Sandybridge": ("AVX",),
    "Haswell": ("AVX2", "FMA3"),
    "Zen": ("AVX2", "FMA3"),
    "SkylakeX": ("AVX512_SKX",),
}
#: What numpy 2.5.5 dies of as Haswell on a processor with AVX-512 (OpenBLAS 0.3.34).
_PRODUCT = "import numpy; x = numpy.ones((500, 512)); x[:100] @ x.T"


@cache
def openblas_cores() -> tuple[str, ...]:
    """Core types that this OpenBLAS may be told to take the processor for; others end it."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ()
    found = _features()[1]
    tried = {
        core: subprocess.Popen(
            [sys.executable, "-c", _PRODUCT], env=os.environ | {"OPENBLAS_CORETYPE": core}
        )
        for core, needed in _CORES.items()
        if all(found.get(name) for name in needed)
    }
    return tuple(core for core, process in tried.items() if process.wait() == 0)


def vector_unit_settings() -> dict[str, dict[str, str]]:
    """Environment variables by setting: ``least``, and ``avx2`` where the processor has it."""
    groups, cores = numpy_groups(), openblas_cores()
    found = {"least": _LEAST | {"NPY_DISABLE_CPU_FEATURES": " ".join(groups)}}
    if _features()[1].get("AVX2"):
        wide = [name for name in groups if "512" in name or name == "X86_V4"]
        found["avx2"] = _AVX2 | {"NPY_DISABLE_CPU_FEATURES": " ".join(wide)}
    for name, core in (("least", "Nehalem"), ("avx2", "Haswell")):
        if name in found and core in cores:
            found[name]["OPENBLAS_CORETYPE"] = core
    return found


def main() -> None:
    """``python -m support.vector_units COMMAND...``: runs a command under each setting in turn."""
    for name, setting in vector_unit_settings().items():
        print(f"vector units: {name}: {setting}", flush=True)
        code = subprocess.run(sys.argv[1:], env=os.environ | setting, check=False).returncode
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
