"""What other code may import: docs/api.md and the modules say the same."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import prunebench

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
EXAMPLES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "tests" / "plugin").glob("*.py")),
]


def listed() -> dict[str, list[str]]:
    """The names of each module in the page, in order."""
    names: dict[str, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"#+ `(prunebench[\w.]*)`", line):
            names[heading[1]] = []
        elif row := re.match(r"\| `(\w+)` \| ", line):
            names[[*names][-1]].append(row[1])
    return names


def of_an_extra() -> list[str]:
    """Modules of the page that need libraries which may not be installed."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"^## `([\w.]+)`\n\n[^\n]*needs the extra `\w+`\.$", text, re.MULTILINE)


def test_modules_that_need_an_extra_declare_what_the_page_lists():
    """Read, not imported."""
    page = listed()
    assert {"prunebench.api.lightning", "prunebench.api.transformers"} <= {*of_an_extra()}
    for module in of_an_extra():
        file = ROOT / "src" / f"{module.replace('.', '/')}.py"
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {
            target.id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id == "__all__"
        }
        assert names.get("__all__") == page[module]
        assert {*page[module]} <= {getattr(node, "name", "") for node in tree.body}


def test_the_page_lists_what_the_modules_declare():
    page = {name: names for name, names in listed().items() if name not in of_an_extra()}
    declared = {name: importlib.import_module(name).__all__ for name in page}
    assert page == {name: [*names] for name, names in declared.items()}
    missing = [
        (name, one)
        for name, names in declared.items()
        for one in names
        if not hasattr(sys.modules[name], one)
    ]
    assert missing == []
    assert {"prunebench", "prunebench.methods.base", "prunebench.datasets"} <= page.keys()
    assert {"prunebench.bench.checks", "prunebench.leaderboard.stats"} <= page.keys()


def test_examples_import_nothing_else():
    page, found = listed(), []
    for file in EXAMPLES:
        text = file.read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for block in [text] if file.suffix == ".py" else blocks:
            found += [
                (node.module, alias.name)
                for node in ast.walk(ast.parse(block))
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prunebench")
                for alias in node.names
            ]
    assert [one for one in found if one[1] not in page.get(one[0], ())] == []
    assert len(found) > 20


def test_types_are_declared_for_every_lazy_name():
    """A type checker reads the imports, the interpreter the table: both lead to the same place."""
    tree = ast.parse(Path(prunebench.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name: (node.module or "").removeprefix("prunebench.")
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == prunebench._MODULE_OF
    assert sorted(typed) == prunebench.__all__
    assert set(prunebench.__all__) <= set(dir(prunebench))


WITHOUT_POSIX = """
import os, signal, sys
import click, numpy, pydantic, rich.console  # these have code of their own for Windows
for name in ("O_DIRECTORY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW", "geteuid",
             "getuid", "fork", "killpg", "setsid", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGCHLD"):
    delattr(signal, name)
os.supports_dir_fd.clear()
sys.modules.update(dict.fromkeys(("fcntl", "resource", "termios", "pwd", "grp")))

import prunebench
import prunebench.bench.cli, prunebench.files, prunebench.record, prunebench.registry
assert not {"torch", "mlflow", "scipy", "pandas"} & {*sys.modules}
try:
    prunebench.files.write_atomic(__import__("pathlib").Path(sys.argv[1]), b"")
except prunebench.InputError as error:
    print(error)
"""


def test_the_import_needs_neither_torch_nor_posix(tmp_path):
    """Python on Windows lacks these; what needs them says so when it is called."""
    words = [sys.executable, "-c", WITHOUT_POSIX, str(tmp_path / "file")]
    said = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.count("\n") == 1
    assert "Windows Subsystem for Linux" in said.stdout
