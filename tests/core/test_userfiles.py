"""Text files as editors and spreadsheets save them, and what a small one may cost."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.datasets.sources.listing import read_pairs
from prunebench.errors import InputError
from prunebench.leaderboard.protocol_file import read_protocol
from prunebench.methods.precomputed import read_scores
from prunebench.userfiles import read_table, read_toml

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
GRID = 'name = "bom"\ndataset = "digits"\nmethod = ["full", "random"]\nratio = 0.5\n'


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_grids_and_protocols_of_any_editor(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "g.toml"
    path.write_bytes(GRID.replace("\n", end).encode(encoding))
    assert len(expand(*read_grid(path))) == 2
    path.write_bytes(f'# rules{end}name = "é"{end}'.encode(encoding))
    assert read_toml(path) == {"name": "é"}
    path.write_bytes(f'name = "mine"{end}alpha = 0.1{end}'.encode(encoding))
    assert read_protocol(path).alpha == 0.1


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "text",
    [
        "id,score\n0,0.5\n1,1.5\n",
        "id, score\r\n0, 0.5\r\n1, 1.5\r\n",
        "ID;Score\n0;0,5\n1;1,5\n",
        "id\tscore\n0\t0.5\n1\t1.5\n",
        '"id", "score"\n\n"0", "0.5"\n1 , 1.5 \n\n',
        "name,score,id\na,0.5,0\nb,1.5,1\n",
    ],
)
def test_tables_of_any_spreadsheet(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(text.encode(encoding))
    ids, scores = read_scores(path, 2)
    assert (ids.tolist(), scores.tolist()) == ([0, 1], [0.5, 1.5])


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"0,0.5\n1,1.5\n", ["'0', '0.5'", "columns id, score"]),
        (b"index;score\n0;1\n", ["'index', 'score'", "columns id, score"]),
        (b"id,score,id\n0,1,2\n", ["'id', 'score', 'id'", "each once"]),
        (b"", ["names nothing", "columns id, score"]),
        (b"id,score\n0,1\n1\n", ["line 3", "'score'"]),
        (b"id,score\n0,high\n", ["'high'", "a number"]),
        (b"id,score\n0.5,1\n", ["'0.5'", "a whole number"]),
        (b"id,score\n0,1\xe9\n", ["UTF-8", "line 2"]),
        (b'id,score\n0,"' + b"1" * 200_000 + b'"\n', ["line 2", "is no table"]),
    ],
)
def test_what_is_no_such_table_is_named(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_scores(path, 2)
    for part in ("s.csv", *parts):
        assert part in str(caught.value)
    assert "Error" not in str(caught.value)


def test_lists_of_images_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("a/b.png 1\r\nc d.png\t0\r\n".encode("utf-8-sig"))
    found = read_pairs(path, 2, "set")
    assert (found.names, found.labels.tolist()) == (["a/b.png", "c d.png"], [1, 0])


def test_other_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("b,a\n1,2\n")
    assert read_table(path, ["a", "b"]) == {"a": ["2"], "b": ["1"]}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (".".join("a" * 30_000) + " = 1", "parts in a name"),
        ("[" + ".".join("a" * 30_000) + "]", "parts in a name"),
        ("x = {" + ".".join("a" * 30_000) + " = 1}", "parts in a name"),
        ("x = '''\n'''\n" + " . ".join(['"a"'] * 10_000) + " = 1", "parts in a name"),
        ("a = " + "[" * 9000, "inside one another"),
        ("a = " + "{b = " * 9000, "inside one another"),
        ("a = 1\n" * 100_000, "too large"),
    ],
)
def test_a_small_toml_file_costs_little(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "g.toml"
    path.write_text(text)
    for read in (read_grid, read_protocol):
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match=part):
                read(path)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_text_and_comments_are_no_nesting(tmp_path: Path) -> None:
    text = {"a": "[" * 99 + "." * 99, "b": '\\"[' * 99, "c": "x"}
    lines = [f"{name} = {json.dumps(value)} # {'[.' * 99}" for name, value in text.items()]
    lines += [
        "d = '" + "[." * 99 + "'",
        'e = """' + "[.\n" * 99 + '"""',
        "f = '''" + "{." * 99 + "'''",
    ]
    lines += ["g = [" + "1.5, " * 99 + "]", *(f"[t{n}.x]" for n in range(99))]
    path = tmp_path / "t.toml"
    path.write_text("\n".join(lines))
    assert {name: read_toml(path)[name] for name in text} == text


def test_ranges_of_seeds_cost_nothing_until_they_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text(GRID + '[[block]]\nseed = "0..99999"\n' * 300)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="at most 200,000 cells"):
            expand(*read_grid(path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
