"""The LaTeX form compiles with booktabs alone: read by a strict grammar of what it may hold."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from prunebench.bench.reports.boards import gather, make_board, texts
from prunebench.leaderboard.render.latex import escape, render_latex
from support.records import grid, record

PUBLISHED = sorted((Path(__file__).parents[3] / "docs/leaderboards").rglob("leaderboard.tex"))
#: Commands of LaTeX itself and of booktabs, by how many arguments they take.
COMMANDS = {
    "begin": 1, "end": 1, "caption": 1, "textbf": 1, "centering": 0, "toprule": 0, "midrule": 0,
    "bottomrule": 0, "scriptsize": 0, "pm": 0, "geq": 0, "approx": 0, "to": 0, "cdot": 0,
    "times": 0, "dag": 0, "ddag": 0, "S": 0, "textbackslash": 0, "textasciitilde": 0,
    "footnotesize": 0, "tiny": 0, "par": 0, "medskip": 0, "parbox": 2, "linewidth": 0,
    "setlength": 2, "tabcolsep": 0, "raggedright": 0, "textasciicircum": 0, "textless": 0,
    "textgreater": 0, "textbar": 0,
}  # fmt: skip
MATHS = {"pm", "geq", "approx", "to", "cdot", "times"}
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}$&#_^~%]|[^\\{}$&#_^~%]+", re.DOTALL)
HOSTILE = [
    "[0.5] a",
    "* b",
    "a_b^c~d",
    r"\input{/etc/passwd}",
    "50 % & more #1",
    "a--b",
    "a---b",
    "$x$ {y}",
]


def strict(text: str) -> list[int]:
    """Reads a file; returns the number of columns of each table."""
    lines = text.splitlines()
    body = "\n".join(line for line in lines if not line.startswith("%"))
    depth, maths, opened = 0, False, list[str]()
    for match in TOKEN.finditer(body):
        token, rest = match[0], body[match.end() :]
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            assert depth >= 0
        elif token == "$":
            maths = not maths
        elif token in "^_":
            assert maths, body[match.start() - 20 : match.end() + 20]
        elif token in "#~%":
            raise AssertionError(f"{token} is not escaped")
        elif token == "&":
            assert (depth, maths, opened) == (0, False, ["table", "tabular"])
        elif token == "\\\\":
            assert opened[-1] == "tabular"
            assert not rest.lstrip().startswith(("*", "[")), rest[:30]
        elif token[0] == "\\" and token[1:].isalpha():
            assert (token[1:] in MATHS) <= maths, token
            assert rest.startswith("{") >= bool(COMMANDS[token[1:]])
            if token in (r"\toprule", r"\midrule", r"\bottomrule"):
                assert not rest.lstrip().startswith("[")
            if token in (r"\begin", r"\end"):
                name = rest[1 : rest.index("}")]
                if token == r"\begin":
                    opened.append(name)
                else:
                    assert (depth, maths, opened.pop()) == (0, False, name)
        elif token[0] == "\\":
            assert token[1] in "&%$#_{}", token
        else:
            assert "--" not in token or maths
    assert (depth, maths, opened) == (0, False, [])
    found = []
    for part in body.split(r"\begin{tabular}{")[1:]:
        part = re.sub(r"^p\{[\d.]+pt\}", "l", part)  # names on several lines
        columns = part[: part.index("}")]
        assert set(columns) <= set("lr")
        rows = part[part.index("\n") : part.index(r"\end{tabular}")].strip().splitlines()
        cells = [row for row in rows if not row.startswith((r"\toprule", r"\midrule", r"\bottom"))]
        assert cells
        for row in cells:
            assert row.endswith(r" \\")
            assert len(re.split(r"(?<!\\)&", row)) == len(columns), row
        found.append(len(columns))
    return found


def test_published_tables_compile_with_booktabs_alone() -> None:
    assert PUBLISHED
    for path in PUBLISHED:
        text = path.read_text()
        assert text.isascii()
        assert r"% needs \usepackage{booktabs}" in text
        assert len(strict(text)) == text.count(r"\begin{table}") > 0, path


def test_names_of_any_signs_stay_text() -> None:
    named = [record("random", noise, seed, accuracy=0.5 + seed / 100, params={"r": place},
                    info={"label": label})
             for place, label in enumerate(HOSTILE)
             for noise in ("clean", "symmetric:0.4 & $x") for seed in (0, 1, 2)]  # fmt: skip
    base = grid(("full",), noises=("clean", "symmetric:0.4 & $x"), seeds=(0, 1, 2))
    text = texts(make_board([*base, *named]))["leaderboard.tex"]
    assert strict(text)
    for label in HOSTILE:
        assert re.search(rf"^(\{{\}})?{re.escape(escape(label))} & ", text, re.MULTILINE), label
    assert "XeLaTeX" not in text


def test_letters_beyond_latin_are_kept_and_their_engine_is_named() -> None:
    def said(label: str) -> str:
        return texts(make_board([record(), record("random", info={"label": label})]))[
            "leaderboard.tex"
        ]

    for label in ("方法", "Ёлка", "a ²", "Þór"):
        assert label in said(label)
        assert "% some names need XeLaTeX or LuaLaTeX" in said(label)
        assert strict(said(label))
    assert "XeLaTeX" not in said("élagage")


@pytest.mark.parametrize(
    "text",
    [r"a_b", "$", "{", r"\begin{table}", r"\unknown", "50 %x", "a -- b", r"\geq", "x & y"],
)
def test_the_grammar_refuses_what_does_not_compile(text: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        strict(text)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
@pytest.mark.parametrize(
    "name", ["all-dynamic-mnist", "scenarios", "transfer-cifar10", "align-variants"]
)
def test_tables_fit_a_page(tmp_path: Path, name: str) -> None:
    records = Path(__file__).parents[3] / "docs/leaderboards" / name / "records.jsonl.gz"
    text = render_latex(make_board(gather([records])))
    assert strict(text)
    assert max(len(caption) for caption in re.findall(r"\\caption\{(.*)\}", text)) < 160
    (tmp_path / "board.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage[T1]{fontenc}\n"
        "\\begin{document}\n" + text + "\\end{document}\n", "utf-8")  # fmt: skip
    said = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "board.tex"],
        cwd=tmp_path, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    log = (tmp_path / "board.log").read_text("utf-8", "replace")
    assert said.returncode == 0, log[-2000:]
    assert "Float too large" not in log
    assert re.findall(r"Overfull .hbox .(\d+)", log) == []


def test_noise_settings_that_do_not_fit_beside_each_other_have_tables_of_their_own() -> None:
    noises = ("clean", *(f"symmetric:0.{n} AND exp:50" for n in range(1, 6)))
    few = render_latex(make_board(grid(("full", "random", "seta"), noises=noises[:1])))
    assert few.count(r"\begin{table}") == 1
    many = render_latex(make_board(grid(("full", "random", "seta"), noises=noises)))
    heads = [re.findall(r"(clean|symmetric:0\.\d AND exp:50)(?= [&\\])", part)
             for part in many.split(r"\toprule")[1:]]  # fmt: skip
    assert heads[0] == []
    assert [head for own in heads for head in own] == list(noises)
    assert len(heads) > 2
    strict(many)
