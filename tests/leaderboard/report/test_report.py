"""The report says what was planted in records and artifacts, and nothing that no test carries."""

from __future__ import annotations

import csv
import io
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.errors import InputError
from prunebench.leaderboard.artifacts import artifact_reader
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.style import figure_settings
from prunebench.leaderboard.learning_curves.to_target import target_tables
from prunebench.leaderboard.report.all_sections import report
from prunebench.leaderboard.report.cost import Reached, sign_test
from prunebench.leaderboard.report.cost import _verdicts as cost_verdicts
from prunebench.leaderboard.report.forms import render_csv, render_html, render_markdown
from prunebench.leaderboard.report.model import (
    Column,
    Estimate,
    Report,
    ReportSection,
    ReportTable,
)
from prunebench.leaderboard.report.pictures import made as made_pictures
from prunebench.leaderboard.report.pictures import memorised
from prunebench.leaderboard.report.sample_files import aligned, auroc
from prunebench.leaderboard.stats import family
from prunebench.leaderboard.stats.exact import exact
from prunebench.record import Record
from tests.leaderboard.report.planted_report import NOISES, PLANTED, SEEDS, SMALL, planted

UNITS = len(NOISES) * len(SEEDS)


def made(records: list[Record], root: Path, faults: list[InputError] | None = None) -> Report:
    material = Material(build(records), artifact_reader([root]))
    targets = target_tables(material.board, material.read, faults)
    return report(material, targets, [] if faults is None else faults, figures=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def records(root: Path) -> list[Record]:
    return planted(root)


@pytest.fixture(scope="module")
def page(records: list[Record], root: Path) -> Report:
    return made(records, root)


def part(page: Report, name: str) -> ReportSection:
    (found,) = [one for one in page.sections if one.id == name]
    return found


def rows(section: ReportSection, stem: str) -> Iterator[dict[str, object]]:
    (table,) = [one for one in section.tables if one.stem == stem]
    for row in table.rows:
        yield {c.name: value for c, value in zip(table.columns, row, strict=True)}


def claims(section: ReportSection) -> dict[str, str]:
    """The beginning of the sentence that claims something of each name."""
    return {name: one.text for one in section.statements for name in one.claims}


def test_every_section_is_filled(page: Report) -> None:
    assert [one.id for one in page.sections] == [
        "found", "noise-kept", "trajectories", "hard-and-wrong", "reference", "cost", "power",
    ]  # fmt: skip
    for one in page.sections:
        assert one.statements, one.id
        assert one.tables or one.id == "found", one.id
    lacking = [line.why for one in page.sections for line in one.lacking]
    assert len(lacking) == 2  # purity, and training data unlike the reference
    assert all("reference" in line for line in lacking)


def test_noise_kept_is_told_by_row_setting_and_reference(page: Report) -> None:
    found = part(page, "noise-kept")
    by_row = {(r["method"], r["setting"]): r for r in rows(found, "noise-kept")}
    assert len(by_row) == (len(PLANTED) - 1) * len(NOISES)
    one = by_row["infobatch", "symmetric:0.3"]
    assert isinstance(one["noise_kept"], Estimate)
    assert one["noise_kept"].n == len(SEEDS)
    # 9.5 visits of 60 wrong samples, 5.5 of 140 right ones.
    assert one["noise_kept"].mean == pytest.approx(100 * 570 / 1340, abs=0.6)
    assert one["noise_in_data"] == 30
    assert one["reference"] is None
    assert by_row[SMALL, "symmetric:0.3"]["reference"] == "10 clean"
    assert by_row["infobatch+align", "symmetric:0.3"]["reference"] == "90 clean"
    told = claims(found)
    assert told["infobatch"].startswith("digits. Larger share of wrong labels")
    assert told["infobatch+align"].startswith("digits. Smaller share of wrong labels")
    assert "random" not in told
    assert f"n = {UNITS}" in told["infobatch"]


def test_losses_and_memorised_labels(page: Report) -> None:
    found = part(page, "trajectories")
    one = next(r for r in rows(found, "losses-of-wrong-labels") if r["method"] == "full")
    assert one["ratio"] == 0
    assert one["epoch_end"] == "8"
    assert isinstance(one["clean_end"], Estimate)
    assert isinstance(one["wrong_end"], Estimate)
    assert one["clean_end"].mean == pytest.approx(one["wrong_end"].mean, abs=0.2)
    fitted = next(r for r in rows(found, "memorised-labels") if r["method"] == "infobatch+align")
    assert fitted["wrong_label_accuracy"] == Estimate(10.0, 10.0, 10.0, len(SEEDS))
    assert fitted["wrong_label_corrected"] is None
    texts = [one.text for one in found.statements if "infobatch+align" in one.claims]
    assert any("tell wrong labels better than full training's" in text for text in texts)
    assert any("Fewer wrong labels memorised" in text for text in texts)


def test_hard_samples_are_told_from_wrong_ones(page: Report) -> None:
    found = part(page, "hard-and-wrong")
    events = [r for r in rows(found, "forgetting-events") if r["setting"] == NOISES[0]]
    assert [(r["events"], r["right"], r["wrong"]) for r in events] == [
        ("0", 70, 60), ("1", 70, 0), ("2", 0, 0), ("3", 0, 0), ("4 or more", 0, 0),
    ]  # fmt: skip
    assert events[2]["share_wrong"] is None
    one = next(r for r in rows(found, "hard-and-wrong") if r["method"] == "forgetting")
    assert all(isinstance(one[name], Estimate) for name in ("easy", "hard", "wrong"))
    whole = (2.5 * 70 + 10.5 * 70 + 5.5 * 60) / 200
    assert one["hard"].mean == pytest.approx(100 * 10.5 / whole, rel=0.02)  # type: ignore[union-attr]
    assert one["difference"].mean == pytest.approx(100 * 5 / whole, rel=0.05)  # type: ignore[union-attr]
    told = claims(found)
    assert told["forgetting"].startswith("digits. Hard samples are trained more often")
    assert told["infobatch"].startswith("digits. Wrong samples are trained more often")
    assert "random" not in told
    assert "Fewer wrong labels" in next(iter(told.values()))


def test_a_smaller_reference_is_set_beside_the_largest(page: Report) -> None:
    found = part(page, "reference")
    usual, small = rows(found, "reference-set")
    assert (usual["method"], usual["reference"], usual["difference"]) == (
        "infobatch+align", "90 clean", None,
    )  # fmt: skip
    assert (small["method"], small["factors"], small["usual"]) == (SMALL, "size", "infobatch+align")
    assert isinstance(small["difference"], Estimate)
    assert small["difference"].mean == pytest.approx(-2, abs=0.7)
    assert small["difference"].n == UNITS
    assert isinstance(usual["gain"], Estimate)
    assert usual["gain"].mean == pytest.approx(4, abs=0.7)
    (text,) = claims(found).values()
    assert "Lower accuracy" in text
    assert "10 clean" in text


def test_cost_is_tested_by_signs(page: Report) -> None:
    found = part(page, "cost")
    one = next(r for r in rows(found, "cost-to-target")
               if r["method"] == "infobatch+align" and r["target"] == 95)  # fmt: skip
    assert one["reached"] == "5 of 5"
    assert isinstance(one["share"], Estimate)
    assert one["share"].mean <= 50
    told = claims(found)
    assert "Fewer samples than full training to the target" in told["infobatch+align"]
    assert "not reached" in told["random"]  # it ends at 89 % of full training
    assert f"of {UNITS} units" in told["random"]


def test_power_says_what_was_seen_and_what_could_not_be(page: Report) -> None:
    found = part(page, "power")
    told = claims(found)
    assert told["random"].startswith("digits. Less accurate than full")
    assert told["infobatch+align"].startswith("digits. More accurate than full")
    assert "infobatch" not in told
    texts = " ".join(one.text for one in found.statements)
    assert "5 seeds a cell" in texts
    assert "cannot reach 0.05 (smallest p 0.062)" in texts
    assert "3 label noises cannot say anything of another one" in texts


def held(page: Report) -> int:
    """Claims of a report, each held against its test."""
    count = 0
    for section in page.sections:
        for one in section.statements:
            for name in one.claims:
                assert one.family is not None
                (member,) = [m for m in one.family.members if m.name == name]
                assert member.adjusted is not None
                assert exact(member.adjusted) * page.families <= exact(one.family.alpha)
                assert name in one.text or "more (table)" in one.text
                count += 1
    return count


def test_no_sentence_claims_what_its_test_does_not_carry(page: Report) -> None:
    assert page.families == 9
    assert held(page) >= 12


def test_without_a_test_nothing_is_said_of_levels(records: list[Record], root: Path) -> None:
    alone = made([r for r in records if r.spec["seed"] == 0], root)
    assert alone.families == 0
    assert alone.title.endswith(", 1 seed a cell")
    text = render_markdown(alone)
    assert "No difference is claimed: nothing could be tested" in text
    assert "0 families" not in text


def test_shares_of_cost_are_claimed_by_the_rule_of_the_page() -> None:
    shares = {("clean", seed): 0.5 for seed in range(8)}
    one = sign_test(shares)
    assert one is not None
    wide = replace(one, share=replace(one.share, low=0.4, high=1.0))
    few = sign_test({("clean", seed): 0.5 for seed in range(6)})
    assert few is not None
    tests = {"sure": one, "wide": wide, "few": few}
    own = Reached("digits, target 95 %", family("samples", tests, "holm", 0.05), tests)
    said = cost_verdicts(own, 1)
    assert [one.claims for one in said] == [("sure",), (), ()]
    assert said[1].text.startswith("digits, target 95 %. Nothing is claimed of wide (")
    assert "Too few (label noise, seed) units to claim anything of few (" in said[2].text
    assert "6 units have a corrected p of 0.094 at best (m = 3)" in said[2].text
    (none,) = cost_verdicts(own, 10)  # as many families leave 8 units too few as well
    assert not none.claims
    assert "Too few (label noise, seed) units to claim anything of sure (" in none.text


def test_without_effects_nothing_is_claimed(tmp_path: Path) -> None:
    page = made(planted(tmp_path, artifacts=False, effects=False), tmp_path)
    assert part(page, "noise-kept").tables
    assert held(page) == 0
    assert any("No difference is claimed" in one.text for one in part(page, "power").statements)


def test_too_few_seeds_are_said_to_be_too_few(records: list[Record], root: Path) -> None:
    few = [r for r in records if r.spec["seed"] < 2 and r.spec["noise"]["name"] == NOISES[0]]
    page = made(few, root)
    assert held(page) == 0
    texts = " ".join(one.text for one in part(page, "noise-kept").statements)
    assert "Too few (label noise, seed) units to claim anything of" in texts
    assert "2 units have a corrected p of 1.00 at best (m = 5)" in texts


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of records alone, without noise and reference."""
    from support.records import grid

    return made(grid(("full", "random"), ("clean",)), tmp_path_factory.mktemp("none"))


def test_what_is_missing_is_named_with_a_command_that_works(bare: Report) -> None:
    lines = {one.id: one.lacking for one in bare.sections}
    assert {name for name, own in lines.items() if own} == {
        "noise-kept", "trajectories", "hard-and-wrong", "reference", "cost",
    }  # fmt: skip
    found = [one for own in lines.values() for one in own]
    assert not any("\n" in one.line for one in found)
    for command in {one.command for one in found}:
        program, verb, name = shlex.split(command)
        assert (program, verb) == ("prunebench", "grid")
        assert len(expand(*read_grid(name))) == 310
    text = render_markdown(bare)
    assert text.count("Nothing to show here yet:") == 8
    assert "`losses = []`" in text
    assert "`recipe_params = { eval_every = 1 }`" in text


def test_packed_records_have_what_records_hold(records: list[Record], tmp_path: Path) -> None:
    page = made(records, tmp_path)
    assert part(page, "noise-kept").tables
    assert part(page, "reference").tables
    assert [one.stem for one in part(page, "trajectories").tables] == ["memorised-labels"]
    assert "stored losses" in part(page, "trajectories").lacking[0].why
    assert part(page, "cost").lacking
    assert "`forgetting` are not at hand" in part(page, "hard-and-wrong").lacking[0].why


def test_a_damaged_artifact_costs_its_run_alone(records: list[Record], tmp_path: Path) -> None:
    own = [r for r in planted(tmp_path) if r.spec["noise"]["name"] == NOISES[0]]
    hit = next(r for r in own if r.spec["method"]["name"] == "random")
    for name in hit.artifacts:
        (tmp_path / "artifacts" / hit.key / name).write_bytes(b"nothing")
    faults: list[InputError] = []
    page = made(own, tmp_path, faults)
    assert {str(fault).count("\n") for fault in faults} == {0}
    assert {str(fault).partition("/artifacts/")[2].partition(":")[0] for fault in faults} == {
        f"{hit.key}/{name}" for name in ("samples.npz", "losses.npz", "epochs.csv")
    }
    seen = [r["seeds"] for r in rows(part(page, "hard-and-wrong"), "hard-and-wrong")
            if r["method"] == "random"]  # fmt: skip
    assert seen == [4]


def test_the_forms_hold_all_numbers_and_ask_for_nothing(page: Report) -> None:
    text, markup = render_markdown(page), render_html(page)
    for section in page.sections:
        assert f"## {section.title}" in text
        for table in section.tables:
            assert f"tables/{table.stem}.csv" in text
            lines = list(csv.reader(io.StringIO(render_csv(table))))
            assert len(lines) == len(table.rows) + 1
            assert {len(line) for line in lines} == {len(lines[0])}
    assert "default-src &#39;none&#39;" in markup
    assert not re.search(r"(src|href)=\"(?!#|data:|tables/)", markup)
    assert render_html(page) == markup


def test_pictures_are_drawn_once_and_a_damaged_artifact_costs_its_own(
    records: list[Record], root: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    few = [r for r in records if r.spec["noise"]["name"] == NOISES[0] and r.spec["seed"] < 3]
    with figure_settings():
        (drawn,) = memorised(Material(build(few), artifact_reader([root])))
        lines = {line.get_label(): line for line in drawn.figure.axes[0].lines}
        assert set(lines) == set(PLANTED)
        assert lines["full"].get_ydata().tolist() == pytest.approx([7.5 * n for n in range(1, 8)])
        for r in few:
            for name in r.artifacts:
                path = tmp_path / "artifacts" / r.key / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"nothing")
        assert made_pictures(memorised(Material(build(few), artifact_reader([tmp_path])))) == ()


def test_names_of_others_are_shown_and_nothing_else() -> None:
    bad = "<script>alert(1)</script>"
    table = ReportTable("t", bad, (Column("a", "a"), Column("b", "b")),
                        (("=1+1", Estimate(math.inf, 1.0, None, 2)), (bad, None)))  # fmt: skip
    section = ReportSection("s", bad, bad, tables=(table,))
    lines = render_csv(table).splitlines()
    assert lines == ["a,b,b_low,b_high,b_n", "'=1+1,inf,1.000000,,2", f"{bad},,,,"]
    from support.records import grid

    page = Report(build(grid()), bad, (section,), 0.05, 1)
    assert bad not in render_html(page)
    assert "not reached" in render_html(page)


def test_signs_are_counted_by_unit() -> None:
    shares = {("symmetric:0.2", s): 0.5 for s in range(5)} | {("clean", 0): math.inf}
    found = sign_test(shares)
    assert found is not None
    assert (found.below, found.above) == (5, 1)
    assert found.p == pytest.approx(2 * 7 / 64)
    assert found.smallest_p == pytest.approx(2 / 64)
    # Settings of one label noise are one unit.
    more = sign_test(shares | {("clean + exp:10", 0): 0.5, ("clean + step:2", 0): 0.5})
    assert more is not None
    assert (more.below, more.above) == (6, 0)
    assert sign_test({("clean", 0): 1.0}) is None


def test_scores_are_aligned_by_id_and_ranked() -> None:
    ids, known = np.array([7, 3, 5]), np.array([3, 5, 7, 9])
    assert aligned(ids, known, np.array([0.3, 0.5, 0.7, 0.9])).tolist() == [0.7, 0.3, 0.5]  # type: ignore[union-attr]
    assert aligned(np.array([4]), known, known) is None
    assert aligned(np.array([10]), known, known) is None
    scores = np.array([1.0, 2.0, 2.0, 3.0, np.nan])
    assert auroc(scores, np.array([False, False, True, True, True])) == pytest.approx(0.875)
    assert auroc(scores, np.zeros(5, bool)) is None
