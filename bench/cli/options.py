"""Options that several verbs share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prunebench.errors import InputError
from prunebench.options import Option
from prunebench.registry import DATASETS, REGISTRIES, load_plugin

if TYPE_CHECKING:  # these import torch; a verb's help must not wait for it
    from prunebench.bench.grids.driver import Report, Running
    from prunebench.bench.results.store import Store
    from prunebench.bench.runs.resolve import Cell

F = TypeVar("F", bound=Callable[..., Any])


def execution_options(function: F) -> F:
    """How cells are run: nothing here moves a result."""
    options = [
        click.option("--workers", "-w", type=click.IntRange(1, 1024), default=None,
                     help="Cells at once (default: the cores of this machine, the slots of its "
                          "devices, or what a Ray cluster has room for; 1 for `run`)."),
        click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True,
                     help="Intra-op threads per CPU cell; two counts do not give the same bits."),
        click.option("--device", "--devices", "devices", default="cpu", show_default=True,
                     help="Torch devices, separated by commas: cpu, cuda:0,cuda:1."),
        click.option("--slots-per-device", type=click.IntRange(1, 64), default=1,
                     show_default=True, help="Cells at once on each accelerator."),
        click.option("--lanes", type=click.IntRange(1, 64), default=1, show_default=True,
                     help="Cells that one process runs in turns on each card, in place of "
                          "--slots-per-device."),
        click.option("--compile", "compiled", is_flag=True,
                     help="The network through torch.compile: minutes per process, and results "
                          "that differ by rounding."),
        click.option("--deterministic", is_flag=True,
                     help="On a card: only algorithms that repeat their bits."),
        click.option("--no-graph", is_flag=True,
                     help="On a card: launch every operation instead of replaying a graph."),
        click.option("--checkpoint-s", type=click.FloatRange(min=0), default=30.0,
                     show_default=True, help="Seconds between checkpoints inside a run."),
        click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=None,
                     help="Seconds per cell; longer cells are stopped and recorded as failed."),
        click.option("--retry-failed", is_flag=True, help="Run failed cells again."),
        click.option("--no-mlflow", is_flag=True, help="Do not mirror into MLflow."),
        click.option("--mlflow-uri", default=None,
                     help="Tracking URI (default: mlflow.db in the results folder)."),
        click.option("--quiet", "-q", is_flag=True, help="No progress display."),
        click.option("--executor", type=click.Choice(["local", "ray"]), default="local",
                     show_default=True, help="Worker processes here, or a Ray cluster."),
        click.option("--ray-address", default=None, metavar="auto|HOST:PORT",
                     help="A running Ray cluster (default: one of its own, on this machine)."),
        click.option("--free-memory", type=click.FloatRange(min=0), default=None, metavar="GIB",
                     help="Memory to leave free: fewer cells run at once where it would be less "
                          "(default: 5 %, at most 1; 0 never waits)."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def running(ctx: click.Context, values: dict[str, Any], workers: int, inline: bool) -> Running:
    """Execution settings from the shared options, which are taken out of ``values``.

    Args:
        ctx: Of the command.
        values: What it was given.
        workers: Cells at once on CPUs, where the user does not say.
        inline: Whether cells run in this process.

    Returns:
        The settings; with ``workers`` 0 a Ray cluster decides.
    """
    from prunebench.bench.grids.driver import Running

    devices = tuple(d.strip() for d in values.pop("devices").split(","))
    executor, address = values.pop("executor"), values.pop("ray_address")
    if address and executor != "ray":
        raise InputError(f"{address!r}", where="--ray-address", accepted="with --executor ray only")
    if not address:  # another cluster may have what this machine lacks
        check_devices(devices)
    given, threads, slots = (values.pop(n) for n in ("workers", "threads", "slots_per_device"))
    lanes = values.pop("lanes")
    if lanes > 1:
        check_lanes(devices, executor, slots)
        slots, inline = lanes, False
    count = given or workers
    if not given and not inline and (address or devices != ("cpu",)):
        count = 0 if address else len(devices) * slots
    if devices == ("cpu",) and not address:
        warn_of_crowding(count, threads, given)
    free = values.pop("free_memory")
    return Running(
        workers=count,
        threads=threads,
        devices=devices,
        slots_per_device=slots,
        checkpoint_s=values.pop("checkpoint_s"),
        time_limit_s=values.pop("time_limit"),
        retry_failed=values.pop("retry_failed"),
        plugins=tuple(ctx.obj or ()),
        mlflow=not values.pop("no_mlflow"),
        mlflow_uri=values.pop("mlflow_uri"),
        quiet=values.pop("quiet"),
        inline=inline and executor == "local",
        executor=executor,
        ray_address=address,
        free_memory=None if free is None else int(free * 2**30),
        lanes=lanes,
        graph="off" if values.pop("no_graph") else "auto",
        compile=values.pop("compiled"),
        deterministic=values.pop("deterministic"),
    )


def check_lanes(devices: tuple[str, ...], executor: str, slots: int) -> None:
    """Checks that lanes are possible.

    Raises:
        InputError: They are not, or gain nothing.
    """
    accepted = "CUDA devices and local workers; on a CPU cells in turns gain nothing"
    if any(not device.startswith("cuda") for device in devices):
        raise InputError(f"lanes on {','.join(devices)}", where="--lanes", accepted=accepted)
    if executor != "local" or slots != 1:
        what = "a Ray cluster" if executor != "local" else "several slots per device"
        raise InputError(f"lanes with {what}", where="--lanes", accepted=accepted)


def warn_of_crowding(workers: int, threads: int, given: int | None) -> None:
    """Says so where cells would fight for cores: they take longer, all of them."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    if workers * threads > cores and (given or threads > 1):
        cells = f"{workers} cell{'s' * (workers > 1)} of {threads} thread{'s' * (threads > 1)}"
        print(f"warning: {cells} on {cores} cores wait for one another", file=sys.stderr)


def check_devices(devices: tuple[str, ...]) -> None:
    """Checks that every device exists.

    Raises:
        InputError: A malformed name, or a device that this machine lacks.
    """
    import torch

    for name in devices:
        try:
            device = torch.device(name)
        except RuntimeError:
            raise InputError(f"unknown device {name!r}", where="--device",
                             accepted="cpu, cuda or cuda:N") from None  # fmt: skip
        count = torch.cuda.device_count() if device.type == "cuda" else 1
        if device.type not in ("cpu", "cuda") or (device.index or 0) >= count:
            raise InputError(
                f"no device {name!r} here", where="--device",
                accepted="cpu" + "".join(f", cuda:{n}" for n in range(torch.cuda.device_count())),
            )  # fmt: skip


def load_plugins(ctx: click.Context) -> None:
    """Loads ``--plugin`` files and warns of entry points that are broken."""
    for path in ctx.obj or ():
        load_plugin(path)
    for registry in REGISTRIES:
        registry.load()
        for problem in registry.problems:
            print(f"warning: plug-in {problem.source}: {problem.error}", file=sys.stderr)


def parse_params(
    pairs: tuple[str, ...], where: str, options: Mapping[str, Option] | None = None
) -> dict[str, Any]:
    """``name=value`` pairs, each value read by the type of its option.

    Args:
        pairs: As given.
        where: The flag, for messages.
        options: What is known of the names; the value of another is read as JSON where it is, else
            as text.

    Raises:
        InputError: A pair without ``=``, or a name that comes twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{pair!r} is no pair", where=where, accepted="name=value")
        if name in values:
            raise InputError(f"{name!r} is given twice", where=where)
        values[name] = _parsed(text, (options or {}).get(name))
        if isinstance(values[name], list | dict) and where != "--recipe-param":
            raise InputError(f"{pair!r} is not accepted", where=where, accepted="a single value")
    return values


def _parsed(text: str, option: Option | None) -> Any:
    nothing = text.lower() in ("none", "null")
    if option is not None and option.type is str and text[:1] != '"':
        return None if nothing and option.optional and text not in option.choices else text
    try:
        return json.loads(text)
    except ValueError:
        return None if nothing else text


def parse_all_params(values: dict[str, Any]) -> None:
    """Reads ``--param``, ``--recipe-param`` and ``--dataset-param`` of a verb, in place, by the
    types that its method, recipe and data set give them.

    Raises:
        InputError: As ``parse_params``; an unknown method or data set.
    """
    from prunebench.bench.spec.recipe import text_options
    from prunebench.methods.compose import resolve_method

    known: dict[str, Mapping[str, Option]] = {
        "params": resolve_method(values["method"]).options,
        "recipe_params": text_options(),
        "dataset_params": dataset_options(values["dataset"]),
    }
    for field, options in known.items():
        flag = "--" + field.removesuffix("s").replace("_", "-")
        values[field] = parse_params(values[field], flag, options)


def dataset_options(text: str) -> Mapping[str, Option]:
    """Options of a data set by the name a user types.

    Raises:
        InputError: There is no such data set.
    """
    options: Mapping[str, Option] = DATASETS.get(text.partition(":")[0]).target.options
    return options


def results_folder(text: str) -> Path:
    """An existing results folder.

    Raises:
        InputError: There is none.
    """
    path = Path(text)
    if not (path / "records").is_dir():
        raise InputError("no results folder", where=text, accepted="a folder that holds records/")
    return path


def tell_faults(faults: Sequence[InputError], most: int = 10) -> int:
    """Names records that could not be read on standard error; returns the exit code."""
    for fault in faults[:most]:
        print(f"warning: left out: {fault}", file=sys.stderr)
    if len(faults) > most:
        print(f"... and {len(faults) - most} more; see `prunebench audit`", file=sys.stderr)
    return 1 if faults else 0


def tell(report: Report) -> int:
    """Prints warnings and what failed; returns the exit code."""
    from prunebench.bench.runs.job_result import OutcomeCode

    for line in report.warnings:
        print(f"warning: {line}", file=sys.stderr)
    bad = [o for o in report.outcomes if o.status in ("failed", "killed")]
    for outcome in bad[:10]:
        label = report.planned.cells[outcome.key].spec.label
        last = outcome.reason.strip().splitlines()[-1] if outcome.reason.strip() else ""
        print(f"{outcome.status}: {outcome.key} {label}: {last}", file=sys.stderr)
    if len(bad) > 10:
        print(f"... and {len(bad) - 10} more; see `prunebench status`", file=sys.stderr)
    if any(outcome.code is OutcomeCode.BAD_INPUT for outcome in bad):
        return 2
    return 1 if bad or report.failed_before else 0


def tell_edited(store: Store) -> None:
    """Says before anything trains where a plug-in has changed since it made records of a folder."""
    from prunebench.bench.results.plugin_sources import edited, is_any_loaded

    known = is_any_loaded() and store.records.is_dir()
    for line in edited(store.scan().records) if known else ():
        print(f"warning: {line}", file=sys.stderr)


def tell_mixture(store: Store, cells: Sequence[Cell], add: bool, verb: str = "grid") -> None:
    """Says before anything trains that a grid or run brings another recipe, budget or version of
    a data set into a folder that has runs of it.

    Args:
        store: The results folder.
        cells: What is to run.
        add: Whether that is wanted.
        verb: What brings them.

    Raises:
        InputError: It is not, and the folder holds runs that the grid does not name.
    """
    from prunebench.bench.grids.mixture import mixture, of_cells

    found = mixture(store, of_cells(cells), verb)
    if found and found.foreign and not add:
        raise InputError(
            found.line, where=verb,
            accepted="another --out; --add to keep both, each in tables of its own; or "
            f"`{found.drop}`, which moves the others aside",
        )  # fmt: skip
    if found:
        print(f"note: {found.line}; each gets tables of its own", file=sys.stderr)
