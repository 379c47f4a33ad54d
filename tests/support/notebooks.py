"""Runs the notebooks of examples/; as a program, writes their outputs: ``NOTEBOOK...``."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
#: Fields of a notebook that name the machine or the moment.
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def executed(path: Path, folder: Path, timeout: int = 300) -> Any:
    """A notebook run from top to bottom in an empty folder.

    Args:
        path: Of the notebook.
        folder: Its working folder.
        timeout: Seconds for each cell.

    Raises:
        CellExecutionError: A cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=timeout, kernel_name="python3",
                            resources={"metadata": {"path": str(folder)}})  # fmt: skip
    client.execute()
    return cleaned(notebook)


def cleaned(notebook: Any) -> Any:
    """The notebook without what differs from one execution to the next."""
    notebook.metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            output.pop("transient", None)
            if "metadata" in output:
                output.metadata = {}
    return notebook


def kinds(notebook: Any) -> list[list[str]]:
    """For each cell, the kinds of what it shows."""
    return [
        [
            " ".join(sorted(output.get("data", {output.get("name", ""): ""})))
            for output in cell.get("outputs", ())
        ]
        for cell in notebook.cells
    ]


def code_lines(notebook: Any) -> int:
    """Lines of code that are not empty."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return sum(bool(re.search(r"\S", line)) for text in sources for line in text.splitlines())


def main(names: list[str]) -> None:
    """Executes notebooks and writes them with their outputs."""
    for path in map(Path, names):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)


if __name__ == "__main__":
    main(sys.argv[1:])
