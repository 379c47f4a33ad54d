"""Boards of subsets that one network chose and several train."""

import csv
import io
import json
from dataclasses import replace
from itertools import product

import pytest

from prunebench.bench.reports.boards import texts
from prunebench.leaderboard.board.build import build
from prunebench.leaderboard.board.scored_with import scored_with
from prunebench.leaderboard.inference.transfer import (
    BEHIND,
    LARGER,
    NO_LEAD,
    NOT_SHOWN,
    SMALLER,
    STAYS,
    TOO_FEW,
    TURNS,
    Carried,
)
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.publish import publication
from prunebench.leaderboard.render.html.transfer_tables import cells_table
from prunebench.leaderboard.render.transfer_text import cell_rows
from support.records import RECIPE, record

CNN, WIDE = {**RECIPE, "model": "cnn"}, {**RECIPE, "model": "resnet18"}
NOISES, SEEDS = ("clean", "symmetric:0.4"), range(4)
#: Accuracy of the rows over that of random choice, by network and method, in percent.
LEADS = {
    ("mlp", "dual"): 6.0, ("mlp", "el2n"): -3.0,
    ("cnn", "dual"): 2.0, ("cnn", "el2n"): -2.0,
    ("resnet18", "dual"): 0.0, ("resnet18", "el2n"): 4.0,
}  # fmt: skip


def jitter(*slot):
    """0 to 0.4 points, by slot."""
    return sum(map(ord, "".join(map(str, slot)))) % 5 / 1000


def records(own=False):
    found = []
    for recipe, noise, seed in product((RECIPE, CNN, WIDE), NOISES, SEEDS):
        model = recipe["model"]
        trained = {"recipe": recipe}
        base = 0.7 + 0.01 * seed - 0.1 * (noise != "clean")
        found.append(record("full", noise, seed, accuracy=base + 0.1, spec=trained))
        found.append(record("random", noise, seed, accuracy=base, spec=trained))
        for method in ("dual", "el2n"):
            scored = trained if model == "mlp" else {**trained, "scoring_recipe": RECIPE}
            value = base + LEADS[model, method] / 100 + jitter(model, noise, seed)
            found.append(record(method, noise, seed, accuracy=value, spec=scored))
            if own and model == "cnn":
                found.append(record(method, noise, seed, accuracy=value + 0.02, spec=trained))
    return found


@pytest.fixture(scope="module")
def board():
    return build(records())


def test_rows_name_the_network_that_chose_them(board):
    labels = {t.shared.recipe["model"]: sorted(row.label for row in t.rows) for t in board.tables}
    assert labels["mlp"] == ["dual", "el2n", "full", "random"]
    scored = ["dual (scored with mlp)", "el2n (scored with mlp)", "full", "random"]
    assert labels["cnn"] == labels["resnet18"] == scored


def test_variants_of_one_network_are_told_apart():
    short, long = {**RECIPE, "epochs": 2}, {**RECIPE, "epochs": 4}
    rows = [record("full", spec={"recipe": CNN})]
    rows += [record("dual", spec={"recipe": CNN, "scoring_recipe": one}) for one in (short, long)]
    labels = {row.label for row in build(rows).tables[0].rows}
    assert labels == {
        "full",
        "dual (scored with mlp, scoring epochs=2)",
        "dual (scored with mlp, scoring epochs=4)",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "cnn"}, "cnn"), ({"name": "digits"}, "digits"), ({"epochs": 5}, "5 epochs"),
        ({"model_params": {"width": 8}}, "width 8"), (None, ""),
    ],
)  # fmt: skip
def test_the_words_are_what_differs(change, words):
    scoring = {} if change is None else {"scoring_recipe": {**RECIPE, **change}}
    assert scored_with({"recipe": RECIPE, **scoring}) == words


def test_leads_and_their_change(board):
    (found,) = board.transfers
    assert (found.scored, found.networks) == ("mlp", ("mlp", "cnn", "resnet18"))
    by_slot = {(one.method, one.network): one for one in found.carried}
    assert set(by_slot) == set(product(("dual", "el2n"), ("cnn", "resnet18")))
    for (method, network), one in by_slot.items():
        home, away = LEADS["mlp", method], LEADS[network, method]
        assert one.home.pooled.mean == pytest.approx(home, abs=0.5)
        assert one.away.pooled.mean == pytest.approx(away, abs=0.5)
        assert one.change.pooled.mean == pytest.approx(one.away.pooled.mean - one.home.pooled.mean)
    assert by_slot["dual", "cnn"].verdict == SMALLER
    assert by_slot["el2n", "resnet18"].verdict == BEHIND
    assert (found.leads.size, found.changes.size) == (6, 4)
    assert found.leads.method == found.changes.method == "holm"
    assert "dual, trained with mlp" in found.leads.rejected


def test_cells_are_paired_within_one_network(board):
    (found,) = board.transfers
    assert len(found.cells) == 2 * 2 * 3
    for one in found.cells:
        wanted = LEADS[one.network, one.method]
        assert one.random.mean == pytest.approx(wanted, abs=0.5)
        assert one.full.mean == pytest.approx(wanted - 10, abs=0.5)
        assert (one.random.n, one.own) == (4, None)


def test_what_a_network_chooses_itself_stands_beside():
    (found,) = build(records(own=True)).transfers
    for one in found.carried:
        if one.network == "cnn":
            assert one.against_own.pooled.mean == pytest.approx(-2.0)
        else:
            assert one.against_own is None
    page = texts(build(records(own=True)))["leaderboard.md"]
    assert "cnn: selected with itself" in page
    assert "resnet18: selected with itself" not in page


@pytest.mark.parametrize(
    ("home", "away", "change", "verdict"),
    [
        ((1, 2), (1, 2), (-1, 1), STAYS), ((3, 4), (1, 2), (-3, -1), SMALLER),
        ((1, 2), (3, 4), (1, 3), LARGER), ((1, 2), (-1, 1), (-2, 0), NOT_SHOWN),
        ((1, 2), (-2, -1), (-4, -2), TURNS), ((-1, 1), (1, 2), (0, 1), NO_LEAD),
        ((-2, -1), (1, 2), (1, 3), BEHIND), ((None, None), (1, 2), (0, 1), TOO_FEW),
    ],
)  # fmt: skip
def test_verdicts(board, home, away, change, verdict):
    one = board.transfers[0].carried[0].home

    def at(ends):
        return replace(one, pooled=replace(one.pooled, low=ends[0], high=ends[1]))

    assert Carried("dual", "cnn", at(home), at(away), at(change), None, 0.05).verdict == verdict


@pytest.mark.parametrize(
    ("units", "change", "verdict"),
    [(3, -4.0, STAYS), (8, -4.0, SMALLER), (8, 4.0, LARGER), (8, 0.0, STAYS)],
)
def test_a_change_that_is_equal_in_every_seed_is_left_to_the_sign_flip(
    board, units, change, verdict
):
    one = board.transfers[0].carried[0]
    assert one.verdict == SMALLER
    p = 1.0 if change == 0 else 2 / 2**units
    flips = replace(one.change.pooled.sign_flip, p=p, units=units, smallest_p=2 / 2**units)
    pooled = replace(one.change.pooled, mean=change, low=change, high=change, sign_flip=flips)
    assert replace(one, change=replace(one.change, pooled=pooled)).verdict == verdict
    lead = replace(one.home, pooled=replace(pooled, mean=4.0, low=4.0, high=4.0))
    assert (replace(one, home=lead).verdict == TOO_FEW) == (units == 3)


def test_leads_of_two_networks_are_over_the_runs_that_both_have():
    """The home lead of dual is 6 points on the usual settings and 30 on one that only mlp has; cnn
    has two seeds more, in which dual leads by 30."""
    some = [r for r in records() if r.spec["method"]["name"] != "el2n"]
    for model, noise, seeds in (("mlp", "pairflip:0.2", SEEDS), ("cnn", "clean", (4, 5))):
        trained = {"recipe": {**RECIPE, "model": model}}
        scored = trained if model == "mlp" else {**trained, "scoring_recipe": RECIPE}
        for seed in seeds:
            some.append(record("random", noise, seed, accuracy=0.5, spec=trained))
            some.append(record("dual", noise, seed, accuracy=0.8, spec=scored))
    board = build(some)
    (found,) = board.transfers
    for one in found.carried:
        assert one.home.pooled.mean == pytest.approx(6.0, abs=0.5)
        assert one.away.pooled.mean == pytest.approx(LEADS[one.network, "dual"], abs=0.5)
        assert one.change.pooled.mean == pytest.approx(one.away.pooled.mean - one.home.pooled.mean)
        assert (one.partial, one.row) == (True, "dual")
    assert found.leads.size == 3
    assert "2 of 2 leave out runs that one of the two lacks" in texts(board)["leaderboard.md"]
    fewer = [r for r in some if r.spec["recipe"]["model"] != "resnet18"
             or r.spec["noise"]["name"] == "clean"]  # fmt: skip
    (found,) = build(fewer).transfers
    assert [one.row for one in found.carried] == ["dual", "dual (runs of resnet18)"]
    assert found.leads.size == 4
    assert {m.name for m in found.leads.members} >= {
        "dual, trained with mlp",
        "dual (runs of resnet18), trained with mlp",
    }
    apart = [r for r in some if r.spec["recipe"]["model"] != "mlp"
             or r.spec["noise"]["name"] == "pairflip:0.2"]  # fmt: skip
    for one in build(apart).transfers[0].carried:
        assert (one.home, one.change, one.verdict) == (None, None, "")
        assert one.away is not None


def test_the_table_as_csv_names_another_metric_and_is_linked():
    some = [replace(r, metrics={**r.metrics, "worst_class_accuracy": 0.5}) for r in records()]
    forms = texts(build(some, ProtocolFile(metric="worst-class")))
    lines = list(csv.DictReader(io.StringIO(forms["transfer.csv"])))
    assert {(one["metric"], float(one["accuracy"])) for one in lines} == {("worst-class", 50.0)}
    usual = texts(build(some))
    assert ",metric" not in usual["transfer.csv"].partition("\n")[0]
    files = {name: text.encode() for name, text in usual.items()}
    page = publication(build(some), files, some, "prunebench")["README.md"].decode()
    assert "[transfer.csv](transfer.csv)" in page


def test_without_a_row_of_the_scoring_network_leads_stand_alone():
    rows = [r for r in records() if r.spec["recipe"]["model"] != "mlp"]
    board = build(rows)
    (found,) = board.transfers
    assert found.networks == ("cnn", "resnet18")
    assert not found.home
    assert found.changes is None
    assert {one.verdict for one in found.carried} == {""}
    assert "change of the lead" not in texts(board)["leaderboard.md"]


def test_networks_that_train_the_same_subsets_are_summed_up_together(board):
    (joined,) = board.recipe_summaries
    assert len(joined.designs) == 2
    assert "dual (scored with mlp)" in joined.ranking.labels


def test_every_form_shows_it(board):
    forms = texts(board)
    heading = "selected with mlp, trained with mlp, cnn, resnet18"
    assert heading in forms["leaderboard.md"]
    assert heading in forms["leaderboard.html"]
    assert "stays, smaller" in forms["leaderboard.md"]
    content = json.loads(forms["leaderboard.json"])["transfers"][0]
    assert content["trained_with"] == ["mlp", "cnn", "resnet18"]
    assert {one["verdict"] for one in content["leads"]} >= {SMALLER, BEHIND}
    lines = list(csv.DictReader(io.StringIO(forms["transfer.csv"])))
    assert len(lines) == 12
    one = next(x for x in lines if (x["method"], x["trained_with"]) == ("dual", "cnn"))
    assert float(one["minus_random"]) == pytest.approx(2.0, abs=0.5)


def test_settings_have_the_order_of_the_board_and_full_training_its_kind():
    extra = []
    for number, one in enumerate(o for o in records() if o.spec["noise"]["name"] == "clean"):
        noise = {**one.spec["noise"], "name": "asymmetric:0.4"}
        extra.append(replace(one, spec={**one.spec, "noise": noise}, key=f"{number:016x}"))
    made = build([*records(), *extra])
    (found,) = made.transfers
    settings = [row[0] for name, row in cell_rows(found) if name == "dual"]
    assert settings == ["clean", "symmetric:0.4", "asymmetric:0.4"]
    kinds = {row.label: row.kind for row in cells_table(found).lines}
    assert kinds == {"full": "full", "random": "method", "dual": "method", "el2n": "method"}


def test_the_figure_shows_a_lead_for_each_network(board):
    from prunebench.leaderboard.figures import transfer_leads
    from prunebench.leaderboard.figures.material import Material
    from prunebench.leaderboard.figures.style import figure_settings

    with figure_settings():
        (drawn,) = transfer_leads.draw(Material(board))
        assert list(transfer_leads.draw(Material(build(records()[:4])))) == []
    axes = drawn.figure.axes[0]
    marks = {line.get_label(): line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2
             and line.get_marker() not in ("None", "")}  # fmt: skip
    assert set(marks) == {"mlp", "cnn", "resnet18"}
    shown = dict(
        zip((label.get_text() for label in axes.get_yticklabels()), marks["cnn"], strict=True)
    )
    assert shown["dual"] == pytest.approx(LEADS["cnn", "dual"], abs=0.5)
    assert shown["el2n"] == pytest.approx(LEADS["cnn", "el2n"], abs=0.5)


def test_boards_without_it_say_nothing_of_it():
    forms = texts(build([r for r in records() if "scoring_recipe" not in r.spec]))
    assert "transfer.csv" not in forms
    assert not any("selected with" in text for text in forms.values())
    assert "transfers" not in json.loads(forms["leaderboard.json"])
