"""One changed record changes the page as the protocol says, never silently."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prunebench.bench.reports.boards import gather, make_board, merge, texts, write_board
from prunebench.bench.results.store import Store
from prunebench.errors import InputError
from prunebench.leaderboard.audit import audit
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.bundle import pack, unpack
from prunebench.record import Record
from support.command import files, prunebench
from support.records import grid, record

METHODS = ("full", "random", "infobatch", "infobatch+align")


def records() -> list[Record]:
    return grid(METHODS)


def other(old: Record, **changes: object) -> Record:
    """The same cell with something else in its record, sealed again."""
    return replace(old, digest="", **changes).sealed()  # type: ignore[arg-type]


def stored(folder: Path, some: list[Record]) -> Path:
    store = Store.open(folder)
    for r in some:
        store.save(r)
    return folder


@pytest.mark.parametrize("place", range(0, 36, 5))
def test_a_deleted_record_moves_its_row_out_of_the_ranking(place: int) -> None:
    whole = records()
    gone = whole.pop(place)
    method = gone.spec["method"]["name"]
    page = texts(make_board(whole))["leaderboard.md"]
    assert page != texts(make_board(records()))["leaderboard.md"]
    if method == "full":
        assert "Full training lacks runs" in page
    below = page.partition("Incomplete rows, not ranked:")[2]
    assert f"| {method} (8/9 cells)" in below
    assert "1 no record" in below


def test_an_edited_record_is_named_and_left_out(tmp_path: Path) -> None:
    folder = stored(tmp_path / "r", records())
    path = sorted((folder / "records").iterdir())[3]
    body = json.loads(path.read_text())
    body["metrics"]["test_accuracy"] = 0.999
    path.write_text(json.dumps(body))
    (fault,) = write_board([folder], tmp_path / "out").faults
    assert str(fault).startswith(f"{path}: digest mismatch")
    with pytest.raises(InputError, match="digest mismatch"):
        merge([folder], tmp_path / "all")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"schema": 2}, "spec schema 1 and 2 mixed"),
        ({"method": {"name": "infobatch", "version": "2", "params": {}}}, "version '1' and '2'"),
        ({"noise": {"name": "clean", "rule": "other"}}, "noise rule"),
    ],
)
def test_a_run_of_another_protocol_is_refused_and_audited(
    spec: dict[str, object], said: str
) -> None:
    mixed = [*records(), record("infobatch", "clean", 9, 0.5, spec=spec)]
    with pytest.raises(InputError, match="mixed"):
        build(mixed)
    first = audit(mixed)[0]
    assert (first.level, first.what) == ("error", "mixed protocols")
    assert said in first.detail


def test_another_device_is_named_and_its_times_are_not_compared() -> None:
    some = records()
    where = {"device": "cuda:0", "device_class": "NVIDIA H200", "code": "abc123"}
    moved = [other(r, environment=where) if r.spec["method"]["name"] == "random" else r
             for r in some]  # fmt: skip
    before, after = build(some), build(moved)
    assert dict(after.environments)["device_class"] == ("NVIDIA H200", "cpu")
    times = [{row.label: row.time for row in b.tables[0].rows} for b in (before, after)]
    assert times[0]["random"] is not None
    assert times[1]["random"] is None
    assert times[1]["infobatch"] is not None
    assert any(f.what == "devices" for f in audit(moved))


def test_the_precision_of_cards_is_shown_where_runs_come_from_one() -> None:
    some = records()
    plain = texts(make_board(some))["leaderboard.md"]
    assert "on cards" not in plain
    assert "TF32" not in "".join(texts(make_board(some)).values())
    card = {"device": "cuda", "device_class": "NVIDIA H100", "threads": 1, "code": "abc123"}

    def moved(count: int, **more: str) -> list[Record]:
        return [other(r, environment={**card, **more}) for r in some[:count]] + some[count:]

    for form in ("leaderboard.md", "leaderboard.html", "leaderboard.json"):
        text = texts(make_board(moved(len(some), tf32="convolutions")))[form]
        assert "on cards in fp32 (TF32 for convolutions)" in text
        assert "on cards in fp32 (TF32 not recorded)" in texts(make_board(moved(2)))[form]
    mixed = [*moved(2, tf32="convolutions")[:2], *moved(4, tf32="none")[2:4], *some[4:]]
    said = "fp32 (TF32 for convolutions) in 2 runs, fp32 (TF32 for none) in 2 runs"
    assert said in texts(make_board(mixed))["leaderboard.md"]
    assert [f.detail for f in audit(mixed) if f.what == "rounded to TF32"] == ["convolutions, none"]


def test_a_failed_seed_is_missing_and_a_diverged_one_counts() -> None:
    some = records()
    place = next(i for i, r in enumerate(some) if r.spec["method"]["name"] == "infobatch")
    old = some[place]
    some[place] = other(old, status="failed", reason="killed by the system", metrics={})
    page = texts(make_board(some))["leaderboard.md"]
    assert "| infobatch (8/9 cells)" in page
    assert "1 failed (killed by the system)" in page
    some[place] = other(old, status="diverged", reason="loss not finite")
    page = texts(make_board(some))["leaderboard.md"]
    assert "infobatch (8/9" not in page
    assert "‡" in page.partition("##")[2]
    assert "Counting diverged runs as chance" in page


def test_every_form_is_the_same_for_any_order_of_sources(tmp_path: Path) -> None:
    some = records()
    first = stored(tmp_path / "a", some[::2])
    second = stored(tmp_path / "b", some[1::2])
    bundle = tmp_path / "all.jsonl.gz"
    bundle.write_bytes(pack(reversed(some)))
    forms = [texts(make_board(gather(s))) for s in ([first, second], [second, first], [bundle])]
    assert forms[0] == forms[1] == forms[2]
    assert pack(some) == pack(unpack(bundle))


def test_merging_copies_everything_and_refuses_conflicts(tmp_path: Path) -> None:
    some = records()
    first = stored(tmp_path / "a", some[:20])
    second = stored(tmp_path / "b", some[15:])
    assert merge([first, second], tmp_path / "all") == (36, 0)
    assert merge([second, first], tmp_path / "all") == (0, 36)
    assert len(gather([tmp_path / "all"])) == 36
    third = stored(tmp_path / "c", [other(some[0], metrics={"test_accuracy": 0.5})])
    with pytest.raises(InputError, match=some[0].key):
        merge([third], tmp_path / "all")
    with pytest.raises(InputError, match="differ between"):
        merge([first, third], tmp_path / "new")
    assert not list((tmp_path / "new" / "records").glob("*"))


def test_damaged_bundles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    data = pack(records())
    for content in (data[: len(data) // 2], b"nothing", data[:-8] + b"12345678"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.jsonl\.gz"):
            unpack(path)
    plain = tmp_path / "y.jsonl"
    plain.write_text(records()[0].dumps() + "\n{}\n")
    with pytest.raises(InputError, match="line 2"):
        unpack(plain)


def test_the_audit_names_what_is_wrong() -> None:
    some = [other(r, metrics={**r.metrics, "test_accuracy": 0.8 + r.spec["seed"] / 450})
            for r in records()]  # fmt: skip
    assert audit(some) == []
    low = other(some[10], metrics={**some[10].metrics, "test_accuracy": 0.01})
    off = other(some[30], metrics={**some[30].metrics, "realised_ratio": 0.41})
    found = audit([*some[:10], low, *some[11:20], *some[21:30], off, *some[31:]])
    kinds = {f.what for f in found}
    assert kinds == {"incomplete", "ratio off", "outlier"}
    assert all(f.level == "warning" for f in found)
    conflict = audit([*some, low])
    assert [f.what for f in conflict] == ["conflict"]
    doubled = audit([*some, record("random", "clean", 0, 0.5, 0.7, spec={"replica": 0,
                                   "noise": {**some[9].spec["noise"]}, "proxy": "shared",
                                   "validation": {"size": 0, "labels": "noisy"},
                                   "origin": "x"})])  # fmt: skip
    assert doubled[0].level == "error"


def test_one_cell_run_twice_with_other_times_is_one_run_everywhere(tmp_path: Path) -> None:
    some = records()
    first, second = stored(tmp_path / "a", some), Store.open(tmp_path / "b")
    again = other(some[4], timing={"train_s": 9.0, "total_s": 10.0},
                  environment={**some[4].environment, "device_class": "cpu"})  # fmt: skip
    second.save(again)
    both = (first, second.root)
    for verb in (("leaderboard", *both, "--out", tmp_path / "o"),
                 ("leaderboard", "merge", *both, "--out", tmp_path / "all"),
                 ("compare", "random", "infobatch", *both)):  # fmt: skip
        said = prunebench(*verb)
        assert said.code == 0, said.err
        assert f"note: {again.key} was run twice with equal results" in said.err
    said = prunebench("audit", *both, "--strict")
    assert "run twice" in said.out
    assert "2 records with equal results: one run" in said.out
    assert [f.level for f in audit([*some, again]) if f.what == "run twice"] == ["note"]
    assert build([*some, again]) == build([again, *some])
    assert build([*some, again]).used == len(some)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metrics": {"test_accuracy": 0.123}}, "metrics."),
        ({"ledger": {"trained": 7}}, "ledger."),
        ({"status": "diverged"}, "status"),
        ({"info": {"label_digest": "x"}}, "info.label_digest"),
    ],
)
def test_another_result_of_one_cell_is_a_conflict_everywhere(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    some = records()
    old = some[4]
    kept = {name: {**getattr(old, name), **value} if isinstance(value, dict) else value
            for name, value in changes.items()}  # fmt: skip
    twin = other(old, **kept)
    both = (stored(tmp_path / "a", some), stored(tmp_path / "b", [twin]))
    for verb in (("leaderboard", *both), ("compare", "random", "infobatch", *both),
                 ("leaderboard", "merge", *both, "--out", tmp_path / "all")):  # fmt: skip
        refused = prunebench(*verb)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert old.key in refused.err
        assert said in refused.err
    assert prunebench("audit", *both).code == 1
    with pytest.raises(InputError, match="two records of key"):
        build([*some, twin])


def test_of_two_records_of_one_run_the_fuller_one_is_copied_with_its_artifacts(
    tmp_path: Path,
) -> None:
    plain, made = Store.open(tmp_path / "a"), records()[4]
    plain.save(made, {"epochs.csv": b"epoch"})
    fuller = Store.open(tmp_path / "b")
    fuller.save(other(made, timing={}), {"epochs.csv": b"epoch", "losses.npz": b"losses"})
    for number, order in enumerate(((plain, fuller), (fuller, plain))):
        target = tmp_path / str(number)
        assert merge([store.root for store in order], target) == (1, 0)
        assert Store(target).artifact(made.key, "losses.npz") == b"losses"
    assert files(tmp_path / "0" / "records") == files(tmp_path / "1" / "records")
