"""Names of strangers stay text in every form a board takes."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from prunebench.bench.reports.boards import make_board, texts
from prunebench.errors import InputError, visible
from prunebench.leaderboard.audit import audit
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.render.model_index import render_model_index
from prunebench.record import Record, content_key, parse
from prunebench.untrusted import spreadsheet

HTML = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'`{{7*7}}"
FORMULA = "=cmd|' /C calc'!A0"
LINK = "![x](http://tracker.example/a.png)[y](javascript:alert(1))"
TEX = "\\input{/etc/passwd}\\write18{id}$^_&%#{}"
TERMINAL = "\x1b]0;owned\x07\x1b[2J"
TURNED = "\u202egnp.exe"

NAMES = {"html": HTML, "formula": FORMULA, "link": LINK, "tex": TEX}


def _record(**changes: Any) -> Record:
    """A record of a foreign contributor, sealed as anybody can."""
    spec: dict[str, Any] = {
        "schema": 1,
        "dataset": {"name": "digits", "version": "1", "params": {}, "identity": ""},
        "noise": {"name": "clean", "rule": "clean", "count": "exact_per_class", "seed": None},
        "method": {"name": "full", "version": "1", "params": {}},
        "criterion": {"name": "ce", "version": "1", "params": {}},
        "recipe": {"name": "digits", "version": 1, "model": "cnn", "epochs": 3, "batch_size": 64},
        "ratio": 0.0, "budget": "samples", "budget_share": None,
        "reference": {"size": None, "mode": "held_out"},
        "validation": {"size": 0, "labels": "noisy"},
        "proxy": "shared", "replica": 0, "seed": 0, "role": "eval",
    }  # fmt: skip
    for name, value in changes.pop("spec", {}).items():
        spec[name] = {**spec[name], **value} if isinstance(value, dict) else value
    fields: dict[str, Any] = {
        "status": "done", "metrics": {"test_accuracy": 0.5, "realised_ratio": 0.0},
        "info": {"num_classes": 10, "test_size": 100, "label_digest": "x"},
        "environment": {"device_class": "cpu"},
        **changes,
    }  # fmt: skip
    return parse(Record(key=content_key(spec), spec=spec, **fields).sealed().dumps())


def _records(name: str) -> list[Record]:
    """A board in which every name that can be strange is."""
    found = []
    for seed in range(3):
        for method, ratio in (("full", 0.0), (name, 0.5), ("random", 0.5)):
            for noise in ("clean", name):
                for option in ("a", name) if method == name else ("a",):
                    spec = {
                        "dataset": {"name": name, "version": name},
                        "noise": {"name": noise, "rule": noise},
                        "method": {"name": method, "params": {"side": option}},
                        "recipe": {"name": name, "model": name},
                        "seed": seed, "ratio": ratio,
                    }  # fmt: skip
                    info = {"num_classes": 10, "test_size": 100, "label_digest": noise,
                            "clean_labels_used": name if method == name else ""}  # fmt: skip
                    metrics = {"test_accuracy": 0.5 + seed / 50 + ratio / 10,
                               "realised_ratio": ratio}  # fmt: skip
                    found.append(
                        _record(
                            spec=spec,
                            info=info,
                            metrics=metrics,
                            environment={"device_class": name, "code": name},
                        )
                    )
    spec = {"dataset": {"name": name, "version": name}, "method": {"name": "seta"}, "ratio": 0.5,
            "recipe": {"name": name, "model": name}}  # fmt: skip
    info = {"num_classes": 10, "test_size": 100, "label_digest": "clean"}
    found.append(_record(spec=spec, status="failed", metrics={}, reason=name, info=info))
    return found


class _Page(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects a tag."""
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module", params=sorted(NAMES))
def board(request: pytest.FixtureRequest) -> tuple[str, Board, dict[str, str]]:
    """A name, the board that is full of it, and its forms."""
    name = NAMES[request.param]
    made = make_board(_records(name))
    return name, made, texts(made)


def test_html(board: tuple[str, Board, dict[str, str]]) -> None:
    _, _, forms = board
    page = _Page(forms["leaderboard.html"])
    assert [tag for tag, _ in page.tags].count("script") == 2
    for tag, attributes in page.tags:
        assert tag not in ("img", "iframe", "object", "embed", "base")
        assert "action" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for value in (attributes.get("href"), attributes.get("src")):
            assert value is None or value.startswith(("#", "data:,"))
    assert "49" not in re.findall(r">\s*(\d+)\s*<", forms["leaderboard.html"])


def test_markdown(board: tuple[str, Board, dict[str, str]]) -> None:
    name, made, forms = board
    text = forms["leaderboard.md"]
    assert not re.search(r"(?<!\\)<(img|script)", text)
    assert not re.search(r"\]\((http|javascript)", text)
    width = None
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        if line.startswith("|"):
            assert width in (None, cells), line
            width = cells
        else:
            width = None
    assert made.tables
    assert len(name) > 0


def test_csv(board: tuple[str, Board, dict[str, str]]) -> None:
    name, _, forms = board
    rows = list(csv.reader(io.StringIO(forms["leaderboard.csv"])))
    assert {len(row) for row in rows} == {len(rows[0])}
    number = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?|-")
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\t")) or number.fullmatch(cell), cell
    texts_found = {cell.removeprefix("'") for row in rows for cell in row}
    assert name in texts_found


def test_latex(board: tuple[str, Board, dict[str, str]]) -> None:
    _, _, forms = board
    own = {"begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "textbf",
           "scriptsize", "pm", "textbackslash", "textasciitilde", "textasciicircum", "textless",
           "textgreater", "textbar", "geq", "approx", "dag", "ddag", "S", "to", "cdot",
           "times", "usepackage", "footnotesize", "tiny", "linewidth", "medskip", "par", "parbox",
           "raggedright", "setlength", "tabcolsep"}  # fmt: skip
    found = set(re.findall(r"\\([A-Za-z]+)", forms["leaderboard.tex"]))
    assert found <= own, found - own


def test_json_in_yaml(board: tuple[str, Board, dict[str, str]]) -> None:
    import json

    name, made, _ = board
    text = render_model_index(made)
    body = json.loads(text.removeprefix("---\nmodel-index: ").removesuffix("\n---\n"))
    assert any(name in entry["name"] for entry in body)


@pytest.mark.parametrize("text", [TERMINAL, TURNED, "a\x08b", "a\0b", "a\u2028b"])
@pytest.mark.parametrize("place", ["dataset", "noise", "method", "recipe", "criterion"])
def test_control_signs_in_names_are_refused(text: str, place: str) -> None:
    record = _record(spec={place: {"name": text}})
    with pytest.raises(InputError) as caught:
        make_board([record])
    assert str(caught.value).isprintable()
    assert all(f.detail.isprintable() for f in audit([record]))


def test_control_signs_elsewhere_are_spelled_out() -> None:
    records = [_record(spec={"seed": s}) for s in range(2)]
    spec = {"method": {"name": "random"}, "ratio": 0.5}
    records.append(_record(spec=spec, status="failed", metrics={}, reason=TERMINAL + TURNED))
    board = make_board([*records, _record(spec={**spec, "seed": 1})])
    for text in texts(board).values():
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert str(InputError(TERMINAL + TURNED + "\ud800", where="a\0")).isprintable()
    assert visible("plain ± text\n") == "plain ± text\n"
    assert visible("\x1b") == "\\x1b"


def test_cells_of_spreadsheets() -> None:
    assert [spreadsheet(t) for t in ("=1+1", "+x", "-x", "@x", "\tx")] == [
        "'=1+1", "'+x", "'-x", "'@x", "'\tx"]  # fmt: skip
    hidden = (" =1+1", "\u3000@x", "\ufeff=x", "\u200b\u2060+x", "\uff1d1+1", "\uff0bx", "\uff20x",
              "\ufe62x", "\r=x", "\n=x", " \t -x", " " * 200 + "=x")  # fmt: skip
    assert [spreadsheet(text) for text in hidden] == [f"'{text}" for text in hidden]
    assert [spreadsheet(t) for t in ("", "-", "+", "a=b", "digits")] == [
        "", "-", "+", "a=b", "digits"]  # fmt: skip
