"""`grid --dry-run`: what it counts is what the ledgers say, and its times are of the right size."""

import re
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prunebench.bench.cli.estimate import lines
from prunebench.bench.estimates import timed_choice, timed_epoch
from prunebench.bench.estimates.costs import cell_cost, split_sizes
from prunebench.bench.estimates.rates import Rates, kind_of, rates_from_records
from prunebench.bench.estimates.summary import makespan, summarise
from prunebench.bench.estimates.timed_choice import choice_times
from prunebench.bench.estimates.timed_encoder import encoder_seconds
from prunebench.bench.estimates.timed_epoch import Kind, measure, time_kinds
from prunebench.bench.executors.base import Job
from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.bench.perf.bf16 import Bf16Gain
from prunebench.bench.perf.timing import Ratio
from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.train.task import load_raw, load_task
from prunebench.datasets.source import Outline
from prunebench.errors import InputError
from prunebench.methods.base import StaticPruner, Subset, register_method
from prunebench.registry import METHODS
from support.cells import small_cell
from support.command import prunebench

DIGITS = Outline(1347, 450, (1, 8, 8), 10)
RATES = Rates(train_s=1e-3, epoch_s=0.0, eval_s=1e-4, ssl_s=1e-3, cell_s=0.5, load_s=2.0)


@pytest.fixture(autouse=True)
def gains(monkeypatch):
    """No measurement of bf16; returns what was asked for."""
    asked = []
    monkeypatch.setattr("prunebench.bench.estimates.summary.bf16_gain", lambda *a: asked.append(a))
    return asked


def fixed(kinds, running, cells):
    """Rates as if measured."""
    return dict.fromkeys(kinds, RATES), 1.0


def counted(tmp_path, *cells, **options):
    return summarise(cells, tmp_path / "out", ExecutionOptions(**options), None, fixed)


@pytest.mark.parametrize("budget", ["samples", "paper", "epochs"])
@pytest.mark.parametrize("method", ["full", "short-full", "full+reference", "random",
                                    "random-dynamic", "divbs"])  # fmt: skip
def test_counts_are_those_of_the_ledger(run, method, budget):
    whole = method in ("full", "full+reference")
    fields = {"budget": "samples" if whole else budget, "recipe_params": {"eval_every": 2}}
    record, _ = run(method, **({"ratio": 0.3} | fields if not whole else fields))
    cost = cell_cost(small_cell(method, **({"ratio": 0.3} | fields if not whole else fields)),
                     DIGITS)  # fmt: skip
    names = ("trained", "strong", "forward_only", "scoring_forward", "reference_forward",
             "eval_forward", "epochs")  # fmt: skip
    assert {n: getattr(cost, n) for n in names} == {n: record.ledger[n] for n in names}
    assert cost.exact


@pytest.mark.parametrize("budget", ["samples", "paper", "epochs"])
@pytest.mark.parametrize("interrupt", [0, 2])
def test_batches_that_a_schedule_trains_whole_are_not_scored(run, budget, interrupt):
    fields = {"params": {"start": 0.3, "end": 0.8, "interrupt": interrupt}, "budget": budget,
              "recipe_params": {"model": "mlp"}}  # fmt: skip
    record, _ = run("selective-backprop", **fields)
    cost = cell_cost(small_cell("selective-backprop", **fields), DIGITS)
    names = ("trained", "scoring_forward", "epochs")
    assert {n: getattr(cost, n) for n in names} == {n: record.ledger[n] for n in names}
    assert 0 < cost.scoring_forward < cost.epochs * 1253


@pytest.mark.parametrize(
    "method", ["infobatch", "seta+align", "infobatch+align", "ies", "kakurenbo"]
)
def test_score_based_methods_train_exactly_the_target_and_the_rest_is_about_right(run, method):
    record, _ = run(method)
    cost = cell_cost(small_cell(method), DIGITS)
    assert cost.trained == record.ledger["trained"]
    assert abs(cost.epochs - record.ledger["epochs"]) <= 2
    tracked = record.ledger["reference_forward"]
    assert cost.reference_forward == cost.epochs * 94 * ("+align" in method)
    assert (tracked > 0) == (cost.reference_forward > 0)
    assert not cell_cost(small_cell(method, budget="paper"), DIGITS).exact


def test_the_second_view_is_counted(run):
    record, _ = run("random", criterion="sop+")
    cost = cell_cost(small_cell("random", criterion="sop+"), DIGITS)
    assert (cost.trained, cost.strong) == (record.ledger["trained"], record.ledger["strong"])


def test_what_scoring_is_charged(run, tmp_path):
    for method in ("small-loss", "ssp"):
        record, _ = run(method, folder=method)
        said = counted(tmp_path, small_cell(method))
        assert said["charged for scoring"] == record.ledger["proxy_trained"]
        passes = said["samples"]["scoring passes"]
        assert passes == record.ledger["proxy_scoring"]


def test_sizes_of_the_split():
    spec = small_cell("full").spec
    assert split_sizes(spec, DIGITS) == (1253, 94)
    own = replace(DIGITS, reference=50)
    assert split_sizes(spec, own) == (1347, 50)
    whole = small_cell("full", reference={"size": 100, "mode": "overlap"}).spec
    assert split_sizes(whole, DIGITS) == (1347, 100)


def test_shared_runs_are_paid_once(tmp_path):
    cells = [small_cell(m, ratio=r, seed=s) for m in ("small-loss", "margin", "forgetting")
             for r in (0.3, 0.5, 0.7) for s in (0, 1)]  # fmt: skip
    said = counted(tmp_path, *cells, workers=2)
    assert (said["cells"], said["of these shared scoring runs"], said["added for scoring"]) == (
        20, 2, 2,
    )  # fmt: skip
    assert [run["serves"] for run in said["scoring runs"]] == [9, 9]
    assert said["scoring runs"][0]["methods"] == ["forgetting", "margin", "small-loss"]
    full, kept = 6 * 1253, {0.3: 5263, 0.5: 3759, 0.7: 2255}
    own = 2 * 3 * sum(kept.values())
    assert said["samples"]["trained"] == 2 * full + own
    assert said["if not shared"]["samples"]["trained"] == 18 * full + own
    forward = 20 * 450 + 2 * 1253
    work = (2 * full + own) * RATES.train_s + forward * RATES.eval_s + 20 * RATES.cell_s
    chosen = sum(row["seconds"] for row in said["choices"])
    assert said["seconds of work"] - chosen == pytest.approx(work, abs=0.02)
    assert said["if not shared"]["seconds of work"] > 2 * said["seconds of work"]
    begin = 2 * 1.0 + RATES.load_s
    assert -0.02 <= said["seconds"] - (begin + work / 2) <= full * RATES.train_s + chosen
    text = lines(said)
    assert "2 shared (2 added) serve 18 cells of forgetting, margin, small-loss" in text
    many = [{**run, "methods": [f"m{n}" for n in range(30)]} for run in said["scoring runs"]]
    assert "18 cells of 30 methods; --json names them\n" in lines({**said, "scoring runs": many})
    assert "time, 2 workers" in text


def test_an_encoder_is_trained_once(tmp_path, monkeypatch):
    summary = "prunebench.bench.estimates.summary"
    monkeypatch.setattr(f"{summary}.choice_times", lambda *given: {})
    cells = [small_cell("ssp", seed=seed) for seed in range(4)]
    said = counted(tmp_path, *cells)
    views = 2 * 6 * (1347 // 256) * 256
    assert said["samples"]["self-supervised views trained"] == views
    assert said["if not shared"]["samples"]["self-supervised views trained"] == 4 * views
    assert [run["serves"] for run in said["scoring runs"]] == [4]
    tail = small_cell("ssp", imbalance="exp:5")
    n = len(load_task(tail.spec, tail.data).train)
    said = counted(tmp_path, tail)
    assert said["samples"]["self-supervised views trained"] == 2 * 6 * (n // 256) * 256
    said = counted(tmp_path, small_cell("ssp", dataset_params={"pca": 4}))  # no images
    assert said["samples"]["self-supervised views trained"] == 0


def test_runs_that_their_recipe_skips_cost_nothing(tmp_path):
    skipped = [small_cell(name, recipe_params={"epochs": 1}) for name in ("tdds", "cld")]
    said = counted(tmp_path, *skipped)
    assert (said["to run"], said["added for scoring"]) == (2, 0)
    assert set(said["samples"].values()) == {0}


def test_what_is_recorded_costs_nothing_unless_its_evidence_is_gone(tmp_path, run):
    cells = [small_cell("full"), small_cell("random"), small_cell("small-loss")]
    _, store = run("full", folder="out")
    said = summarise(cells, store.root, ExecutionOptions(), None, fixed)
    # The full run is recorded, but left no evidence: small-loss has it run again.
    assert (said["recorded already"], said["to run"]) == (0, 3)
    said = summarise(cells[:2], store.root, ExecutionOptions(), None, fixed)
    assert (said["recorded already"], said["to run"]) == (1, 1)
    run("random", folder="out")
    said = summarise(cells[:2], store.root, ExecutionOptions(), None, fixed)
    assert (said["to run"], said["seconds"], said["samples"]["trained"]) == (0, None, 0)
    torn = store.records / f"{cells[1].spec.key}.json"
    torn.write_text(torn.read_text()[:-9])
    said = summarise(cells[:2], store.root, ExecutionOptions(), None, fixed)
    assert (said["recorded already"], said["to run"]) == (1, 1)
    assert torn.exists()  # nothing is moved aside before the grid runs


CPU = torch.device("cpu")


def seen(record, **place):
    """Its place and times as if recorded elsewhere, in round numbers."""
    environment = {**record.environment, **place}
    timing = {**record.timing, "train_s": 10.0, "total_s": 12.5}
    return replace(record, environment=environment, timing=timing)


def test_times_come_from_records_of_the_same_recipe_and_device_class(run):
    full, divbs = run("full")[0], run("divbs", folder="b")[0]
    kinds = [kind_of(small_cell(method).spec) for method in ("full", "divbs")]
    threads = full.environment["threads"]
    found = rates_from_records([seen(full), seen(divbs)], kinds, CPU, threads)
    passes = full.ledger["eval_forward"]
    rates = found[kinds[0]]
    assert rates.train_s == pytest.approx(10.0 / (full.ledger["trained"] + passes / 3))
    assert rates.eval_s == pytest.approx(rates.train_s / 3)
    assert (rates.cell_s, rates.records, rates.rough) == (2.5, 1, False)
    # The passes that choose are part of a trained sample's time, beside test passes.
    rates, ledger = found[kinds[1]], divbs.ledger
    whole = rates.train_s * ledger["trained"] + rates.eval_s * ledger["eval_forward"]
    assert whole == pytest.approx(10.0)
    assert ledger["scoring_forward"] > ledger["trained"]
    # Another processor, other threads, another recipe, or a run that did not end as it should.
    others = [seen(full, device_class="abacus"), seen(full, threads=threads + 1),
              replace(seen(full), status="diverged")]  # fmt: skip
    assert rates_from_records(others, kinds, CPU, threads) == {}
    longer = kind_of(small_cell("full", recipe_params={"epochs": 7}).spec)
    assert rates_from_records([seen(full)], [longer], CPU, threads) == {}


def test_only_what_no_record_describes_is_timed(run):
    record, store = run("random", folder="out")
    running = ExecutionOptions(threads=record.environment["threads"])
    cells = [small_cell("full"), small_cell("full", criterion="sop"), small_cell("ssp")]
    asked = []

    def some(kinds, running, count):
        asked.extend(kinds)
        return fixed(kinds, running, count)

    said = summarise(cells[:1], store.root, running, None, some)
    assert (asked, [m["records"] for m in said["measured"]]) == ([], [1])
    train_s, total_s = record.timing["train_s"], record.timing["total_s"]
    assert train_s < said["seconds"] < 4 * total_s  # random trained half of it
    said = summarise(cells[:2], store.root, running, None, some)
    assert asked == [kind_of(cells[1].spec)]
    assert [m["records"] for m in said["measured"]] == [1, 0]
    # No record lists the seconds of a self-supervised encoder.
    asked.clear()
    summarise(cells[2:], store.root, running, None, some)
    assert asked == [kind_of(cells[2].spec)]


def test_speeds_say_what_they_rest_on(tmp_path, run):
    _, store = run("random", folder="out")
    cells = [small_cell("full"), small_cell("full", criterion="sop"),
             small_cell("full", recipe_params={"precision": "bf16", "epochs": 7})]  # fmt: skip
    running = ExecutionOptions(threads=torch.get_num_threads())
    said = summarise(cells[:2], store.root, running, None, fixed)
    rate = 1 / said["measured"][0]["train_s"]
    assert f"about 1,000 to {rate:,.0f} samples/s trained per worker" in lines(said)
    assert "by 1 record and an epoch timed now" in lines(said)
    said = summarise(cells[2:], tmp_path / "none", running, None, fixed)
    text = lines(said)
    assert "speed of digits" in text
    assert "bf16: about 1,000 samples/s trained per worker, by an epoch timed now" in text
    assert "H100" not in text
    card = lines(
        {**said, "device": "cuda", "measured": [{**said["measured"][0], "model": "resnet18"}]}
    )
    assert "goal of resnet18 in bf16 on an H100: 60,000 samples/s" in card
    assert "estimated: 43,000 to 48,000" in card


def test_a_long_grid_in_fp32_says_what_bf16_would_gain(tmp_path, monkeypatch, gains):
    short = [small_cell("full")]
    long = [small_cell("full", recipe_params={"epochs": 1000})]
    half = [small_cell("full", recipe_params={"epochs": 1000, "precision": "bf16"})]
    counted(tmp_path, *short)
    counted(tmp_path, *half)
    assert gains == []  # ten seconds of measurement would not pay, or nothing is in fp32
    said = counted(tmp_path, *long, *short, threads=2)
    assert gains == [(long[0].spec.recipe, (1, 8, 8), 10, 2)]
    assert said["bf16"] is None  # no units
    assert "bf16" not in lines(said)
    gain = Bf16Gain("amx_bf16", Ratio(2.3, 2.1, 2.4), 5, "cnn", 64, 2)
    monkeypatch.setattr("prunebench.bench.estimates.summary.bf16_gain", lambda *_: gain)
    said = counted(tmp_path, *long)
    assert said["bf16"]["ratio"] == {"value": 2.3, "low": 2.1, "high": 2.4}
    assert "bf16 for digits" in lines(said)
    assert "about 2.3 times as fast as fp32 here (measured now: 2.1 to 2.4 in 5 turns" in lines(
        said
    )


def test_makespan_keeps_the_order_of_the_queue():
    jobs = [Job("a", {}), Job("b", {}, after=("a",)), Job("c", {}), Job("d", {}, after=("a",))]
    seconds = {"a": 4.0, "b": 1.0, "c": 3.0, "d": 1.0}
    assert makespan(jobs, seconds, 1) == 9.0
    assert makespan(jobs, seconds, 2) == 5.0
    assert makespan(jobs, seconds, 2, begin=10.0) == 15.0
    assert makespan(jobs, seconds, 50) == 5.0


GRID = """
name = "g"
dataset = "{dataset}"
recipe = "mnist-small"
noise = ["clean", "symmetric:0.5"]
method = ["full", "random", "small-loss"]
ratio = 0.5
"""


def test_absent_data_are_counted_by_their_declared_sizes(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "nothing"))
    path = tmp_path / "g.toml"
    path.write_text(GRID.format(dataset="mnist"))
    absent: dict[str, str] = {}
    cells = expand(*read_grid(path), absent)
    said = summarise(cells, tmp_path / "out", ExecutionOptions(), absent, fixed)
    assert said["samples"]["trained"] == 2 * 10 * 59_000 * (1 + 0.5 + 0.5)
    assert said["seconds"] is not None
    assert "not here: mnist" in lines(said)
    assert re.search(r"recorded already +0, of cells whose files are here\n", lines(said))
    assert "train-images-idx3-ubyte" in said["not here"]["mnist"]
    assert not (tmp_path / "out").exists()
    # To run it is another matter: one line, exit code 2.
    ran = prunebench("grid", path, "--out", tmp_path / "out")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "mnist" in ran.err


def test_a_data_set_of_unknown_size_is_named(tmp_path, monkeypatch):
    from prunebench.datasets.sources.idx import Mnist

    monkeypatch.setattr(Mnist, "outline", lambda self: None)
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "nothing"))
    path = tmp_path / "g.toml"
    path.write_text(GRID.format(dataset="mnist"))
    absent: dict[str, str] = {}
    cells = expand(*read_grid(path), absent)
    said = summarise(cells, tmp_path / "out", ExecutionOptions(), absent, fixed)
    assert (said["cells"], said["not counted"], said["seconds"]) == (6, ["mnist"], None)
    assert "sizes unknown" in lines(said)


def test_what_is_too_slow_to_be_timed_is_named(tmp_path):
    cells = [small_cell("full"), small_cell("full", criterion="sop")]

    def some(kinds, running, count):
        return {next(iter(kinds)): RATES}, 1.0

    said = summarise(cells, tmp_path / "out", ExecutionOptions(), None, some)
    assert (said["not timed"], said["seconds"] > 0) == (["digits"], True)
    said = summarise(cells, tmp_path / "out", ExecutionOptions(), None, lambda *_: ({}, 1.0))
    assert (said["not timed"], said["seconds"]) == (["digits"], None)
    assert "too slow" in lines(said)


@pytest.mark.soak
def test_a_measurement_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr("prunebench.bench.estimates.timed_epoch.LONGEST_S", 0.01)
    cell = small_cell("full")
    kinds = {"slow": Kind(cell, DIGITS, True)}
    assert time_kinds(kinds, ExecutionOptions(), 1)[0] == {}


def test_kinds_tell_apart_what_takes_another_time():
    def kind(*args, **fields):
        return kind_of(small_cell(*args, **fields).spec)

    assert kind("full") == kind("random", ratio=0.3, noise="clean", seed=3)
    assert kind("full") != kind("full", criterion="sop+")
    assert kind("full") != kind("divbs")
    assert kind("divbs") != kind("divbs", ratio=0.3)
    assert kind("full") == kind("divbs", ratio=0.0)


@pytest.mark.parametrize("present", [True, False])
def test_rates_are_measured_with_the_real_trainer(present):
    for method in ("full", "divbs"):
        cell = small_cell(method)
        rates = measure(Kind(cell, DIGITS, present), CPU, limit_s=0.1)
        assert 1e-6 < rates.train_s < 1e-2
        assert 0 < rates.eval_s < rates.train_s
        assert rates.epoch_s >= 0
        assert not rates.rough


def test_a_step_that_is_too_slow_is_judged_by_smaller_ones(monkeypatch):
    monkeypatch.setattr("prunebench.bench.estimates.timed_epoch._SLOWEST_S", 0.0)
    cell = small_cell("full")
    rates = measure(Kind(cell, DIGITS, True), CPU)
    assert rates.rough
    assert 1e-6 < rates.train_s < 1e-1


def test_a_cell_that_cannot_train_is_one_line():
    cell = small_cell("full", reference={"size": 5000})
    with pytest.raises(InputError, match="5000 reference") as caught:
        time_kinds({"bad": Kind(cell, DIGITS, True)}, ExecutionOptions(), 1)
    assert "\n" not in str(caught.value)


@pytest.mark.soak
def test_the_estimate_is_of_the_right_size(tmp_path):
    cells = [small_cell(m, recipe_params={"epochs": 20}) for m in ("full", "random", "divbs")]

    def here(kinds, running, count):
        return {name: measure(kind, CPU, limit_s=0.6) for name, kind in kinds.items()}, 0.0

    said = summarise(cells, tmp_path / "none", ExecutionOptions(), None, here)
    store = Store.open(tmp_path / "real")
    real = sum(float(run_cell(c, store)[0].timing["total_s"]) for c in cells)
    assert real / 4 < said["seconds of work"] < 4 * real


def test_the_command_prints_text_and_json(tmp_path):
    path = tmp_path / "g.toml"
    path.write_text(
        'name = "g"\ndataset = "digits"\nmethod = ["full", "small-loss"]\nratio = 0.5\n'
        "recipe_params = { epochs = 4 }\n"
    )
    out = Path(tmp_path / "out")
    said = prunebench("grid", path, "--out", out, "--dry-run", "--json", "-w", "1").json
    assert (said["cells"], said["to run"], said["workers"]) == (2, 2, 1)
    assert said["samples"]["trained"] == 4 * 1253 * 3 // 2
    assert said["seconds"] > said["seconds of work"] > 0
    assert Counter(m["criterion"] for m in said["measured"]) == {"ce": 1}
    assert not out.exists()


def test_a_view_of_the_encoder_is_timed_where_there_are_images():
    recipe = get_recipe("digits").model_copy(update={"epochs": 2})
    raw = load_raw("digits", {})
    assert encoder_seconds(raw, recipe, torch.device("cpu")) > 0
    assert encoder_seconds(raw, recipe, torch.device("cpu"), limit_s=0.0) > 0
    vectors = replace(raw, train_x=torch.zeros(10, 4))
    assert encoder_seconds(vectors, recipe, torch.device("cpu")) == 0


class Quadratic(StaticPruner):
    """Sleeps so long as n squared says."""

    def keep(self, evidence, k, rng):
        time.sleep(1e-7 * len(evidence.labels) ** 2)
        return Subset(rng.sample(len(evidence.labels), k))


@pytest.fixture
def quadratic(monkeypatch):
    METHODS.load()
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    register_method("quadratic")(Quadratic)


def test_a_choice_is_timed_on_few_samples_and_grows_from_there(quadratic, monkeypatch):
    monkeypatch.setattr(
        timed_choice, "_seconds", lambda cell, n, classes, width: 1e-7 * n**2
    )  # a clock that no other process of the machine slows
    cells = {ratio: (small_cell("quadratic", ratio=ratio), replace(DIGITS, train=50_000))
             for ratio in (0.3, 0.5)}  # fmt: skip
    cells["full"] = (small_cell("full"), DIGITS)
    found = choice_times(cells, [], 1)
    assert found.keys() == {0.3, 0.5}
    n = split_sizes(cells[0.3][0].spec, cells[0.3][1])[0]
    assert found[0.3].seconds == pytest.approx(1e-7 * n**2)
    assert "simulated samples, N^2.0" in found[0.3].basis


def test_a_choice_is_counted_by_records_where_there_are_some(tmp_path, run, quadratic):
    cells = [small_cell("quadratic", ratio=ratio) for ratio in (0.3, 0.5, 0.8)]
    before = counted(tmp_path, *cells)
    (row,) = before["choices"]
    assert (row["method"], row["cells"]) == ("quadratic", 3)
    assert "timed now on" in row["basis"]
    spec, store = cells[0].spec, Store.open(tmp_path / "out")
    record, _ = run("quadratic", ratio=0.3)
    store.save(replace(record, timing={**record.timing, "choice_s": 100.0}))
    assert record.key == spec.key
    after = counted(tmp_path, *cells)
    assert after["choices"] == [
        {"method": "quadratic", "cells": 2, "seconds": 200.0, "basis": "1 record"}
    ]
    assert after["seconds of work"] > 200
    assert "of it choosing" in lines(after)
    assert "quadratic 3 min 20 s in 2 cells (1 record)" in lines(after)


def test_what_chooses_among_no_simulated_samples_is_left_out(tmp_path):
    (tmp_path / "ids.csv").write_text("id\n1\n")
    cell = small_cell(f"ids:{tmp_path / 'ids.csv'}", ratio=0.5)
    assert choice_times({"a": (cell, DIGITS)}, [], 1) == {}


def test_texts_are_timed_on_random_words() -> None:
    outline = Outline(train=20, test=5, shape=(50, 9), classes=3, images=False)
    assert (outline.vocabulary, outline.stored) == (50, (9,))
    cell = small_cell(recipe="text")
    task = timed_epoch._random_task(cell.spec, outline)
    x = task.raw.train_x
    assert (x.shape, x.dtype, task.raw.input_shape) == ((20, 9), torch.int32, (50, 9))
    assert 0 < x.min() <= x.max() < 50
    assert timed_choice._width(cell, outline) == 32
