"""Submissions from a contributor's command to the maintainer's board."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunebench.api.results import leaderboard
from prunebench.bench.cli import accept as accept_verb
from prunebench.bench.grids.acceptance import superseded_file
from prunebench.bench.results.store import Store
from prunebench.files import OwnFolder
from prunebench.leaderboard.bundle import pack, unpack
from prunebench.leaderboard.contributed import read_history
from prunebench.record import setting_name
from prunebench.registry import METHODS
from support.command import files, prunebench, refused
from support.contributions import (
    WHO,
    accepted,
    carded,
    copied,
    other,
    reasons,
    signed,
    spoiled,
    submitted,
    trained,
    versioned,
)
from support.small_grid import PLUGIN


def rows(board: Path) -> dict[str, dict[str, str]]:
    with (board / "leaderboard.csv").open(newline="") as file:
        return {line["method"] + " " + line["noise"]: line for line in csv.DictReader(file)}


def test_a_submission_is_accepted_and_its_row_says_who_ran_it_and_when(place):
    assert set(files(place / "submission")) == {
        "card.toml", "records.jsonl.gz", "README.md", "PULL_REQUEST.md",
    }  # fmt: skip
    before = files(place / "board")
    dry = accepted(place / "submission", place / "board", "--dry-run", "--cells", "2")
    assert dry.code == 0
    assert "nothing was changed" in dry.err
    assert files(place / "board") == before
    said = accepted(place / "submission", place / "board", "--cells", "2", "--draw", "4")
    assert said.code == 0, said
    assert said.err.count("identical") == 2  # the same machine
    assert "version 2" in said.out
    found = rows(place / "board")
    (one,) = read_history(place / "board").contributions
    assert (one.by, one.methods, one.submission) == ("Jane Doe, Univ.", ("infobatch",), "first")
    assert one.checked.startswith("2 runs were repeated")
    assert found["infobatch clean"]["ran_by"] == f"Jane Doe, Univ., {one.ran.isoformat()}"
    assert found["random clean"]["ran_by"] == ""
    page = (place / "board/README.md").read_text()
    assert "Version 2 of this board" in page
    assert f"Jane Doe, Univ., {one.ran.isoformat()} |" in page
    assert "ran by" in (place / "board/leaderboard.html").read_text()
    content = json.loads((place / "board/leaderboard.json").read_text())
    assert content["version"] == 2
    keys = {record.key for record in unpack(place / "board/records.jsonl.gz")}
    assert set(one.keys) <= keys
    assert len(keys) == 18 + 6
    frame = leaderboard(str(place / "board/records.jsonl.gz")).to_frame()
    ran = frame.loc[frame["method"] == "infobatch", "ran_by"]
    assert set(ran) == {found["infobatch clean"]["ran_by"]}
    now = files(place / "board")
    words = ["leaderboard", place / "board/records.jsonl.gz", "--no-figures", "--publish"]
    assert prunebench(*words, place / "board").code == 0
    assert files(place / "board") == now
    again = reasons(accepted(place / "submission", place / "board"))
    assert "a submission first was accepted" in again[0]
    assert "nothing new" in again[1]


def test_boards_without_submissions_do_not_change(made):
    assert "ran_by" not in (made / "board/leaderboard.csv").read_text()
    assert "ran by" not in (made / "board/README.md").read_text()
    assert (
        not {"version", "contributions"}
        & json.loads((made / "board/leaderboard.json").read_text()).keys()
    )


def test_an_edited_record_is_refused(place):
    path = place / "submission/records.jsonl.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    before = files(place / "board")
    path.write_bytes(
        gzip.compress(text.replace('"test_accuracy":0.', '"test_accuracy":0.9', 1).encode())
    )
    found = reasons(accepted(place / "submission", place / "board"))
    assert "its SHA-256 is not that of the card" in found[0]
    assert "digest mismatch: the record was edited or torn" in found[1]
    found = reasons(accepted(signed(place / "submission"), place / "board"))
    assert len([line for line in found if "edited" in line]) == 1
    assert files(place / "board") == before


def test_edited_records_with_digests_of_their_own_are_found_by_a_repeat(place):
    def better(records):
        return [other(r, 0.98) if r.spec["method"]["name"] == "infobatch" else r for r in records]

    submission = spoiled(place / "submission", better)
    assert accepted(submission, place / "board", "--dry-run").code == 0
    before = files(place / "board")
    found = reasons(accepted(submission, place / "board", "--cells", "1"))
    assert "repeat of" in found[0]
    assert "98.00 % recorded" in found[0]
    assert files(place / "board") == before


def test_clean_labels_that_the_method_does_not_use_are_refused(place):
    def hidden(records):
        return [replace(r, info={**r.info, "clean_labels_used": "all of them"}).sealed()
                if r.spec["method"]["name"] == "infobatch" else r for r in records]  # fmt: skip

    submission = spoiled(place / "submission", hidden)
    found = reasons(accepted(submission, place / "board", "--cells", "1"))
    assert "clean_labels_used 'all of them'; accepted: '', as it is here" in found[0]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"info": {"label": "random"}}, "label 'random' of infobatch is another method's"),
        ({"environment": {"plugins": {"method": "evil.py 00"}}}, "comes with prunebench, the"),
    ],
)
def test_a_row_does_not_pass_for_another(place, change, part):
    def posing(records):
        return [replace(r, **{n: {**getattr(r, n), **more} for n, more in change.items()}).sealed()
                if r.spec["method"]["name"] == "infobatch" else r for r in records]  # fmt: skip

    found = reasons(accepted(spoiled(place / "submission", posing), place / "board"))
    assert any(part in line for line in found), found


def test_every_reason_is_said(place):
    def worse(records):
        rest = [r for r in records if (r.spec["noise"]["name"], r.spec["seed"]) != ("clean", 2)]
        return [versioned(r, "7") if r.spec["method"]["name"] == "infobatch" else r for r in rest]

    before = files(place / "board")
    submission = spoiled(place / "submission", worse)
    found = reasons(accepted(submission, place / "board"))
    for part in (
        "card: names infobatch version 1, of which no record is",
        "card: does not name infobatch version 7",
        "seeds: digits, ratio 0.5, clean, infobatch: 2; accepted: 3 or more",
        "version: method infobatch 7; accepted: 1, the one installed (5 records",
        "digits, ratio 0.5, infobatch: lacks clean seed 2",
    ):
        assert any(part in line for line in found), (part, found)
    assert files(place / "board") == before


def test_what_a_board_could_not_take_is_refused_when_it_is_handed_in(made, tmp_path):
    to = tmp_path / "new"
    for more, part in (
        (("--seed", "0..1"), "2; accepted: 3 or more"),
        (("--contact", "<b>me</b>"), "'<b>me</b>' is not accepted; accepted: one line"),
        (("--name", "../up"), "'../up' is not accepted"),
    ):
        said = prunebench("submit", made / "theirs", "--name", "n", "--to", to, "--by", "J",
                          "--contact", "j@example.org", *more)  # fmt: skip
        assert said.code == 2
        assert part in said.err
        assert not to.exists()
    said = submitted(made / "base", to, "--board", made / "board")
    assert said.code == 2
    assert "nothing new" in said.err
    to.mkdir()
    (to / "mine.txt").write_text("kept")
    refused(submitted(made / "theirs", to), "holds 'mine.txt'")


def test_another_recipe_or_seed_needs_add(place, made):
    def longer(records):
        return [other(r, recipe={**r.spec["recipe"], "epochs": 2}) for r in records]

    submission = spoiled(copied(place / "submission", place / "long"), longer)
    (line,) = reasons(accepted(submission, place / "board"))
    assert "2 epochs (board: 1 epochs)" in line
    assert accepted(submission, place / "board", "--add", "--dry-run").code == 0

    def later(records):
        return [other(r, seed=r.spec["seed"] + 1) for r in records]

    found = reasons(accepted(spoiled(place / "submission", later), place / "board"))
    assert "the board has no clean seed 3, symmetric:0.4 seed 3" in found[0]
    assert "lacks clean seed 0, symmetric:0.4 seed 0" in found[1]


def test_a_newer_version_leaves_the_earlier_one_readable(place):
    board = place / "board"
    old = [versioned(r, "0") for r in unpack(place / "submission/records.jsonl.gz")
           if r.spec["method"]["name"] == "infobatch"]  # fmt: skip
    path = board / "records.jsonl.gz"
    path.write_bytes(pack([*unpack(path), *old]))
    assert prunebench("leaderboard", path, "--no-figures", "--publish", board).code == 0
    before = files(board)
    (line,) = reasons(accepted(place / "submission", board))
    assert "infobatch version 1: the board has version 0" in line
    assert "--supersede" in line
    assert files(board) == before
    assert accepted(place / "submission", board, "--supersede").code == 0
    (gone,) = read_history(board).contributions[0].superseded
    assert (gone.method, gone.version, gone.runs) == ("infobatch", "0", 6)
    assert gone.file in (board / "README.md").read_text()
    said = prunebench("leaderboard", board / gone.file, "--out", place / "old", "--format", "md")
    assert said.code == 0
    assert "| infobatch" in said.out
    assert {r.key for r in unpack(board / gone.file)} == {r.key for r in old}
    assert not {r.key for r in old} & {r.key for r in unpack(path)}


def test_a_board_that_changes_meanwhile_is_not_overwritten(place, monkeypatch):
    board = place / "board"
    monkeypatch.setattr(accept_verb, "_repeat", lambda *_: changing(board) or "no run was repeated")
    said = accepted(place / "submission", board)
    assert (said.code, said.out) == (2, "")
    assert "was changed while this submission was looked" in said.err
    assert not (board / "contributions.json").exists()
    assert len(unpack(board / "records.jsonl.gz")) == 17


def changing(board: Path) -> None:
    """As another accept would: other records."""
    path = board / "records.jsonl.gz"
    path.write_bytes(pack(unpack(path)[:-1]))


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_accept_that_is_stopped_goes_on_with_the_same_command(after, place, monkeypatch):
    board, count = place / "board", 0
    write = OwnFolder.write

    def stopping(self, path, data, *more):
        nonlocal count
        if path.is_relative_to(board):
            if count == after:
                raise KeyboardInterrupt
            count += 1
        return write(self, path, data, *more)

    records = (board / "records.jsonl.gz").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(OwnFolder, "write", stopping)
        with contextlib.suppress(KeyboardInterrupt):
            accepted(place / "submission", board)
    assert (board / "records.jsonl.gz").read_bytes() == records
    if after:
        shown = copied(board, place / "shown")
        said = prunebench("leaderboard", shown / "records.jsonl.gz", "--no-figures", "--publish",
                          shown)  # fmt: skip
        assert said.code == 0, said
        assert "none of whose runs is among the records" in said.err
        assert "Jane Doe" not in (shown / "README.md").read_text()
    said = accepted(place / "submission", board)
    assert said.code == 0, said
    assert len(read_history(board).contributions) == 1
    assert rows(board)["infobatch clean"]["ran_by"].startswith("Jane Doe")


def test_superseded_runs_never_share_a_file():
    pairs = [("m" * 60, "1", "spring-" + "x" * 60 + str(n)) for n in (1, 2)]
    pairs += [("a:b", "1", "s"), ("a_b", "1", "s"), ("a", "1", "S"), ("a", "1", "s")]
    found = {superseded_file(*pair).casefold() for pair in pairs}
    assert len(found) == len(pairs)
    assert max(map(len, found)) < 100


def test_code_of_others_runs_only_where_the_maintainer_gives_it(place):
    plugin, sent = place / "theirs.py", place / "sent"
    plugin.write_text(PLUGIN)
    give = ("--plugin", str(plugin))
    results = trained(place, "own", '"first-half"', *give, noises='"clean"')
    forget_plugin()
    said = submitted(results, sent)
    refused(said, "which is not loaded; --plugin FILE names it")
    words = ("submit", results, "--name", "own", "--to", sent, *WHO)
    assert prunebench(*give, *words).code == 0
    assert (
        f'sha256 = "{hashlib.sha256(plugin.read_bytes()).hexdigest()}"'
        in (sent / "card.toml").read_text()
    )
    forget_plugin()
    said = accepted(sent, place / "new", "--cells", "2", "--dry-run")
    assert said.code == 0, said
    assert "not repeated: 3 runs, first-half: method of the plug-in theirs.py" in said.err
    assert "identical" not in said.err
    words = ("accept", sent, "--board", place / "new", "-q", "--dry-run", "--cells", "1")
    said = prunebench(*give, *words)
    assert said.code == 0, said
    assert "identical" in said.err
    forget_plugin()
    plugin.write_text(PLUGIN + "\n# edited\n")
    said = prunebench(*give, *words)
    assert said.code == 2
    assert "another file made these records" in said.err
    forget_plugin()
    plugin.rename(place / "theirs_renamed.py")
    said = prunebench("--plugin", str(place / "theirs_renamed.py"), *words)
    assert said.code == 2
    assert "--plugin theirs_renamed.py: its SHA-256 is " in said.err


def forget_plugin() -> None:
    """As a new process would have it."""
    for name in ("first-half", "broken-promise"):
        METHODS._entries.pop(name, None)
    for name in [n for n in sys.modules if n.startswith("prunebench_plugin_theirs_")]:
        del sys.modules[name]


def id_list(results: Path, path: Path) -> Path:
    """The samples that small-loss kept, as somebody's list."""
    store = Store(results)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["setting", "ratio", "seed", "id"])
        for record in store.scan().records:
            if record.spec["method"]["name"] == "small-loss":
                kept = np.load(io.BytesIO(store.artifact(record.key, "samples.npz")))["kept"]
                cell = setting_name(record.spec), record.spec["ratio"], record.spec["seed"]
                writer.writerows([*cell, int(sample)] for sample in kept)
    return path


def test_a_list_of_ids_alone_is_trained_by_the_maintainer(made, place):
    path = id_list(made / "base", place / "ids.csv")
    refused(submitted(path, place / "list"), "--method NAME, of the row, and --dataset NAME")
    more = ("--method", "our-list", "--dataset", "digits", "--board", place / "board")
    said = submitted(path, place / "list", *more, name="list")
    assert said.code == 0, said
    assert set(files(place / "list")) == {"card.toml", "ids.csv", "README.md", "PULL_REQUEST.md"}
    before = files(place / "board")
    said = accepted(place / "list", place / "board", "--dry-run")
    assert "6 cells would be trained" in said.err
    assert files(place / "board") == before
    said = accepted(place / "list", place / "board", "--no-mlflow", "--results", place / "runs")
    assert said.code == 0, said
    found = rows(place / "board")
    for noise in ("clean", "symmetric:0.4"):
        assert found[f"our-list {noise}"]["accuracy"] == found[f"small-loss {noise}"]["accuracy"]
        assert found[f"our-list {noise}"]["n"] == "3"
        assert found[f"our-list {noise}"]["clean_labels"] == "not stated"
        assert found[f"our-list {noise}"]["ran_by"].startswith("Jane Doe")
    text = path.read_text().replace("clean,0.5,2,", "clean,0.5,1,")
    path.write_text(text)
    said = submitted(path, place / "list", *more, name="list2")
    assert said.code == 2
    assert "clean, ratio 0.5, seed 1: an id is there twice" in said.err
    assert "clean, ratio 0.5: 2 seeds; accepted: 3 or more" in said.err


def worsened(records):
    return [other(r, 0.5) if r.spec["method"]["name"] == "infobatch" else r for r in records]


def test_the_board_that_the_card_names_is_found(made, place):
    """However the card is written as TOML."""
    clash = spoiled(place / "submission", worsened)
    copied(clash, place / "boards/demo")  # its records are those of a board with other results
    look = ("--dry-run", "--cells", "0", "-q", "--boards", place / "boards")
    carded(copied(made / "submission", place / "new"), "^board = .*\n", "")
    said = prunebench("accept", place / "new", *look)
    assert said.code == 0
    assert f"there is no board {place / 'boards/new'} yet" in said.err
    for number, line in enumerate(("board='demo' # ours", '"board" = """demo"""')):
        submission = copied(made / "submission", place / str(number))
        carded(submission, "^board = .*", line)
        assert "the board has another result" in reasons(prunebench("accept", submission, *look))[0]
    refused(prunebench("accept", place / "new"), "--board DIR")
    (place / "empty").mkdir()
    assert "card.toml: is missing" in reasons(prunebench("accept", place / "empty", *look))[0]


def test_only_the_first_cause_is_said(place):
    """A card that names records which cannot be read is not said to be of other ones."""
    spoiled(place / "submission", lambda records: [other(records[0], 1.5), *records[1:]])
    (only, *rest) = reasons(accepted(place / "submission", place / "board"))
    assert "1.5" in only
    assert not any(line.startswith("card: ") for line in rest)


@pytest.mark.parametrize("line", ['runs = "12"', "runs = 12.0", "runs = true"])
def test_a_card_is_read_as_it_is_written(place, line):
    carded(place / "submission", "runs = .*", line)
    assert "runs" in reasons(accepted(place / "submission", place / "board"))[0]


def test_days_of_a_card_are_days(place):
    carded(place / "submission", "^date = .*", "date = 5")
    assert "date" in reasons(accepted(place / "submission", place / "board"))[0]
    carded(place / "submission", "^date = .*", "date = 2026-11-01")
    assert accepted(place / "submission", place / "board", "--dry-run").code == 0


def test_names_of_submissions_differ_by_more_than_case(place):
    assert accepted(place / "submission", place / "board").code == 0
    carded(place / "submission", "^name = .*", 'name = "FIRST"')
    found = reasons(accepted(place / "submission", place / "board"))
    assert "a submission FIRST was accepted" in found[0]


def test_a_link_to_a_submission_is_not_followed(place):
    (place / "link").symlink_to(place / "submission")
    said = accepted(place / "link", place / "board")
    assert (said.code, "is a link" in said.err) == (2, True)


def test_a_folder_of_a_board_is_told_from_one_of_results(made):
    said = prunebench("report", made / "board")
    assert said.code == 2
    assert said.err.rstrip().endswith(f"accepted: {made / 'board/records.jsonl.gz'}")


def test_a_list_that_could_not_be_trained_is_refused_when_it_is_handed_in(made, place):
    path = id_list(made / "base", place / "ids.csv")
    lines = path.read_text().splitlines()
    few, far = place / "few.csv", place / "far.csv"
    few.write_text("\n".join(lines[:1] + [line for n, line in enumerate(lines[1:]) if n % 3]))
    far.write_text("\n".join([*lines[:-1], "symmetric:0.4,0.5,2,100000"]))
    for file, label, part in (
        (path, "el2n", "another method's name"),
        (path, "EL_2N", "row EL_2N of a list reads like one of el2n"),
        (path, "Small Loss", "reads like one of small-loss"),
        (few, "ours", "ids; accepted: "),
        (far, "ours", "id 100000; accepted: below "),
    ):
        said = submitted(file, place / "list", "--method", label, "--dataset", "digits", "--board",
                         place / "board")  # fmt: skip
        assert said.code == 2
        assert part in said.err
        assert not (place / "list").exists()


@pytest.mark.parametrize("label", ["EL2N", "Random", "full training", "\u0435l2n", "e\u0301l2n"])
def test_a_row_does_not_read_like_another(label, place):
    def posing(records):
        return [replace(r, info={**r.info, "label": label}).sealed()
                if r.spec["method"]["name"] == "infobatch" else r for r in records]  # fmt: skip

    found = reasons(accepted(spoiled(place / "submission", posing), place / "board"))
    assert any(line.startswith("row ") for line in found), found


def test_a_card_that_is_not_of_its_records_is_refused(place):
    carded(place / "submission", "runs = .*", "runs = 11")
    carded(place / "submission", "hardware = .*", 'hardware = ["A better one: 12 runs"]')
    found = reasons(accepted(place / "submission", place / "board"))
    assert "card: 11 runs, 12 records are there" in found[0]
    assert "card: hardware A better one: 12 runs; the records say" in found[1]
