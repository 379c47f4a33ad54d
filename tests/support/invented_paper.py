"""Printed numbers of a paper that does not exist."""

from __future__ import annotations

from pathlib import Path

SOURCE = "Nobody et al., An invented paper, 2031, table 7"
LINES = """\
table,dataset,model,relabel,method,align,noise,rate,prune_ratio,mean,std,source_note
7,digits,mlp,,full,0,clean,,0,90.00,,
7,digits,mlp,,full,0,symmetric,0.40,0,70.25,,
7,digits,mlp,,infobatch,1,symmetric,0.40,0.5,72.50,0.3,
7,digits,mlp,,infobatch,0,symmetric,0.40,0.5,69.00,,
7,digits,mlp,,their-own,0,symmetric,0.40,0.5,74.00,,
7,digits,mlp,,infobatch,0,openset,0.3,0.5,60.00,,
7,mnist,mlp,,full,0,clean,,0,99.00,,
"""
NOTE = f"""\
source = "{SOURCE}"
seeds = 5
decimals = 2

[digits]
"recipe.epochs" = 200
"""


def invented(folder: Path, lines: str = LINES, note: str | None = NOTE) -> Path:
    """The path of such a file; ``note`` None leaves out who printed it."""
    path = folder / "invented.csv"
    path.write_text(lines, encoding="utf-8")
    if note is not None:
        path.with_suffix(".toml").write_text(note, encoding="utf-8")
    return path
