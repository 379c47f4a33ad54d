"""Tuned rows of a grid: which methods take a pinned file, and what is refused as leakage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prunebench.bench.grids.pinned import Pinned, read_pinned
from prunebench.bench.runs.cell import Cell
from prunebench.errors import InputError
from prunebench.methods.compose import resolve_method
from prunebench.untrusted import user_path


def tuned_rows(
    files: Sequence[str], methods: Sequence[str], transfer: bool, where: str
) -> dict[str, list[Pinned]]:
    """The pinned files of each method of a grid.

    Args:
        files: Paths, relative to the grid file's folder or to the working directory.
        methods: As the grid names them.
        transfer: Whether a file may serve the method's other variants, with or without ``+align``
            or ``+bls``, where they have all of its options.
        where: The grid file.

    Raises:
        InputError: A file that cannot be used, or that none of the methods takes.
    """
    found: dict[str, list[Pinned]] = defaultdict(list)
    for name in files:
        beside = user_path(Path(where).parent / name, f"{where}: tuned")
        pinned = read_pinned(beside if beside.is_file() else name)
        takers = [method for method in methods if resolve_method(method).name == pinned.method]
        if not takers and transfer:
            target = resolve_method(pinned.method).target
            takers = [
                method for method, info in ((method, resolve_method(method)) for method in methods)
                if info.target is target and pinned.params.keys() <= info.options.keys()
            ]  # fmt: skip
        if not takers:
            raise InputError(
                f"{name} holds options of {pinned.method!r}, which is not in 'method'",
                where=f"{where}: tuned",
                accepted=f"{pinned.method} in 'method', so that its default is beside it"
                + ("" if transfer else ", or transfer = true for its variant"),
            )
        for method in takers:
            found[method].append(pinned)
    return found


def admit(cell: Cell, pinned: Pinned, transfer: bool, where: str) -> Cell:
    """A cell with a pinned file's options, marked by its origin.

    Raises:
        InputError: A seed that the study saw; or another data set, method or criterion without
            ``transfer``.
    """
    spec, body = cell.spec, pinned.body
    foreign = [
        (what, mine, theirs)
        for what, mine, theirs in (
            ("data set", spec.dataset.model_dump(mode="json"), body["dataset"]),
            ("method", spec.method.name, pinned.method),
            ("criterion", spec.criterion.model_dump(mode="json"), body["criterion"]),
        )
        if mine != theirs
    ]
    if foreign and not transfer:
        what, mine, theirs = foreign[0]
        names = [value["name"] if isinstance(value, dict) else value for value in (theirs, mine)]
        shown = f"{names[0]}, not {names[1]}" if names[0] != names[1] else f"another {names[0]}"
        raise InputError(
            f"{pinned.path.name} was tuned on {what} {shown}",
            where=f"{where}: tuned",
            accepted="what it was tuned on, or transfer = true",
        )
    origin = pinned.origin(transfer=bool(foreign))
    if spec.seed in origin.seeds:
        raise InputError(
            f"seed {spec.seed} was seen by the study of {pinned.path.name}",
            where=f"{where}: seed",
            accepted="seeds that tuning has not used",
        )
    return replace(cell, spec=spec.replace(tuned=origin))
