"""No code path opens untrusted bytes in a way that can run what is in them."""

from __future__ import annotations

import ast
import codecs
import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import prunebench

ROOT = Path(prunebench.__file__).parents[2]
FOLDERS = ("bench", "datasets", "methods", "leaderboard", "src/prunebench")

#: (file, what) -> why it may stand there.
ALLOWED = {
    ("datasets/restricted_pickle.py", "pickle"): "published files, by checksum, and stand-ins",
    ("bench/runs/followers.py", "pickle"): "process 0 of a run to its other processes",
    ("bench/networks/torchzip.py", "pickle"): "raises its exception; restricted_pickle reads",
    ("bench/networks/weights.py", "pickle"): "names the exception of the unpickler",
}  # fmt: skip

_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal",
            "yaml", "jsonpickle", "telnetlib"}  # fmt: skip
_CALLS = {"eval", "exec", "compile", "__import__"}
_SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def _sources() -> list[Path]:
    found: list[Path] = []
    for folder in FOLDERS:
        top = ROOT / folder
        pattern = "*.py" if folder.startswith("src") else "**/*.py"
        found += sorted(p for p in top.glob(pattern) if "__pycache__" not in p.parts)
    return found


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _flag(call: ast.Call, name: str) -> object:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else "computed"
    return None


def findings(text: str) -> Iterator[tuple[int, str]]:
    """(line, what) of everything that could run what a file holds."""
    for node in ast.walk(ast.parse(text)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in _MODULES:
                    yield line, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").partition(".")[0]
            if module in _MODULES:
                yield line, module
            elif (node.module, {a.name for a in node.names} & {"load"}) == ("torch", {"load"}):
                yield line, "torch.load by another name"
        elif isinstance(node, ast.Call):
            name = _dotted(node.func)
            if name == "torch.load" and _flag(node, "weights_only") is not True:
                yield line, "torch.load"
            elif name in ("np.load", "numpy.load") or name.endswith(".read_array"):
                if _flag(node, "allow_pickle") is not False:
                    yield line, "np.load"
            elif name in _CALLS:
                yield line, name
            elif _flag(node, "shell") not in (None, False):
                yield line, "shell=True"
            elif name in _SHELL:
                yield line, name
            elif name.endswith((".extractall", ".extract")) and name != "re.extract":
                yield line, "an archive that is extracted"


def test_the_scan_sees_what_it_should() -> None:
    bad = (
        "import pickle", "from joblib import load", "import torch\ntorch.load(x)",
        "torch.load(x, weights_only=False)", "np.load(x)", "np.load(x, allow_pickle=flag)",
        "eval('1')", "subprocess.run('x', shell=True)", "os.system('x')", "a.extractall(p)",
        "from torch import load", "import yaml", "np.lib.format.read_array(f)", "exec(x)",
    )  # fmt: skip
    for text in bad:
        assert list(findings(text)), text
    for text in ("torch.load(x, weights_only=True)", "np.load(x, allow_pickle=False)",
                 "model.eval()", "subprocess.run(['x'])", "json.load(f)"):  # fmt: skip
        assert not list(findings(text)), text


def test_nothing_runs_what_a_file_holds() -> None:
    sources = _sources()
    assert len(sources) > 150
    seen, bad = set(), []
    for path in sources:
        name = str(path.relative_to(ROOT))
        for line, what in findings(path.read_text(encoding="utf-8")):
            if (name, what) in ALLOWED:
                seen.add((name, what))
            else:
                bad.append(f"{name}:{line}: {what}")
    assert not bad, "\n".join(bad)
    stale = [entry for entry in ALLOWED if entry not in seen and (ROOT / entry[0]).exists()]
    assert not stale, "the list names what is not there any more"


def test_the_unpickler_of_weights_finds_stand_ins_only() -> None:
    module = "prunebench.bench.networks.torchzip"
    known = importlib.import_module(module).ALLOWED
    assert len(known) == 13
    for target in known.values():
        assert (target if callable(target) else type(target)).__module__ == module


def test_the_unpickler_of_published_files_finds_parts_of_arrays_only() -> None:
    known = importlib.import_module("prunebench.datasets.restricted_pickle").ALLOWED
    reconstruct = np.empty(0).__reduce__()[0]
    assert set(known) == {
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
    }  # fmt: skip
    assert set(known.values()) == {reconstruct, np.ndarray, np.dtype, codecs.encode}
