"""Verbs on the files of a data set: prepare, verify, pack."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prunebench.bench.cli.options import dataset_options, load_plugins, parse_params
from prunebench.errors import visible
from prunebench.terminal import terminal
from prunebench.untrusted import user_path

if TYPE_CHECKING:  # these import torch
    from prunebench.datasets.source import DataSource
    from prunebench.datasets.verify import Finding

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def data() -> None:
    """Fetch, verify or pack the files of a data set.

    Example: prunebench data verify cifar10n
    """


def _common(function: F) -> F:
    options = [
        click.argument("name"),
        click.option("--root", type=click.Path(file_okay=False), default=None,
                     help="Folder of the named data sets (default: $PRUNEBENCH_DATA, else data)."),
        click.option("--dataset-param", "params", multiple=True, metavar="NAME=VALUE",
                     help="Option of the data set; repeat for more."),
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def _open(ctx: click.Context, name: str, root: str | None, params: tuple[str, ...]) -> DataSource:
    from prunebench.bench.runs.resolve import open_source
    from prunebench.datasets.locate import ROOT_VARIABLE

    load_plugins(ctx)
    if root is not None:
        os.environ[ROOT_VARIABLE] = root
    return open_source(name, parse_params(params, "--dataset-param", dataset_options(name)))


@data.command()
@_common
@click.pass_context
def prepare(
    ctx: click.Context, name: str, root: str | None, params: tuple[str, ...], as_json: bool
) -> None:
    """Fetch what a library can download, then verify it.

    Files that are there stay. Exit code 1 if a download fails or a file is wrong.

    Example: prunebench data prepare cifar10n --root ~/data
    """
    from http.client import HTTPException

    source = _open(ctx, name, root, params)
    try:
        to = terminal(sys.stderr)  # a library's progress bar
        with contextlib.redirect_stdout(to), contextlib.redirect_stderr(to):
            folder = source.prepare()
    except (OSError, HTTPException, RuntimeError, ImportError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"prunebench: dataset {source.name}: cannot be fetched ({reason})", file=sys.stderr)
        ctx.exit(1)
    _tell(ctx, source, None if folder is None else str(folder), as_json)


@data.command()
@_common
@click.pass_context
def verify(
    ctx: click.Context, name: str, root: str | None, params: tuple[str, ...], as_json: bool
) -> None:
    """Compare every file with what its authors publish.

    Exit code 1 if a file is missing or differs.

    Example: prunebench data verify cifar10n
    """
    source = _open(ctx, name, root, params)
    _tell(ctx, source, None, as_json)


def _tell(ctx: click.Context, source: DataSource, folder: str | None, as_json: bool) -> None:
    from prunebench.datasets.verify import BAD, verify

    findings: list[Finding] = verify(source)
    bad = [finding for finding in findings if finding.state in BAD]
    if as_json:
        print(json.dumps({
            "dataset": source.name,
            "ok": not bad,
            **({"folder": folder} if folder else {}),
            "files": [vars(finding) for finding in findings],
        }, indent=2))  # fmt: skip
        ctx.exit(1 if bad else 0)
    for finding in findings:
        print(f"{finding.state:<9}  {finding.file}  {finding.detail}".rstrip())
    if not findings:
        print(f"{source.name} needs no files")
    ctx.exit(1 if bad else 0)


@data.command()
@_common
@click.option("--out", required=True, metavar="DIR", help="Folder for train.npz and test.npz.")
@click.pass_context
def pack(
    ctx: click.Context,
    name: str,
    root: str | None,
    params: tuple[str, ...],
    as_json: bool,
    out: str,
) -> None:
    """Write an image data set as packed files, which packed:DIR reads.

    Human labels, class names, super-classes, mean and standard deviation are packed too. JPEG and
    PNG files keep their bytes unless they are transparent or to be turned; these and anything else
    are stored lossless.

    Example: prunebench data pack cifar10n --out packed/cifar10n
    """
    from prunebench.datasets.packing import pack as write
    from prunebench.datasets.packing import summary

    source = _open(ctx, name, root, params)
    for note in source.notes():
        print(f"note: {visible(note)}", file=sys.stderr)
    packed = write(source.load(), source.name, user_path(out, "--out"))
    if as_json:
        print(json.dumps(summary(packed), indent=2))
        return
    for note in packed.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"wrote {packed.train} + {packed.test} images, {packed.size / 1e6:.1f} MB, to {out}; "
          f"read them as packed:{out}")  # fmt: skip
