"""The verbs that read records, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.tracking import BackgroundMirror
from support.command import files, prunebench
from support.records import grid, record


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store.open(tmp_path / "r")
    for made in grid(("full", "random", "infobatch", "infobatch+align")):
        store.save(made)
    return store.root


def test_the_mirror_gives_the_same_bytes_as_the_records(results: Path, tmp_path: Path) -> None:
    tracking = BackgroundMirror(None, results, "board")
    tracking.start()
    for made in Store(results).scan().records:
        tracking.submit(made, None)
    assert tracking.close(timeout=600.0).lost == 0
    uri = f"sqlite:///{results / 'mlflow.db'}"
    mirrored = prunebench("leaderboard", "--from-mlflow", uri, "--out", tmp_path / "a")
    assert mirrored.code == 0
    direct = prunebench("leaderboard", results, "--out", tmp_path / "b")
    assert direct.code == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    empty = prunebench("leaderboard", "--from-mlflow", f"sqlite:///{tmp_path / 'no.db'}",
                       "--out", tmp_path / "c")  # fmt: skip
    assert empty.code == 2
    assert "no such file" in empty.err


def test_a_publication_renders_itself_again(results: Path, tmp_path: Path) -> None:
    said = prunebench("leaderboard", results, "--publish", tmp_path / "p", "--no-figures", "--json")
    assert said.code == 0
    assert {Path(name).name for name in said.json} >= {
        "README.md", "records.jsonl.gz", "leaderboard.html", "leaderboard.tex",
    }  # fmt: skip
    before = files(tmp_path / "p")
    bundle = tmp_path / "p" / "records.jsonl.gz"
    again = prunebench("leaderboard", bundle, "--no-figures", "--publish", tmp_path / "p")
    assert again.code == 0
    assert files(tmp_path / "p") == before
    assert "prunebench leaderboard records.jsonl.gz" in before["README.md"].decode()


def test_a_protocol_file_travels_with_its_publication(results: Path, tmp_path: Path) -> None:
    protocol = tmp_path / "mine.toml"
    protocol.write_text('name = "mine"\nnoise = ["clean"]\n')
    arguments = ("leaderboard", results, "--protocol", protocol, "--no-figures")
    assert prunebench(*arguments, "--publish", tmp_path / "p").code == 0
    page = (tmp_path / "p" / "README.md").read_text()
    assert "Protocol `mine` v1" in page
    assert "--protocol protocol.toml" in page
    assert "symmetric" not in page.partition("##")[2]
    assert (tmp_path / "p" / "protocol.toml").read_bytes() == protocol.read_bytes()
    protocol.write_text("alpha = 3\n")
    refused = prunebench(*arguments)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "mine.toml: alpha" in refused.err


def test_compare_says_the_same_as_text_and_as_json(results: Path) -> None:
    text = prunebench("compare", "infobatch+align", "infobatch", results)
    found = prunebench("compare", "infobatch+align", "infobatch", results, "--json")
    assert (text.code, found.code) == (0, 0)
    (item,) = found.json["comparisons"]
    assert f"{item['comparison']['pooled']['mean']:+.2f}" in text.out
    assert len(item["cells"]) == 3
    assert all(cell["p"] is None for cell in item["cells"])
    assert text.out.count("underpowered (min 0.25)") == 3
    unknown = prunebench("compare", "infobach", "infobatch", results)
    assert unknown.code == 2
    assert "infobatch" in unknown.err.partition("accepted")[2]


def test_model_cards_get_their_metadata_on_request(results: Path, tmp_path: Path) -> None:
    said = prunebench("leaderboard", results, "--out", tmp_path / "m", "--model-index", "--json")
    assert said.code == 0
    assert (tmp_path / "m" / "model-index.md").read_text().startswith("---\nmodel-index: [")


def test_audit_exits_by_what_it_found(results: Path) -> None:
    assert prunebench("audit", results).code == 0
    Store(results).save(record("random", "clean", 7, 0.5, 0.7, spec={"schema": 2}))
    said = prunebench("audit", results, "--json")
    assert said.code == 1
    assert json.loads(said.out)[0]["what"] == "mixed protocols"
    assert prunebench("leaderboard", results).code == 2


def test_merge_and_reproduce_refuse_in_one_line(results: Path, tmp_path: Path) -> None:
    merged = prunebench("leaderboard", "merge", results, "--out", tmp_path / "all", "--json")
    assert merged.json == {"copied": 36, "stood": 0}
    assert prunebench("audit", tmp_path / "all").code == 0
    for words in (("leaderboard",), ("leaderboard", tmp_path), ("reproduce", results),
                  ("leaderboard", "merge", tmp_path, "--out", tmp_path / "x")):  # fmt: skip
        refused = prunebench(*words)
        assert (refused.code, refused.err.count("\n")) == (2, 1), words
