"""Whether two installations of prunebench give the same records, artifacts and boards.

    python -m support.same_bytes OLD NEW FOLDER

OLD and NEW are two ``prunebench`` commands, of the version before a change and of the one after it.
Both run the demo's 135 cells and 40 cells over all methods and criteria, and render every published
board. What may differ in a record is where and how fast it was made.
"""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BOARDS = Path(__file__).parents[2] / "docs" / "leaderboards"
#: Parts of a record that say when, where, how fast and by which source it was made.
VARYING = ("timing", "environment", "digest")
CELLS = """
name = "cells"
dataset = "digits"
noise = "symmetric:0.4"
ratio = 0.5
seed = 3
recipe_params = { epochs = 4 }

[[block]]
method = [
    "full", "short-full", "full+reference", "oracle-clean", "random", "small-loss", "margin",
    "forgetting", "grand", "el2n", "moderate", "ssp", "prune4rel", "dyn-unc", "dual", "dual-beta",
    "random-dynamic", "infobatch", "seta", "divbs", "ies", "infobatch+align", "seta+align",
    "ies+align",
]

[[block]]
criterion = ["sop", "sop+"]
method = ["full", "random", "small-loss", "dual", "infobatch", "divbs", "ies", "seta+align"]
"""


def run(command: str, *words: str | Path) -> None:
    """Runs a verb; stops where it fails."""
    subprocess.run(
        [command, *map(str, words)], check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def grids(command: str, out: Path) -> None:
    """Trains the demo's cells and the 40 cells."""
    out.mkdir(parents=True, exist_ok=True)
    grid = out / "cells.toml"
    grid.write_text(CELLS, encoding="utf-8")
    for name in ("demo", str(grid)):
        folder = out / Path(name).stem
        run(command, "grid", name, "--out", folder, "--workers", "2", "--no-mlflow", "--quiet")


def boards(command: str, out: Path) -> None:
    """Renders every published board from its records, as its README's command does."""
    for bundle in sorted(BOARDS.glob("*/records.jsonl.gz")):
        protocol = bundle.parent / "protocol.toml"
        words: list[str | Path] = [bundle, "--publish", out / "boards" / bundle.parent.name]
        words += ["--protocol", protocol] if protocol.is_file() else []
        page = (bundle.parent / "README.md").read_text(encoding="utf-8")
        words += ["--copy-from-paper", "alignprune"] if "--copy-from-paper" in page else []
        run(command, "leaderboard", *words)


def content(path: Path) -> dict[str, Any]:
    """A record without the parts that may differ."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {name: value for name, value in record.items() if name not in VARYING}


def differences(old: Path, new: Path) -> list[str]:
    """Files of two results folders that differ."""
    found = []
    names = {p.relative_to(root) for root in (old, new) for p in root.rglob("*") if p.is_file()}
    kinds = ("records", "artifacts", "evidence", "boards")
    for name in sorted(n for n in names if any(kind in n.parts for kind in kinds)):
        one, other = old / name, new / name
        if not (one.is_file() and other.is_file()):
            found.append(f"{name}: in one folder only")
        elif "records" in name.parts and name.suffix == ".json":
            if content(one) != content(other):
                found.append(f"{name}: differs")
        elif not filecmp.cmp(one, other, shallow=False):
            found.append(f"{name}: differs")
    return found


def main(old: str, new: str, folder: str) -> int:
    """Prints what differs; 1 where anything does."""
    root = Path(folder)
    for name, command in (("old", old), ("new", new)):
        grids(command, root / name)
        boards(command, root / name)
    found = differences(root / "old", root / "new")
    records = len(list((root / "new").glob("*/records/*.json")))
    files = sum(p.is_file() for p in (root / "new").rglob("*"))
    print("\n".join(found) or f"equal: {records} records, {files} files")
    return bool(found) or records == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
