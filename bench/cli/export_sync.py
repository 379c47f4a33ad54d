"""Verbs that move data out of a results folder: export, sync."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from prunebench.bench.cli.onerun import one_run, one_run_options
from prunebench.bench.cli.options import dataset_options, load_plugins, parse_params, results_folder
from prunebench.errors import InputError
from prunebench.files import OwnFolder


@click.command()
@one_run_options
@click.option(
    "--what",
    type=click.Choice(["scores", "kept", "visits", "epochs", "classes", "predictions", "training"]),
    default="scores",
    show_default=True,
    help="What to write; training is what the run trained on: split, label, flip and visits of "
    "every sample.",
)
@click.option("--list", "listing", is_flag=True, help="Print what the run holds; write nothing.")
@click.option(
    "--to",
    default=None,
    metavar="FILE",
    help="File (default: standard output): CSV; for --what kept, .npy or .json where it ends so.",
)
@click.option(
    "--dataset-param",
    "dataset_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="For training: where the data lie here, when the run's data set needs a path.",
)
@click.pass_context
def export(
    ctx: click.Context, /, what: str, listing: bool, to: str | None,
    dataset_params: tuple[str, ...], **chosen: Any,
) -> None:  # fmt: skip
    """Write scores, kept sample ids, visits or tables of a run as CSV; kept ids as .npy or .json
    too.

    The run is named by its KEY, or by fields that only one run of RESULTS has. Sample ids are those
    of the original training split.

    Example: prunebench export results/demo --method small-loss --noise clean --ratio 0.5 --seed 0
    --what kept --to kept.csv
    """
    from prunebench.bench.runs.export import WHATS, export_csv, holdings, ids_file

    store, record = one_run(chosen)
    if listing:
        held = holdings(store, record)
        print("\n".join(f"{name:<11}  {WHATS[name]}" for name in held) or "nothing")
        return
    data: dict[str, Any] = {}
    if what == "training":
        load_plugins(ctx)
        known = dataset_options(str(record.spec["dataset"]["name"]))
        data = parse_params(dataset_params, "--dataset-param", known)
    if what != "kept" and to is not None and to.endswith((".npy", ".json")):
        raise InputError(f"--what {what} as {Path(to).suffix}", where=f"--to {to}",
                         accepted="a CSV file, or --what kept")  # fmt: skip
    text = export_csv(store, record.key, what, data)
    if to is None:
        sys.stdout.write(text)
        return
    content = ids_file(text, to) if what == "kept" else text.encode()
    try:
        target, root = Path(os.path.abspath(to)), store.root.absolute()
        if target.is_relative_to(root):
            OwnFolder(root).write(target, content)
        else:
            Path(to).parent.mkdir(parents=True, exist_ok=True)
            Path(to).write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=to) from None
    print(f"wrote {to}", file=sys.stderr)


@click.command()
@click.argument("results", default="results/demo")
@click.option(
    "--mlflow-uri", default=None, help="Tracking URI (default: mlflow.db in the results folder)."
)
@click.option("--experiment", default=None, help="Experiment (default: the folder's name).")
@click.pass_context
def sync(ctx: click.Context, results: str, mlflow_uri: str | None, experiment: str | None) -> None:
    """Rebuild the MLflow mirror from the records; afterwards both agree.

    Example: prunebench sync results/demo
    """
    from prunebench.bench.results.store import Store
    from prunebench.bench.tracking import TrackingError
    from prunebench.bench.tracking import sync as rebuild

    folder = results_folder(results)
    Store(folder).check()
    scan = Store(folder).scan()
    for problem in scan.problems:
        print(f"warning: {problem.path}: {problem.reason}; not mirrored", file=sys.stderr)
    try:
        report = rebuild(folder, scan.records, mlflow_uri, experiment)
    except TrackingError as error:
        print(f"prunebench: {error}", file=sys.stderr)
        ctx.exit(1)
    print(
        f"{report.created} runs written, {report.unchanged} unchanged, "
        f"{report.superseded} superseded, {report.orphaned} without a record, "
        f"{report.reaped} left running and ended"
    )
