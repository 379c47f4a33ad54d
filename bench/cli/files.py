"""Verbs that move data out of a results folder: export, sync."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from prunebench.bench.cli.common import results_folder
from prunebench.errors import InputError


@click.command()
@click.argument("key")
@click.option("--out", "results", default="results/run", show_default=True, help="Folder.")
@click.option(
    "--what",
    type=click.Choice(["scores", "kept", "visits", "epochs", "classes", "predictions"]),
    default="scores",
    show_default=True,
    help="What to write.",
)
@click.option("--to", default=None, metavar="FILE.csv", help="File (default: standard output).")
def export(key: str, results: str, what: str, to: str | None) -> None:
    """Write scores, kept sample ids, visits or tables of a run as CSV.

    Sample ids are those of the original training split.

    Example: prunebench export 0123456789abcdef --out results/demo --what kept --to kept.csv
    """
    from prunebench.bench.exports import export_csv
    from prunebench.bench.store import Store

    text = export_csv(Store(results_folder(results)), key, what)
    if to is None:
        sys.stdout.write(text)
        return
    try:
        Path(to).parent.mkdir(parents=True, exist_ok=True)
        Path(to).write_text(text, encoding="utf-8", newline="")
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
    from prunebench.bench.store import Store
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
