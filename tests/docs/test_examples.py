"""The notebooks of examples/ as they are committed."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
import pytest

from support.notebooks import EXAMPLES, NOTEBOOKS, cleaned, code_lines

ROOT = Path(__file__).parents[2]
#: Absolute paths, moments and addresses.
_OF_A_MACHINE = re.compile(
    r"(?<![\w.])/(home|root|tmp|work|Users|var|opt)/|\b20\d\d-\d\d-\d\d[ T]\d|localhost"
)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_shows_what_it_gave(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert code_lines(notebook) < 40
    assert path.stat().st_size < 400_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    shown = {kind for output in outputs for kind in output.get("data", ())}
    assert shown & {"image/png", "image/svg+xml"}
    assert cleaned(copy.deepcopy(notebook)) == notebook
    assert _OF_A_MACHINE.findall(path.read_text(encoding="utf-8")) == []


def test_the_pages_name_every_notebook() -> None:
    assert len(NOTEBOOKS) == 4
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"]({path.name})" not in listed] == []
    for page in ("README.md", "docs/python.md"):
        assert re.search(r"\]\((\.\./)?examples/", (ROOT / page).read_text(encoding="utf-8"))
