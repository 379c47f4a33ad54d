"""Printed numbers of any paper: by name or path, with a note on who printed them."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import collect
from prunebench.leaderboard.published.numbers import read_published
from prunebench.leaderboard.published.papers import paper_names, read_paper
from prunebench.leaderboard.reproduce import reproduce, setup_differences
from support.invented_paper import LINES, NOTE, SOURCE, invented
from support.records import record


def test_the_paper_of_the_package_is_found_by_name() -> None:
    assert "alignprune" in paper_names()
    paper = read_paper("alignprune")
    assert list(paper.rows) == read_published()
    assert "AlignPrune" in paper.source
    assert (paper.decimals, paper.seeds) == (1, 3)
    assert paper.setup["cifar10n"]["recipe.epochs"] == 200


def test_every_file_of_the_package_has_a_source() -> None:
    for name in paper_names():
        assert read_paper(name).source


def test_a_file_of_anybody_is_read_by_its_path(tmp_path: Path) -> None:
    paper = read_paper(str(invented(tmp_path)))
    assert (paper.name, paper.source, paper.decimals, paper.seeds) == ("invented", SOURCE, 2, 5)
    assert {row.method for row in paper.rows} == {
        "full", "infobatch", "infobatch+align", "their-own"
    }  # fmt: skip
    assert {row.noise for row in paper.rows} == {"clean", "symmetric:0.4", "openset:0.3"}
    assert {row.dataset for row in paper.rows} == {"digits", "mnist"}


def test_verdicts_go_by_the_decimals_that_were_printed(tmp_path: Path) -> None:
    made = [record(method, "symmetric:0.4", seed, accuracy=value / 100)
            for method, value in (("infobatch+align", 72.53), ("full", 70.25), ("infobatch", 69.0))
            for seed in range(3)]  # fmt: skip
    runs = collect(made).runs
    paper = read_paper(str(invented(tmp_path)))
    found = {line.method: line for line in reproduce(runs, paper.rows)}
    gain = found.pop("infobatch+align - infobatch")
    assert (gain.unit, gain.ours, gain.half_width) == ("points", pytest.approx(3.53), 0.0)
    assert found.keys() == {"full", "infobatch", "infobatch+align"}
    assert found["infobatch+align"].verdict == "higher"  # 0.03 off, rounded to 0.01
    assert found["infobatch"].verdict == found["full"].verdict == "agrees"
    assert found["infobatch+align"].printed_gap == 2.25
    coarse = read_paper(str(invented(tmp_path, note=f'source = "{SOURCE}"')))
    found = {line.method: line for line in reproduce(runs, coarse.rows)}
    assert found["infobatch+align"].verdict == "agrees"
    differences = setup_differences(runs, paper)
    assert differences == {"digits": ["recipe.epochs 10 (paper: 200)", "3 seeds (paper: 5)"]}
    assert setup_differences(runs, coarse) == {}


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (LINES, LINES.partition("\n")[2], ["columns"]),
        (",infobatch,1,", ",Info Batch,1,", [":4: method", "small letters"]),
        (",infobatch,1,", ",infobatch,yes,", [":4: align", "'1'"]),
        (",infobatch,1,symmetric,0.40", ",infobatch,1,symmetric,", [":4: rate", "no rate"]),
        (",infobatch,1,symmetric,0.40", ",infobatch,1,Sym,0.40", [":4: noise"]),
        (",infobatch,1,symmetric,0.40", ",infobatch,1,openset,4", [":4: rate", "0 to 1"]),
        ("72.50", "", [":4: mean", "no value"]),
        ("72.50", "725", [":4: mean", "0 to 100"]),
        ("72.50", "72.50,more", [":4", "number of columns"]),
        ("7,digits,mlp,,infobatch,1", "7,,mlp,,infobatch,1", [":4: dataset", "no data set"]),
        (",infobatch,1,", ",infobatch,0,", [":5", "twice"]),
    ],
)
def test_a_line_that_is_wrong_is_named(
    tmp_path: Path, old: str, new: str, parts: list[str]
) -> None:
    assert old in LINES
    path = invented(tmp_path, LINES.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        read_paper(str(path))
    text = str(caught.value)
    assert "\n" not in text
    assert "invented.csv" in text
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("note", "part"),
    [
        (None, "who printed the numbers"),
        ("", "no source"),
        ('source = " "', "no source"),
        ("source = 3", "no source"),
        ("source", "cannot be read"),
        (NOTE.replace("seeds = 5", "seeds = 0"), "seeds = 0"),
        (NOTE.replace("decimals = 2", 'decimals = "2"'), "decimals = '2'"),
        (NOTE.replace("seeds = 5", "sedes = 5"), "sedes = 5"),
    ],
)
def test_a_file_without_a_good_note_is_refused(tmp_path: Path, note: str | None, part: str) -> None:
    with pytest.raises(InputError) as caught:
        read_paper(str(invented(tmp_path, note=note)))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "invented.toml" in str(caught.value)
    assert "accepted" in str(caught.value)


@pytest.mark.parametrize("name", ["alignprun", "absent.csv", "a\0b", "."])
def test_names_of_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        read_paper(name)
    assert "--published" in str(caught.value)
