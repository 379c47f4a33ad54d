"""The verb that tunes a method's options."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from prunebench.bench.cli.options import (
    execution_options,
    load_plugins,
    options_for_execution,
    parse_all_params,
    results_folder,
    warn_edited,
)
from prunebench.errors import InputError


@click.command()
@click.option("--dataset", default="digits", show_default=True, help="digits, packed:PATH, ...")
@click.option(
    "--noise", default="clean", show_default=True, help="clean, symmetric:0.4, instance:0.4, ..."
)
@click.option("--imbalance", default="none", show_default=True, help="none, exp:50, step:10, ...")
@click.option("--corrupt", default="none", show_default=True, help="none, gaussian-noise:0.3, ...")
@click.option("--method", default=None, help="See `prunebench methods`.")
@click.option("--ratio", type=float, default=None, help="As in `run` (default: 0.5).")
@click.option("--recipe", default=None, help="Training recipe (default: the data set's own).")
@click.option("--criterion", default="ce", show_default=True, help="ce, sop or sop+.")
@click.option(
    "--budget",
    type=click.Choice(["samples", "paper", "epochs"]),
    default=None,
    help="As in `run` (default: samples; epochs with --pareto).",
)
@click.option(
    "--reference-size",
    type=click.IntRange(min=0),
    default=None,
    help="Clean reference samples held out (default: min(1000, 7 %)).",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option that is held instead of searched; repeat for more.",
)
@click.option(
    "--recipe-param",
    "recipe_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Field of the recipe.",
)
@click.option(
    "--dataset-param",
    "dataset_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the data set.",
)
@click.option(
    "--noise-param",
    "noise_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the noise: count, seed; outside=last:K or outside=DATASET for openset.",
)
@click.option(
    "--corrupt-param",
    "corrupt_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the corruption: severity, 1 to 5 (default: 3).",
)
@click.option(
    "--trials",
    type=click.IntRange(1, 100_000),
    default=40,
    show_default=True,
    help="Configurations, the default among them.",
)
@click.option(
    "--round",
    type=click.IntRange(1, 4096),
    default=None,
    help="Configurations asked for at once (default: the workers). It belongs to the "
    "study: one round size gives one result, with any number of workers.",
)
@click.option(
    "--seeds", default=None, metavar="A..B|A,B", help="Tuning seeds (default: 1000000..1000001)."
)
@click.option(
    "--final-seeds",
    type=click.IntRange(2, 1000),
    default=3,
    show_default=True,
    help="Fresh seeds for the best three and the default.",
)
@click.option(
    "--report-seeds",
    default="0..9",
    show_default=True,
    help="Seeds of the evaluation to come; tuning keeps away from them.",
)
@click.option(
    "--validation-size",
    type=click.IntRange(min=1),
    default=None,
    help="Training samples held out for validation (default: a fifth, at most 5000).",
)
@click.option(
    "--validation-labels",
    type=click.Choice(["noisy", "clean"]),
    default="noisy",
    show_default=True,
    help="Labels of the validation split; clean ones are declared.",
)
@click.option("--pareto", is_flag=True, help="Two objectives: accuracy and trained samples.")
@click.option(
    "--fidelities",
    default="1",
    show_default=True,
    metavar="SHARES",
    help="Successive halving over complete schedules: 0.25,0.5,1.",
)
@click.option("--study", default=None, help="Name of the study (default: from what is tuned).")
@click.option(
    "--storage",
    default=None,
    metavar="URL",
    help="Optuna storage (default: a journal in the results folder).",
)
@click.option(
    "--sampler-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the study.",
)
@click.option("--out", default="results/tune", show_default=True, help="Results folder.")
@click.option(
    "--report",
    "reported",
    default=None,
    metavar="STUDY",
    help="Render the report of a finished study, test figures included.",
)
@click.option(
    "--evaluated",
    multiple=True,
    metavar="FOLDER",
    help="With --report: further results folders with evaluation runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@execution_options
@click.pass_context
def tune(ctx: click.Context, /, **values: Any) -> None:
    """Search a method's options on a validation split, and pin the best for grid files.

    Example: prunebench tune --method infobatch+align --dataset digits --noise symmetric:0.4
    --ratio 0.5 --trials 40
    """
    load_plugins(ctx)
    from prunebench.bench.results.store import Store
    from prunebench.bench.tuning.report import render
    from prunebench.bench.tuning.study import report_study

    store, as_json = Store(Path(values.pop("out"))), values.pop("as_json")
    url, reported = values.pop("storage"), values.pop("reported")
    others = [results_folder(text) for text in values.pop("evaluated")]
    if reported is not None:
        report = report_study(store, reported, url, others)
    else:
        warn_edited(store)
        report = _tune(ctx, store, url, values)
    print(json.dumps(report, indent=2, sort_keys=True) if as_json else render(report), end="")
    if as_json:
        print()


def _tune(ctx: click.Context, store: Any, url: str | None, values: dict[str, Any]) -> Any:
    from prunebench.bench.spec.run_spec import HeldOut
    from prunebench.bench.tuning.design import make_design
    from prunebench.bench.tuning.study import declared_round, study_name, tune
    from prunebench.methods.compose import resolve_method

    if values["method"] is None:
        raise InputError("no method", where="--method", accepted="see `prunebench methods`")
    inline = values["workers"] == 1
    settings = options_for_execution(ctx, values, os.cpu_count() or 1, inline=inline)
    if not settings.workers:  # a study's rounds must not depend on the cluster of the day
        raise InputError("is needed with --ray-address", where="--workers", accepted="1 or more")
    name, size = values.pop("study"), values.pop("reference_size")
    report_seeds = _numbers(values.pop("report_seeds"), "--report-seeds")
    values["seeds"] = _numbers(values["seeds"], "--seeds") if values["seeds"] else None
    values["fidelities"] = _shares(values["fidelities"])
    if values["ratio"] is None:
        values["ratio"] = 0.0 if resolve_method(values["method"]).ratios == "zero" else 0.5
    parse_all_params(values)
    if size is not None:
        values["reference"] = HeldOut(size=size)
    asked = values.pop("round")
    design = make_design(**values, round=asked or settings.workers)
    name = name or study_name(design)
    if asked is None:
        round_ = declared_round(design, store, name, url) or settings.workers
        design = make_design(**values, round=round_)

    def notify(line: str) -> None:
        if not settings.quiet:
            print(line, file=sys.stderr, flush=True)

    pinned, report = tune(design, store, settings, name, url, report_seeds, notify)
    if settings.mlflow:
        _mirror(store, settings.mlflow_uri)
    spent = report["budget"]["total"]
    notify(f"{spent:g} full trainings spent; wrote {pinned.path}")
    return report


def _mirror(store: Any, uri: str | None) -> None:
    from prunebench.bench.tracking.client import TrackingError
    from prunebench.bench.tracking.sync import sync

    try:
        sync(store.root, store.scan().records, uri)
    except TrackingError as error:
        print(f"warning: {error}; `prunebench sync` writes them", file=sys.stderr)


def _numbers(text: str, where: str) -> list[int]:
    from prunebench.bench.grids.grid_file import parse_seeds

    try:
        parts = text.split(",")
        found = [seed for part in parts for seed in parse_seeds(part)]
    except ValueError:
        found = []
    if not found or len(set(found)) < len(found):
        raise InputError(f"{text!r}", where=where, accepted="seeds such as 0..4 or 3,5")
    return found


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"{text!r}", where="--fidelities", accepted="shares such as 0.25,0.5,1"
        ) from None
