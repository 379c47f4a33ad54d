"""The loop of a study: distinct points, equal results, charges, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from prunebench.bench.results.store import Store
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.tuning import trials
from prunebench.bench.tuning.design import check_seeds
from prunebench.bench.tuning.evaluate import cell_cost, evaluate
from prunebench.bench.tuning.loop import run_trials
from prunebench.bench.tuning.storage import declare
from prunebench.bench.tuning.study import tune
from prunebench.bench.tuning.trials import ended_trials
from prunebench.errors import InputError
from prunebench.record import Record
from support.tuning import Fake, go, params_of, study_at, tiny


def test_sixty_trials_in_rounds_of_four_are_sixty_points(tmp_path: Path) -> None:
    fake = Fake()
    _, report = go(tiny("seta", trials=60, round=4), tmp_path, fake)
    assert len({json.dumps(params, sort_keys=True) for params in params_of(tmp_path)}) == 60
    assert [len(batch) for batch in fake.batches[:4]] == [4, 4, 4, 4]
    assert report["trials"]["complete"] == 60


def test_a_crowded_space_gives_every_point_once_the_default_first(tmp_path: Path) -> None:
    held = {"r": 0.1, "alpha": 0.9, "delta": 0.875}
    everything = tiny("seta", trials=60, round=4, params=held)
    assert everything.count == 9  # k = 2..10
    go(everything, tmp_path / "all")
    found = [params["k"] for params in params_of(tmp_path / "all")]
    assert found[0] == 5
    assert sorted(found) == list(range(2, 11))
    go(tiny("seta", trials=8, round=4, params=held), tmp_path / "most")
    assert len({params["k"] for params in params_of(tmp_path / "most")}) == 8


def test_two_runs_of_a_study_give_one_file_whatever_the_folder(tmp_path: Path) -> None:
    one, _ = go(tiny(trials=16), tmp_path / "a")
    two, _ = go(tiny(trials=16), tmp_path / "b")
    assert one.path.read_bytes() == two.path.read_bytes()
    other, _ = go(tiny(trials=16, sampler_seed=1), tmp_path / "c")
    assert other.hash != one.hash
    assert params_of(tmp_path / "a") != params_of(tmp_path / "c")
    # The default is trial 0, and 16 trials come closer to the best r = 0.3 than it.
    assert params_of(tmp_path / "a")[0] == {"r": 0.5, "delta": 0.875}
    assert abs(one.params["r"] - 0.3) < 0.15


def test_diverged_and_failed_trials_are_told_apart_charged_and_never_nan(tmp_path: Path) -> None:
    design = tiny(trials=6, round=2)
    go(design, tmp_path / "peace")
    points = [trials.decode(p, design.space) for p in params_of(tmp_path / "peace")]
    status = {
        design.cell(points[1], design.seeds[0]).spec.key: "diverged",
        design.cell(points[2], design.seeds[1]).spec.key: "failed",
    }
    fake = Fake(status)
    _, report = go(design, tmp_path / "war", fake)
    states = [row["state"] for row in report["history"]]
    assert states[:3] == ["complete", "diverged", "failed"]
    assert report["history"][1]["reason"] == f"seed {design.seeds[0]}: diverged (made up)"
    # A trial that diverged on its first seed is spared the second.
    second = design.cell(points[1], design.seeds[1]).spec.key
    assert second not in fake.keys
    with study_at(tmp_path / "war") as study:
        found = ended_trials(study)
        assert [found[n].state for n in (1, 2)] == [TrialState.PRUNED, TrialState.FAIL]
        assert "diverged" in found[1].user_attrs
        values = [t.value for t in study.trials if t.value is not None]
        assert all(math.isfinite(value) for value in values)
        assert set(status) <= {k for t in found.values() for k in t.user_attrs["keys"]}
    # No record lies in this folder, so every cell is charged in full: 1 - ratio.
    assert report["budget"]["total"] == pytest.approx(0.5 * report["budget"]["cells"], abs=1e-3)


def test_defaults_that_give_no_value_end_the_study_in_one_line(tmp_path: Path) -> None:
    design = tiny(trials=2)
    default = {axis.name: axis.default for axis in design.space}
    key = design.cell(default, design.seeds[0]).spec.key
    with pytest.raises(InputError, match=r"the defaults gave no value: seed 1000000: failed"):
        go(design, tmp_path, Fake({key: "failed"}))


def test_costs_count_passes_by_their_price() -> None:
    ledger = {"trained": 50, "strong": 10, "forward_only": 30, "num_samples": 10}
    record = Record("0" * 16, {}, "failed", ledger=ledger)
    assert cell_cost(record, 0.5, epochs=10) == pytest.approx(0.7)
    assert (
        cell_cost(None, 0.5, epochs=10) == cell_cost(Record("0" * 16, {}, "failed"), 0.5, 10) == 0.5
    )


def test_halving_promotes_the_best_over_complete_schedules(tmp_path: Path) -> None:
    design = tiny(trials=8, fidelities=(0.25, 0.5, 1.0), recipe_params={"epochs": 8})
    fake = Fake()
    _, report = go(design, tmp_path, fake)
    epochs = [batch[0].spec.recipe.epochs for batch in fake.batches]
    sizes = [len(batch) for batch in fake.batches[:6:2]]
    # The default goes on beside the better half.
    assert sizes[0] == 8
    assert sizes[1] in (4, 5)
    assert sizes[2] in (2, 3)
    assert epochs[:6] == [2, 2, 4, 4, 8, 8]
    states = [row["state"] for row in report["history"]]
    assert states[0] == "complete"  # the default goes to the end, however it does
    assert states.count("stopped") >= 4
    distance = [abs(row["params"]["r"] - 0.3) for row in report["history"]]
    ended = [n for n, state in enumerate(states) if state == "complete" and n]
    assert all(distance[n] <= min(d for m, d in enumerate(distance) if m not in [*ended, 0])
               for n in ended)  # fmt: skip
    assert report["fidelity"][0]["from"] == 0.25
    assert report["fidelity"][0]["n"] in (4, 5)
    assert report["fidelity"][0]["spearman"] == pytest.approx(1.0)


def test_two_objectives_give_a_front(tmp_path: Path) -> None:
    design = tiny(trials=12, pareto=True)
    assert design.base.spec.budget == "epochs"
    _, report = go(design, tmp_path)
    rows = [row for row in report["history"] if row["state"] == "complete"]
    front = [
        row["trial"] for row in rows
        if not any(o["value"] >= row["value"] and o["trained"] <= row["trained"]
                   and (o["value"], o["trained"]) != (row["value"], row["trained"]) for o in rows)
    ]  # fmt: skip
    assert report["front"] == front
    assert 1 < len(front) < 12
    assert report["choice"] in [*front, 0]
    with pytest.raises(InputError, match=r"--pareto: all trials train equally many"):
        tiny(pareto=True, budget="samples")


def test_another_command_under_an_old_name_is_refused_with_the_difference(tmp_path: Path) -> None:
    go(tiny(), tmp_path)
    for fields, named in (
        ({"trials": 5}, "trials = 4, not 5"),
        ({"sampler_seed": 3}, "sampler.seed = 0, not 3"),
        ({"seeds": [1000000, 1000007]}, r"final_seeds = \[1000002,1000003\], not"),
        ({"noise": "clean"}, 'spec.noise.name = "symmetric:0.4", not "clean"'),
        ({"params": {"delta": 0.9}}, "space = "),
        ({"validation_labels": "clean"}, 'spec.validation.labels = "noisy", not "clean"'),
    ):
        with pytest.raises(InputError, match=named):
            go(tiny(**fields), tmp_path)


def test_a_second_driver_is_turned_away_and_a_spoilt_journal_is_said(tmp_path: Path) -> None:
    with study_at(tmp_path), pytest.raises(InputError, match="run by another process"):
        go(tiny(), tmp_path)
    go(tiny(), tmp_path)
    journal = tmp_path / "tuning/s.journal"
    lines = journal.read_text().splitlines()
    lines[3] = "what?"
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"s\.journal: the study cannot be opened"):
        go(tiny(), tmp_path)


def test_a_database_of_optuna_serves_and_one_of_mlflow_is_refused(tmp_path: Path) -> None:
    import sqlite3

    url = f"sqlite:///{tmp_path}/optuna.db"
    design = tiny(trials=3)
    store, running = Store(tmp_path / "db"), ExecutionOptions(mlflow=False)
    pinned, _ = tune(design, store, running, "s", url, run=Fake())
    journal, _ = go(design, tmp_path / "journal")
    assert pinned.hash == journal.hash
    assert not (tmp_path / "db/tuning/s.journal").exists()
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE experiments (x)")
        connection.execute("CREATE TABLE runs (x)")
    with pytest.raises(InputError, match="belongs to MLflow"):
        tune(design, store, running, "s", f"sqlite:///{tmp_path}/mlflow.db", run=Fake())


def test_tuning_seeds_keep_away_from_reported_ones(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    design = tiny(seeds=[20, 21])
    check_seeds(design, store, range(10))
    with pytest.raises(InputError, match="seed 22 is to be reported"):  # a fresh one
        check_seeds(design, store, [22])
    cell = design.base
    evaluated = cell.spec.replace(role="eval", seed=23)
    store.save(Record(evaluated.key, evaluated.content, "done"))
    with pytest.raises(InputError, match=f"seed 23 has evaluation runs .*{evaluated.key}"):
        check_seeds(design, store, range(10))
    with pytest.raises(InputError, match="two or more distinct seeds"):
        tiny(seeds=[20])
    assert min(tiny().seeds) == 1_000_000


def test_samplers_know_the_slot_and_the_redraw() -> None:
    def draw(*arguments: int) -> float:
        study = optuna.create_study(sampler=trials.make_sampler(*arguments))
        return study.ask().suggest_float("x", 0, 1)

    assert draw(0, 1, 0) == draw(0, 1, 0)
    assert len({draw(0, slot, redraw) for slot in range(4) for redraw in (0, 1, 12)}) == 12


def test_outcomes_keep_to_their_points(tmp_path: Path) -> None:
    design = tiny()
    points = [{"r": r, "delta": 0.875} for r in (0.3, 0.6)]
    best, other = evaluate(design, points, (5, 6), Fake())
    assert best.values[5] > other.values[5]
    assert best.mean == pytest.approx(sum(best.values.values()) / 2)
    assert best.keys == [design.cell(points[0], seed).spec.key for seed in (5, 6)]
    with study_at(tmp_path) as study:
        declare(study, design.content)
        run_trials(study, design, Fake(), lambda key: "")
        assert sorted(ended_trials(study)) == [0, 1, 2, 3]
