"""Options that several verbs share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prunebench.bench.spec.execution import ExecutionOptions, Flag, check_deterministic
from prunebench.errors import InputError
from prunebench.options import Option
from prunebench.registry import DATASETS, REGISTRIES, load_plugin

if TYPE_CHECKING:  # these import torch; a verb's help must not wait for it
    from prunebench.bench.grids.driver import Report
    from prunebench.bench.results.store import Store
    from prunebench.bench.runs.cell import Cell

F = TypeVar("F", bound=Callable[..., Any])


def execution_options(function: F) -> F:
    """How cells are run, from the fields of ``ExecutionOptions``: nothing here moves a result."""
    for name, (flag, default) in reversed(ExecutionOptions.flags().items()):
        switch = flag.is_switch
        function = click.option(
            *flag.names, name, type=_click_type(flag), is_flag=switch, default=default,
            show_default=not switch and default is not None, metavar=flag.metavar,
            help=flag.help,
        )(function)  # fmt: skip
    return function


def _click_type(flag: Flag) -> click.ParamType[Any] | None:
    if flag.choices:
        return click.Choice(flag.choices)
    if flag.number is None:
        return None
    if flag.number is int:
        return click.IntRange(flag.low, flag.high)
    return click.FloatRange(flag.low, flag.high, min_open=flag.above)


def options_for_execution(
    ctx: click.Context, values: dict[str, Any], workers: int, inline: bool
) -> ExecutionOptions:
    """How to execute, from the shared options, which are taken out of ``values``.

    Args:
        ctx: Of the command.
        values: What it was given.
        workers: Cells at once on CPUs, where the user does not say.
        inline: Whether cells run in this process.

    Returns:
        The options; with ``workers`` 0 a Ray cluster decides.

    Raises:
        InputError: Options that exclude one another, or a device that this machine lacks.
    """
    asked = values.pop("workers")
    given: dict[str, Any] = {"workers": asked or workers}
    for name, (flag, _) in ExecutionOptions.flags().items():
        if name in values:
            given[name] = flag.read(values.pop(name))
    options = ExecutionOptions(**given, plugins=tuple(ctx.obj or ()))
    devices, address, slots = options.devices, options.ray_address, options.slots_per_device
    if address and options.executor != "ray":
        raise InputError(f"{address!r}", where="--ray-address", accepted="with --executor ray only")
    if not address:  # another cluster may have what this machine lacks
        check_devices(devices)
        if options.deterministic and any(name.startswith("cuda") for name in devices):
            check_deterministic()
    if options.lanes > 1:
        check_lanes(devices, options.executor, slots)
        slots, inline = options.lanes, False
    count = options.workers
    if not asked and not inline and (address or devices != ("cpu",)):
        count = 0 if address else len(devices) * slots
    if devices == ("cpu",) and not address:
        warn_of_crowding(count, options.threads, asked)
    inline = inline and options.executor == "local"
    return replace(options, workers=count, slots_per_device=slots, inline=inline)


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
        if isinstance(values[name], list | dict) and where not in (
            "--recipe-param",
            "--scoring-param",
        ):
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
    """Reads ``--param``, ``--recipe-param``, ``--scoring-param``, ``--dataset-param`` and
    ``--corrupt-param`` of a verb, in place, by the types that its method, recipes and data set
    give them.

    Raises:
        InputError: As ``parse_params``; an unknown method or data set.
    """
    from prunebench.bench.spec.recipe import text_options
    from prunebench.methods.compose import resolve_method

    known: dict[str, Mapping[str, Option]] = {
        "params": resolve_method(values["method"]).options,
        "recipe_params": text_options(),
        "dataset_params": dataset_options(values["dataset"]),
        "corrupt_params": {},
        "noise_params": {},
    }
    if "scoring_params" in values:
        known["scoring_params"] = text_options()
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


def report_faults(faults: Sequence[InputError], most: int = 10) -> int:
    """Names records that could not be read on standard error; returns the exit code."""
    for fault in faults[:most]:
        print(f"warning: left out: {fault}", file=sys.stderr)
    if len(faults) > most:
        print(f"... and {len(faults) - most} more; see `prunebench audit`", file=sys.stderr)
    return 1 if faults else 0


def report_cells(report: Report) -> int:
    """Prints warnings and what failed; returns the exit code."""
    from prunebench.bench.runs.job_result import OutcomeCode

    for line in report.warnings:
        print(f"warning: {line}", file=sys.stderr)
    bad = [o for o in report.outcomes if o.status in ("failed", "killed")]
    for outcome in bad[:10]:
        label = report.planned.cells[outcome.key].shown
        last = outcome.reason.strip().splitlines()[-1] if outcome.reason.strip() else ""
        print(f"{outcome.status}: {outcome.key} {label}: {last}", file=sys.stderr)
    if len(bad) > 10:
        print(f"... and {len(bad) - 10} more; see `prunebench status`", file=sys.stderr)
    if any(outcome.code is OutcomeCode.BAD_INPUT for outcome in bad):
        return 2
    return 1 if bad or report.failed_before else 0


def warn_edited(store: Store) -> None:
    """Says before anything trains where a plug-in has changed since it made records of a folder."""
    from prunebench.bench.results.plugin_sources import edited, is_any_loaded

    known = is_any_loaded() and store.records.is_dir()
    for line in edited(store.scan().records) if known else ():
        print(f"warning: {line}", file=sys.stderr)


def warn_mixture(store: Store, cells: Sequence[Cell], add: bool, verb: str = "grid") -> None:
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
