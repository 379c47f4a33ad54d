"""Ours beside the printed numbers: pairing, verdicts, set-up, units."""

from __future__ import annotations

from typing import Any

import pytest

from prunebench.errors import InputError
from prunebench.leaderboard.board.collect import Run, collect
from prunebench.leaderboard.published.numbers import read_published
from prunebench.leaderboard.published.papers import read_paper
from prunebench.leaderboard.reproduce import reproduce, setup_differences
from support.records import record

PAPER: dict[str, Any] = {
    "dataset": {"name": "cifar10n", "version": "1", "params": {"limit": None}, "identity": "x"},
    "recipe": {"name": "cifar10n", "version": "1", "model": "resnet18", "epochs": 200,
               "batch_size": 128, "optimizer": "lars", "lr": 5.62, "schedule": "one_cycle",
               "weight_decay": 5e-4, "model_params": {"init": "pytorch"}},
    "budget": "paper",
    "reference": {"size": 10000, "mode": "held_out"},
}  # fmt: skip


def runs(values: dict[str, list[float]], **changes: Any) -> list[Run]:
    """Runs on ``real:worst``, ratio 0.5 (full training at 0), one per value."""
    made = []
    for method, accuracies in values.items():
        for seed, accuracy in enumerate(accuracies):
            made.append(record(method, "real:worst", seed, accuracy=accuracy / 100,
                               spec={**PAPER, **changes}))  # fmt: skip
    return list(collect(made).runs)


def printed(method: str, ratio: float) -> float:
    return next(r.value for r in read_published()
                if (r.table, r.method, r.noise, r.ratio) == ("2", method, "real:worst", ratio)
                and r.metric == "accuracy")  # fmt: skip


def test_agreement_is_within_our_interval_and_the_rounding() -> None:
    target, full = printed("infobatch", 0.5), printed("full", 0.0)
    own = [target - 0.3, target, target + 0.3]
    lines = reproduce(runs({"infobatch": own, "full": [full + 2] * 3}), read_published())
    found = {(line.method, line.ratio): line for line in lines if line.printed == target}
    line = found["infobatch", 0.5]
    assert (line.verdict, line.n, line.noise) == ("agrees", 3, "real:worst")
    assert line.ours == pytest.approx(target)
    assert "2" in line.tables.split(", ")
    assert "C" in line.tables.split(", ")
    assert line.gap == pytest.approx(target - full - 2)
    assert line.printed_gap == pytest.approx(target - full)
    assert line.gap_verdict == "lower"


def test_two_seeds_decide_nothing_and_distant_ones_do() -> None:
    target = printed("infobatch", 0.5)
    (few,) = reproduce(runs({"infobatch": [target, target]}), read_published())
    assert few.verdict == "undecided"
    (far,) = reproduce(runs({"infobatch": [20.0, 20.1, 19.9]}), read_published())
    assert far.verdict == "lower"
    assert far.gap is None


def test_what_is_done_otherwise_is_named() -> None:
    same = setup_differences(runs({"infobatch": [80.0, 81.0, 82.0]}), read_paper("alignprune"))
    assert same == {"cifar10n": []}
    recipe = {**PAPER["recipe"], "epochs": 10, "model_params": {"width": 8}}
    data = {**PAPER["dataset"], "params": {"limit": 10000}}
    own = runs({"infobatch": [80.0, 81.0]}, recipe=recipe, dataset=data, budget="samples")
    (lines,) = setup_differences(own, read_paper("alignprune")).values()
    assert lines == [
        "recipe.epochs 10 (paper: 200)",
        "budget samples (paper: paper)",
        "training samples used: 10000",
        "network options {'width': 8}",
        "2 seeds (paper: 3)",
    ]


def test_minutes_and_pruned_shares_keep_their_units() -> None:
    data = {**PAPER["dataset"], "name": "cifar100n"}
    made = [record("infobatch", "real", s, accuracy=0.5, spec={**PAPER, "dataset": data},
                   info={"train_size": 200}) for s in range(3)]  # fmt: skip
    lines = {line.unit: line for line in reproduce(collect(made).runs, read_published())}
    assert lines["minutes"].printed == 23.9
    assert lines["minutes"].ours == pytest.approx(1.5 / 60)
    assert lines["% pruned per epoch"].printed == 28.77
    assert lines["% pruned per epoch"].ours == pytest.approx(50.0)


def test_nothing_to_compare_is_said() -> None:
    own = collect([record("infobatch", "clean", 0)]).runs
    with pytest.raises(InputError, match="no printed number has runs here"):
        reproduce(own, read_published())


def test_two_recipes_are_not_taken_for_one() -> None:
    target = printed("infobatch", 0.5)
    both = [*runs({"infobatch": [target] * 3}),
            *runs({"infobatch": [20.0] * 3}, recipe={**PAPER["recipe"], "epochs": 5})]  # fmt: skip
    with pytest.raises(InputError, match=r"two runs of infobatch, cifar10n.*--where FIELD=VALUE"):
        reproduce(both, read_published())
    assert reproduce([*both[:3], *runs({"seta": [20.0]}, budget="samples")], read_published())


def test_what_a_module_adds_is_set_beside_what_was_printed_for_each_of_its_options() -> None:
    base, aligned = printed("infobatch", 0.5), printed("infobatch+align", 0.5)
    spread = (-0.3, 0.0, 0.3)
    own = runs({"infobatch": [50 + d for d in spread]})
    for r, gain in ((0.5, 0.0), (0.9, aligned - base)):
        method = {"name": "infobatch+align", "version": "1", "params": {"r": r}}
        own += runs({"infobatch+align": [50 + gain + d for d in spread]}, method=method)
    lines = {line.method: line for line in reproduce(own, read_published()) if "2" in line.tables}
    assert lines["infobatch+align (r=0.5)"].ours == pytest.approx(50.0)
    literal, other = (lines[f"infobatch+align (r={r}) - infobatch"] for r in (0.5, 0.9))
    assert literal.printed == pytest.approx(aligned - base)
    assert (literal.unit, literal.verdict, literal.ours) == ("points", "lower", pytest.approx(0.0))
    assert (other.verdict, other.n) == ("agrees", 3)
    assert not [line for line in reproduce(runs({"infobatch+align": [50.0] * 3}), read_published())
                if line.unit == "points"]  # fmt: skip
