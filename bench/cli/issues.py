"""The verb that lists suspicious labels."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from prunebench.bench.cli.onerun import one_run, one_run_options
from prunebench.bench.cli.options import (
    dataset_options,
    execution_options,
    load_plugins,
    options_for_execution,
    parse_params,
)
from prunebench.errors import InputError


@click.command()
@one_run_options
@click.option(
    "--dataset-param",
    "dataset_params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Where the data are here, when the record's data set needs a path.",
)
@click.option("--top", type=click.IntRange(1), default=None, help="The most suspicious N only.")
@click.option("--to", default=None, metavar="FILE", help="A CSV file (default: standard output).")
@execution_options
@click.pass_context
def issues(ctx: click.Context, /, **values: Any) -> None:
    """List the labels of a run's training split, the most suspicious first.

    The quality of a label is the mean probability that a network trained on all labels gives it
    over the epochs; such a run is made where the folder lacks it. Columns: id, given_label,
    predicted_label, label_quality (0 to 1, low is suspicious), is_label_issue, score.

    Example: prunebench issues results/demo --method random --noise symmetric:0.4 --ratio 0.5
    --seed 0 --top 20
    """
    load_plugins(ctx)
    from prunebench.bench.runs.choosing import label_issues
    from prunebench.bench.runs.rerun import recorded_cell

    store, record = one_run(values)
    to, top = values.pop("to"), values.pop("top")
    known = dataset_options(record.spec["dataset"]["name"])
    where = parse_params(values.pop("dataset_params"), "--dataset-param", known)
    settings = replace(options_for_execution(ctx, values, 1, inline=True), mlflow=False)
    table = label_issues(recorded_cell(record, where), store, settings)
    text = table.head(top or len(table)).to_csv(index=False, float_format="%.6f")
    if to is None:
        sys.stdout.write(text)
        return
    try:
        Path(to).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=to) from None
    suspicious = int(table["is_label_issue"].sum())
    print(f"wrote {to}: {suspicious} of {len(table)} labels are suspicious", file=sys.stderr)
