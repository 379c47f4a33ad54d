"""Samples to a share of full training's accuracy, from planted curves."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from prunebench.bench.reports.boards import (
    gather,
    make_board,
    target_files,
    target_texts,
    write_board,
)
from prunebench.errors import InputError
from prunebench.leaderboard.artifacts import artifact_reader
from prunebench.leaderboard.board.cost_share import cost_of
from prunebench.leaderboard.bundle import pack
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.style import figure_settings
from prunebench.leaderboard.learning_curves.curves import NOT_EVALUATED, curve_of
from prunebench.leaderboard.learning_curves.to_target import ToTarget, target_tables
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.target_read import read_target_tables
from prunebench.leaderboard.render.target_text import (
    TARGET_STEM,
    cell_text,
    scoring_text,
    target_lines,
)
from prunebench.leaderboard.render.transfer_text import TRANSFER_HEADS
from prunebench.leaderboard.stats import median_interval
from prunebench.record import Record, content_key
from support.command import prunebench
from support.drawing import draw, with_files
from support.records import RECIPE, record

#: Accuracy after every second epoch of 100 samples each (of 50 beside full training); full
#: training ends at 0.9, of which 95 % are 0.855.
CURVES: dict[str, Sequence[float | None]] = {
    "full": (None, 0.5, None, 0.8, None, 0.86, None, 0.9),
    "reaches": (None, 0.6, None, 0.855, None, 0.87, None, 0.88),
    "never": (None, 0.3, None, 0.6, None, 0.7, None, 0.8),
    "falls-again": (None, 0.86, None, 0.4, None, 0.3, None, 0.2),
    "at-its-end": (None, None, None, None, None, None, None, 0.9),
}


def table_of(curve: Sequence[float | None], size: int, extra: float = 0.0) -> bytes:
    """Bytes of ``epochs.csv``; the accuracy of the last epoch is the record's alone."""
    lines = ["epoch,trained,planned,spent,test_accuracy"]
    for epoch, accuracy in enumerate(curve):
        shown = "" if accuracy is None or epoch == len(curve) - 1 else f"{accuracy:.17g}"
        lines.append(f"{epoch},{size},{size},{(epoch + 1) * size * (1 + extra)!r},{shown}")
    return ("\n".join(lines) + "\n").encode()


def planted(
    root: Path, method: str, curve: Sequence[float | None], seed: int = 0, *, every: int = 2,
    extra: float = 0.0, **more: Any,
) -> Record:  # fmt: skip
    size = 100 if method == "full" else 50
    recipe = {**RECIPE, "eval_every": every}
    made = record(method, "clean", seed, accuracy=curve[-1], spec={"recipe": recipe})
    ledger = {"trained": size * len(curve), "num_samples": 100, "full_epochs": 8,
              "forward_only": 1 if extra else 0, **more.pop("ledger", {})}  # fmt: skip
    made = replace(made, ledger=ledger, **more)
    return with_files(made, {"epochs.csv": table_of(curve, size, extra)}, root)


def found_in(
    root: Path, records: Sequence[Record], protocol: ProtocolFile | None = None
) -> Mapping[str, ToTarget]:
    """What the first target's table says of each row."""
    (table,) = target_tables(make_board(records, protocol), artifact_reader([root]))
    return {label: own["clean"] for label, own in table.of(table.targets[0]).items()}


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return [planted(tmp_path, method, curve, seed)
            for method, curve in CURVES.items() for seed in range(3)]  # fmt: skip


def test_the_first_evaluated_epoch_that_is_as_accurate_counts(
    tmp_path: Path, records: list[Record]
) -> None:
    found = found_in(tmp_path, records)
    full, reaches = found["full"], found["reaches"]
    assert (full.n, full.reached) == (3, 3)
    assert full.spent is not None
    assert full.spent.median == 600  # 0.86 after six epochs; 0.9 is not needed
    assert full.accuracy == pytest.approx(0.855)
    assert reaches.epochs is not None
    assert reaches.trained is not None
    assert reaches.share is not None
    assert (reaches.epochs.median, reaches.trained.median) == (4, 200)  # 0.855 exactly is enough
    assert reaches.share.median == pytest.approx(200 / 600)
    assert "saves 66.7 % [66.7, 66.7]; 3/3" in cell_text(reaches)

    again = found["falls-again"]
    assert again.trained is not None
    assert (again.reached, again.trained.median) == (3, 100)  # whatever comes after it

    never = found["never"]
    assert (never.n, never.reached) == (3, 0)
    assert never.trained is not None
    assert math.isinf(never.trained.median)
    assert cell_text(never) == "not reached, 0/3"

    ended = found["at-its-end"]
    assert (ended.n, ended.lacking) == (0, ((NOT_EVALUATED, 3),))
    assert cell_text(ended) == NOT_EVALUATED


def test_runs_that_do_not_reach_it_are_beyond_every_number(tmp_path: Path) -> None:
    curves = [CURVES["reaches"]] * 2 + [CURVES["never"]]
    records = [planted(tmp_path, "full", CURVES["full"], seed) for seed in range(3)]
    records += [planted(tmp_path, "random", curve, seed) for seed, curve in enumerate(curves)]
    found = found_in(tmp_path, records)["random"]
    assert (found.n, found.reached) == (3, 2)
    assert found.spent is not None
    assert (found.spent.low, found.spent.median, found.spent.high) == (200, 200, math.inf)
    assert found.spent.coverage == 0.75
    assert cell_text(found) == "200, 0.8 s; saves 66.7 % [-∞, 66.7]; 2/3"
    most = [planted(tmp_path, "random", CURVES["never" if seed else "reaches"], seed)
            for seed in range(3)]  # fmt: skip
    assert cell_text(found_in(tmp_path, records[:3] + most)["random"]) == "not reached, 1/3"


def test_the_reference_is_full_training_of_the_same_seed(tmp_path: Path) -> None:
    lower = (None, 0.4, None, 0.5, None, 0.55, None, 0.6)
    records = [planted(tmp_path, "full", CURVES["full"], 0), planted(tmp_path, "full", lower, 1)]
    records += [planted(tmp_path, "random", CURVES["never"], seed) for seed in range(3)]
    found = found_in(tmp_path, records)["random"]
    assert (found.n, found.reached) == (2, 1)  # of seed 1: 0.6 is 95 % of 0.6
    assert found.lacking == (("no full training of its seed", 1),)
    whole = found_in(tmp_path, records, ProtocolFile(target=0.8))["random"]
    assert (whole.target, whole.reached) == (0.8, 2)  # 0.72 of seed 0 at the last epoch


def test_a_run_that_diverged_does_not_reach_it_and_is_no_reference(tmp_path: Path) -> None:
    records = [planted(tmp_path, "full", CURVES["full"], seed) for seed in range(3)]
    fell = [planted(tmp_path, "random", (0.1,) if seed else CURVES["reaches"], seed,
                    status="diverged" if seed else "done") for seed in range(3)]  # fmt: skip
    found = found_in(tmp_path, records + fell)["random"]
    assert (found.n, found.reached, found.lacking) == (3, 1, ())
    assert cell_text(found) == "not reached, 1/3"
    records[1] = planted(tmp_path, "full", (None, 0.1, None, 0.1), 1, status="diverged")
    both = found_in(tmp_path, records + fell)
    assert both["random"].lacking == (("full training: it diverged", 1),)
    assert (both["full"].n, both["full"].reached) == (2, 2)


def test_a_board_whose_full_training_always_diverged_has_no_table_and_is_written(
    tmp_path: Path,
) -> None:
    for seed in range(2):
        planted(tmp_path, "full", (None, 0.1, None, 0.1), seed,
                status="diverged").save(tmp_path / "records")  # fmt: skip
        planted(tmp_path, "random", CURVES["never"], seed).save(tmp_path / "records")
    written = write_board([tmp_path], tmp_path / "board")
    assert (tmp_path / "board" / "leaderboard.md").is_file()
    assert not [path for path in written.paths if TARGET_STEM in path.name]


@pytest.mark.parametrize("other", ["scoring recipe", "small network"])
def test_samples_of_another_network_are_not_added(tmp_path: Path, other: str) -> None:
    records = [planted(tmp_path, "full", CURVES["full"], seed) for seed in range(3)]
    charge = {"proxy_trained": 300, "proxy_scoring": 300}
    for seed in range(3):
        method = "dual" if other == "scoring recipe" else "airbench-proxy"
        made = planted(tmp_path, method, CURVES["reaches"], seed, ledger=charge)
        if other == "scoring recipe":
            recipe = {**made.spec["recipe"], "model": "cnn"}
            spec = {**made.spec, "scoring_recipe": recipe}
            made = replace(made, spec=spec, key=content_key(spec))
        records.append(with_files(made, {"epochs.csv": table_of(CURVES["reaches"], 50)}, tmp_path))
    board = make_board(records)
    (table,) = target_tables(board, artifact_reader([tmp_path]))
    ((label, own),) = [(x, o) for x, o in table.of(0.95).items() if x != "full"]
    assert own["clean"].share is not None
    assert own["clean"].share.median == pytest.approx(200 / 600)
    assert own["clean"].share_with_scoring is None
    assert scoring_text(own.values()) == "of another network"
    assert any("are not added" in line for line in target_lines(table))
    cost = cost_of(board.tables[0].runs[label])
    assert cost is not None
    assert (cost.total, cost.other_network) == (cost.own, True)


def test_passes_scoring_runs_and_seconds_are_counted(tmp_path: Path) -> None:
    records = [planted(tmp_path, "full", CURVES["full"], seed) for seed in range(3)]
    charge = {"proxy_trained": 300, "proxy_scoring": 300}
    records += [planted(tmp_path, "random", CURVES["reaches"], seed, extra=0.5, ledger=charge)
                for seed in range(3)]  # fmt: skip
    found = found_in(tmp_path, records)["random"]
    assert found.trained is not None
    assert found.spent is not None
    assert found.share_with_scoring is not None
    assert found.seconds is not None
    assert (found.trained.median, found.spent.median) == (200, 300)
    assert found.share_with_scoring.median == pytest.approx((300 + 400) / 600)
    assert found.seconds.median == pytest.approx(1.5 * 300 / 600)
    assert not found.unsteady
    early_passes = "\n".join([  # all 400 samples' worth of passes in the first epoch
        "epoch,trained,planned,spent,test_accuracy", "0,50,50,450,0.1", "1,50,50,500,0.87",
        "2,50,50,550,",
    ])  # fmt: skip
    loaded = [with_files(r, {"epochs.csv": early_passes.encode()}, tmp_path / "other")
              if r.spec["method"]["name"] == "random" else
              with_files(r, {"epochs.csv": table_of(CURVES["full"], 100)}, tmp_path / "other")
              for r in records]  # fmt: skip
    seconds = found_in(tmp_path / "other", loaded)["random"].seconds
    assert seconds is not None
    assert seconds.median == pytest.approx(1.5 * 500 / 550)
    busy = [replace(r, timing={**r.timing, "epoch_s": 1.0 + 2 * r.spec["seed"]}).sealed()
            if r.spec["method"]["name"] == "random" else r for r in records]  # fmt: skip
    assert found_in(tmp_path, busy)["random"].unsteady
    assert " s⚠; saves" in cell_text(found_in(tmp_path, busy)["random"])
    other = [replace(r, environment={**r.environment, "device_class": "another"}).sealed()
             if r.spec["method"]["name"] == "random" else r for r in records]  # fmt: skip
    apart = found_in(tmp_path, other)["random"]
    assert (apart.seconds, apart.machine) == (None, "")

    def early(r: Record) -> Record:
        file = tmp_path / "artifacts" / r.key / "epochs.csv"
        rows = [line.split(",") for line in file.read_text().splitlines()]
        text = "\n".join(",".join(row[:3] + row[4:]) for row in rows)
        return with_files(r, {"epochs.csv": text.encode()}, tmp_path)

    old = found_in(tmp_path, [early(r) for r in records])
    assert old["full"].spent is not None  # it had no forward-only passes
    assert old["random"].spent is None
    assert cell_text(old["random"]) == "200+; 3/3"


def test_why_no_interval_is_shown(tmp_path: Path, records: list[Record]) -> None:
    (found,) = target_tables(make_board(records), artifact_reader([tmp_path]))
    early = [replace(one, spent=None, share=None) for one in found.found]  # as earlier versions
    text = " ".join(target_lines(replace(found, found=tuple(early))))
    assert "n = 3 seeds (none here: without all passes, savings are not known)" in text
    few = [replace(one, n=2 * bool(one.n)) for one in early]
    assert "seeds (none below three)" in " ".join(target_lines(replace(found, found=tuple(few))))


def test_every_form_is_written_beside_the_board(tmp_path: Path, records: list[Record]) -> None:
    for r in records:
        r.save(tmp_path / "records")
    said = prunebench("leaderboard", tmp_path, "--publish", tmp_path / "board", "--no-figures")
    assert said.code == 0, said.err
    files = {path.name: path.read_text() for path in (tmp_path / "board").glob("samples-to-*")}
    names = {f"samples-to-accuracy.{form}" for form in ("md", "html", "csv", "json")}
    assert files.keys() == names
    text = files["samples-to-accuracy.md"]
    assert "ratio 0.5: 95 % of full training" in text
    assert "ratio 0.5: 99 % of full training" in text
    assert "n = 3: 75 %" in text
    line = next(x for x in text.splitlines() if x.startswith("| falls-again"))
    assert "100, 0.4 s; saves 83.3 % [83.3, 83.3]; 3/3" in line
    lines = list(csv.DictReader(io.StringIO(files["samples-to-accuracy.csv"])))
    never = next(x for x in lines if (x["method"], x["target"]) == ("never", "0.95"))
    assert (never["trained"], never["reached"], never["n"]) == ("inf", "0", "3")
    content = json.loads(files["samples-to-accuracy.json"])
    entry = next(x for x in content["tables"][0]["rows"] if x["label"] == "never")
    assert entry["spent"]["median"] == "inf"
    assert "not reached, 0/3" in files["samples-to-accuracy.html"]
    readme = (tmp_path / "board" / "README.md").read_text()
    assert "[md](samples-to-accuracy.md)" in readme

    bundle = tmp_path / "board" / "records.jsonl.gz"
    again = prunebench("leaderboard", bundle, "--publish", tmp_path / "board", "--no-figures")
    assert again.code == 0, again.err
    assert (tmp_path / "board" / "README.md").read_text() == readme  # as figures of artifacts stay
    page = tmp_path / "board" / "samples-to-accuracy.html"
    page.write_text("<script>alert(1)</script>")  # a publication may come from anybody
    other = tmp_path / "other.toml"
    other.write_text('name = "other"\ntarget = 0.5\n')
    published = ("leaderboard", bundle, "--publish", tmp_path / "board", "--no-figures")
    again = prunebench(*published)
    assert again.code == 0, again.err
    assert (tmp_path / "board" / "README.md").read_text() == readme
    assert page.read_text() == files[page.name]
    found = page.with_suffix(".json")
    for old, new in (('"label": "never"', '"label": "<b>"'), ('"median": "inf"', '"median": "x"')):
        found.write_text(files[found.name].replace(old, new))
        board = make_board(records)
        assert found.read_text() != files[found.name]
        assert read_target_tables(board, found.read_bytes()) == ()
    assert len(read_target_tables(board, files[found.name].encode())) == 1
    found.write_text(files[found.name])
    again = prunebench(*published, "--protocol", other)
    assert again.code == 0, again.err
    assert "samples-to-accuracy" not in (tmp_path / "board" / "README.md").read_text()
    assert not list((tmp_path / "board").glob("samples-to-*"))
    said = prunebench("leaderboard", tmp_path, "--publish", tmp_path / "board", "--no-figures")
    assert said.code == 0, said.err
    said = prunebench("leaderboard", bundle, "--seed", "0", "--publish", tmp_path / "board",
                      "--no-figures")  # fmt: skip
    assert said.code == 0, said.err
    assert "samples-to-accuracy" not in (tmp_path / "board" / "README.md").read_text()
    assert target_files(make_board(records), []) == {}


def test_what_the_board_has_no_more_is_removed_from_its_folder(
    tmp_path: Path, records: list[Record]
) -> None:
    for r in records:
        r.save(tmp_path / "records")
    out, transfers = tmp_path / "leaderboard", tmp_path / "leaderboard" / "transfer.csv"
    bundle = tmp_path / "records.jsonl.gz"
    bundle.write_bytes(pack(records))
    write_board([tmp_path], out)
    tables = {path.name: path.read_bytes() for path in out.glob("samples-to-accuracy.*")}
    assert len(tables) == 4
    said = prunebench("leaderboard", bundle, "--out", out)  # of the same records: rendered again
    assert said.code == 0, said.err
    assert {path.name: path.read_bytes() for path in out.glob("samples-to-*")} == tables
    transfers.write_text(",".join(TRANSFER_HEADS) + ",accuracy\n")
    said = prunebench("leaderboard", bundle, "--seed", "0", "--out", out)
    assert said.code == 0, said.err
    assert not transfers.exists()
    assert not list(out.glob("samples-to-*"))
    write_board([tmp_path], out)
    transfers.write_text("day,from,to\n")  # somebody's own
    write_board([bundle], out)
    assert transfers.exists()
    assert not list(out.glob("samples-to-*"))


@pytest.mark.parametrize(
    "data", [b"epoch,trained\n0,5\n", b"epoch,trained,test_accuracy\n0,5,7\n1,5,\n", b"\xff",
             b"epoch,trained,test_accuracy\n0,-5,0.5\n1,5,\n",
             b"epoch,trained,test_accuracy\n0,1" + b"0" * 400 + b",0.5\n1,5,\n",
             b"epoch,trained,test_accuracy\n" + b"x" * 200_000],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_one_clear_line(tmp_path: Path, data: bytes) -> None:
    records = [planted(tmp_path, name, CURVES[name]) for name in ("full", "reaches", "never")]
    records[1] = with_files(records[1], {"epochs.csv": data}, tmp_path)
    board = make_board(records)
    with pytest.raises(InputError, match="no table of epochs"):
        target_tables(board, artifact_reader([tmp_path]))
    faults: list[InputError] = []
    assert target_files(board, [tmp_path], faults)
    assert [str(fault).count("\n") for fault in faults] == [0]
    assert records[1].key in str(faults[0])
    if data.endswith(b"\n0,5\n"):
        for r in records:
            r.save(tmp_path / "records")
        said = prunebench("leaderboard", tmp_path)
        assert said.code == 1  # as `grid --board`
        assert said.err.count(f"left out: {faults[0]}\n") == 1


def test_curves_end_with_the_accuracy_of_the_record(tmp_path: Path) -> None:
    made = planted(tmp_path, "random", CURVES["reaches"])
    run = next(r for r in make_board([made]).tables[0].runs["random"].values())
    curve = curve_of(run, artifact_reader([tmp_path]))
    assert not isinstance(curve, str)
    assert [(p.epoch, p.trained) for p in curve.points] == [(2, 100), (4, 200), (6, 300), (8, 400)]
    assert [p.accuracy for p in curve.points] == [0.6, 0.855, 0.87, 0.88]
    plain = planted(tmp_path, "random", CURVES["reaches"], every=0)
    (table,) = make_board([plain]).tables
    assert curve_of(next(iter(table.runs["random"].values())), artifact_reader([tmp_path])) == (
        NOT_EVALUATED
    )


def test_the_median_of_values_that_may_be_infinite() -> None:
    few = median_interval([3.0, 1.0])
    assert (few.median, few.low, few.coverage) == (2, None, None)
    assert math.isnan(median_interval([]).median)
    for n, place, coverage in ((3, 0, 0.75), (5, 0, 0.9375), (6, 0, 0.96875), (8, 0, 0.9921875),
                               (9, 1, 0.9609375), (20, 5, 0.9586105346679688)):  # fmt: skip
        found = median_interval([float(value) for value in range(n)])
        assert (found.low, found.high) == (place, n - 1 - place)
        assert found.coverage == coverage
        tail = sum(math.comb(n, k) for k in range(place + 1)) / 2**n
        assert found.coverage == pytest.approx(1 - 2 * tail)
        assert all(a <= b for a, b in pairwise((found.low or 0, found.median, found.high or 0)))
    half = median_interval([1.0, 2.0, math.inf, math.inf])
    assert (half.median, half.high) == (math.inf, math.inf)
    with pytest.raises(ValueError, match="numbers"):
        median_interval([math.nan])


def test_the_figure_of_curves(tmp_path: Path, records: list[Record]) -> None:
    pytest.importorskip("matplotlib")
    some = [*records, *(planted(tmp_path, f"other-{i}", CURVES["never"], seed)
                        for i in range(8) for seed in range(3))]  # fmt: skip
    material = Material(make_board(some), artifact_reader([tmp_path]))
    with figure_settings():
        (drawn,) = draw("accuracy-by-samples", material)
        assert drawn.stem == "accuracy-by-samples-digits-clean-0.5"
        (axes,) = drawn.figure.axes
        curves = [line for line in axes.lines if len(line.get_xdata()) == 4]
        assert len(curves) == 12  # all but the row that is evaluated at its end
        again = next(line for line in curves if line.get_ydata()[0] == pytest.approx(86))
        assert again.get_xdata() == pytest.approx([100, 200, 300, 400])
        assert again.get_ydata() == pytest.approx([86, 40, 30, 20])
        shown = {text.get_text().partition("  ")[0] for text in axes.texts} - {"95 %", "99 %"}
        assert "full" in shown
        assert len(shown) == 8
        hues = {line.get_color() for line in curves}
        assert len(hues) == 9  # each its own, and the pale one
        assert "Pale: 4 other rows" in drawn.caption
        assert "3 of 12 rows reach 95 %" in drawn.answer
        assert len(axes.collections) == 8  # intervals
        assert "Not in the means" not in drawn.caption
        lost = [planted(tmp_path, name, curve, 0, status="diverged") for name, curve in
                (("full", CURVES["full"]), ("never", (None, None, None, 0.1)))]  # fmt: skip
        rest = [r for r in some if r.spec["seed"] or r.spec["method"]["name"] not in
                ("full", "never")]  # fmt: skip
        (fewer,) = draw("accuracy-by-samples", Material(make_board([*rest, *lost]),
                                                        artifact_reader([tmp_path])))  # fmt: skip
        assert "Not in the means: 2 diverged (full and never)." in fewer.caption
        left = {row["row"]: row["n"] for row in csv.DictReader(io.StringIO(fewer.data))}
        assert (left["full"], left["never"], left["reaches"]) == ("2", "2", "3")
        (left_out,) = draw("accuracy-by-samples", Material(make_board(some)))
        assert left_out.reason.startswith("epochs.csv is not at hand (")
        plain = [planted(tmp_path, name, CURVES[name], every=0) for name in ("full", "never")]
        (left_out,) = draw("accuracy-by-samples", Material(make_board(plain)))
        assert "eval_every" in left_out.reason


def test_tables_of_earlier_versions_are_read() -> None:
    folder = Path(__file__).parents[2] / "docs/leaderboards/memorise-card"
    board = make_board(gather([folder / "records.jsonl.gz"]))
    text = (folder / f"{TARGET_STEM}.json").read_text(encoding="utf-8")
    text = re.sub(r"H200, 1 threads?", "H200, 1 threads", text)
    assert "1 threads" in text
    (table,) = read_target_tables(board, text.encode())
    assert {one.machine for one in table.found} <= {"NVIDIA H200, 1 thread", ""}


def test_all_forms_are_of_the_numbers_that_the_json_holds() -> None:
    folder = Path(__file__).parents[2] / "docs/leaderboards/memorise-card"
    board = make_board(gather([folder / "records.jsonl.gz"]))
    (table,) = read_target_tables(board, (folder / f"{TARGET_STEM}.json").read_bytes())
    edge = 13.7412625 + 4e-15  # a computed mean that the JSON rounds to a tie
    rows = [
        one if one.seconds is None else replace(one, seconds=replace(one.seconds, median=edge))
        for one in table.found
    ]
    computed = target_texts(board, [replace(table, found=tuple(rows))])
    again = read_target_tables(board, computed[f"{TARGET_STEM}.json"])
    assert computed == target_texts(board, again)
