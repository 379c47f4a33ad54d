"""The verb that times this installation on this machine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prunebench.bench.perf.result import Result


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="A benchmark; may be repeated.")
@click.option("--list", "listed", is_flag=True, help="List the benchmarks and stop.")
@click.option(
    "--repeats",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Turns of every contender that count.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--n",
    type=click.IntRange(100, 10_000_000),
    default=50_000,
    show_default=True,
    help="Training images.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Threads of this process; cells run on one by default.",
)
@click.option(
    "--compile", "compiled", is_flag=True, help="Let the compiled network take part; takes minutes."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Write perf.json and perf.md there.",
)
@click.pass_context
def perf(
    ctx: click.Context, only: tuple[str, ...], listed: bool, repeats: int, device: str, n: int,
    threads: int, compiled: bool, as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Time data path, step, epoch, whole runs and memory beside plain contenders.

    Contenders take turns in one process; ratios of medians, their spread, and whether the
    project's goals are met here. On a card the contenders are those of its own benchmark.

    Example: prunebench perf --only data-path --only step --out perf/
    """
    from prunebench.bench.perf.suite import BENCHMARKS, chosen

    if listed:
        width = max(map(len, BENCHMARKS))
        for name, (_, line) in BENCHMARKS.items():
            print(f"{name:<{width}}  {line}")
        return
    names = chosen(only)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from prunebench.bench.cli.options import check_devices

    check_devices((device,))
    if device.startswith("cuda"):
        ctx.exit(_on_card(device, n, repeats, out, only))
    if out is not None:
        _writable(out)
    report = _measured(names, repeats, n, threads, compiled, as_json)
    from prunebench.bench.perf.page import markdown

    if out is not None:
        (out / "perf.json").write_text(json.dumps(report, indent=1) + "\n")
        (out / "perf.md").write_text(markdown(report), encoding="utf-8")
    if as_json:
        print(json.dumps(report, indent=1))
        return
    _show(report)


def _measured(
    names: Sequence[str], repeats: int, n: int, threads: int, compiled: bool, quiet: bool
) -> dict[str, Any]:
    from prunebench.bench.perf.suite import find, report
    from prunebench.bench.perf.workload import Settings

    def note(name: str, found: Sequence[Result]) -> None:
        figures = [f for result in found for f in result.figures if f.goal is not None]
        missed = sum(not f.met for f in figures)
        line = f"{len(figures)} goals, {missed} missed" if figures else "done"
        print(f"{name}: {line}", file=sys.stderr, flush=True)

    settings = Settings(repeats=repeats, n=n, threads=threads, compile=compiled)
    benchmarks = {name: find(name) for name in names}
    return report(benchmarks, settings, (lambda name, found: None) if quiet else note)


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{error.strerror}: {out}", where="--out", accepted="a folder that can be made"
        ) from None


def _show(report: dict[str, Any]) -> None:
    from rich.table import Table

    from prunebench.bench.cli.terminal_tables import console
    from prunebench.bench.perf.page import figure_rows, where

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("benchmark", "figure", "value", "pairs", "goal"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    for row in figure_rows(report):
        table.add_row(*row)
    out = console()
    out.print(table)
    out.print(where(report), markup=False, soft_wrap=True)
    for note in {note: None for result in report["results"] for note in result["notes"]}:
        out.print(f"- {note}", markup=False, soft_wrap=True)


def _on_card(device: str, n: int, repeats: int, out: Path | None, only: tuple[str, ...]) -> int:
    from prunebench.bench.perf import cuda

    if only:
        raise InputError(
            f"--device {device} takes all contenders of the card's own benchmark",
            where="--only", accepted="with --device cpu",
        )  # fmt: skip
    if out is None:
        raise InputError("missing", where="--out", accepted="a folder, with --device cuda")
    _writable(out)
    return cuda.main(
        ["--device", device, "--images", str(n), "--repeats", str(repeats), "--out", str(out)]
    )
