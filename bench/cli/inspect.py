"""Verbs that only look: methods, datasets, doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from prunebench.bench.cli.options import load_plugins
from prunebench.errors import InputError, nearest, spelled

KINDS = ("baseline", "static", "dynamic", "batch", "oracle", "sampler")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--kind", default=None, metavar="KIND", help=f"Only these: {', '.join(KINDS)}.")
@click.option(
    "--needs", multiple=True, metavar="WORD",
    help="Only methods that need it: signals, features, ssl, reference, strong, none, ...",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print full cards as JSON.")
@click.pass_context
def methods(
    ctx: click.Context, names: tuple[str, ...], kind: str | None, needs: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """List the pruning methods, or show the cards of some with all their options.

    A sampler (--kind sampler) goes with every method that is one score: SCORE@SAMPLER.

    Example: prunebench methods --kind static --needs features
    """
    load_plugins(ctx)
    if names and (kind or needs):
        raise InputError("names and filters", where="methods", accepted="one of the two")
    cards = [_named(name) for name in names] if names else _filtered(kind, needs)
    if as_json:
        print(json.dumps(cards, indent=2))
        return
    if names:
        for card in cards:
            _card(card)
        return
    rows = [
        (c["name"], c["kind"] + ", provisional" * bool(c.get("provisional")), c["side"],
         ", ".join(c["signals"]), c["clean_data"])
        for c in cards
    ]  # fmt: skip
    _table(("name", "kind", "keeps", "needs", "clean labels"), rows)
    print("`prunebench methods NAME` shows paper, cost and options.")
    if kind is None and not needs:
        from prunebench.methods.compose import scores
        from prunebench.registry import SAMPLERS

        print(f"Samplers ({', '.join(SAMPLERS.names())}) keep by any of the scores "
              f"{', '.join(info.name for info in scores())}: `el2n@strata`.")  # fmt: skip


def _named(name: str) -> dict[str, Any]:
    """The card of a method or a sampler."""
    from prunebench.bench.reports.cards import method_card, sampler_card
    from prunebench.methods.compose import list_methods, resolve_method
    from prunebench.registry import METHODS, SAMPLERS, UnknownName

    if name in SAMPLERS.names() and name not in METHODS.names():
        return sampler_card(SAMPLERS.get(name))
    try:
        return method_card(resolve_method(name))
    except UnknownName as error:
        if "@" in name:
            raise
        known = [info.name for info in list_methods()] + SAMPLERS.names()
        raise UnknownName(error.what, accepted=nearest(name, known)) from None


def _filtered(kind: str | None, needs: tuple[str, ...]) -> list[dict[str, Any]]:
    """The cards of a kind, and of methods that need all of some words.

    Raises:
        InputError: An unknown kind or word.
    """
    from prunebench.bench.checks.reads import NEEDS, needs_of
    from prunebench.bench.reports.cards import method_card, method_infos, sampler_cards

    if kind is not None and kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}", where="--kind", accepted=nearest(kind, KINDS))
    for word in needs:
        if word not in NEEDS:
            raise InputError(f"unknown need {word!r}", where="--needs",
                             accepted=nearest(word, NEEDS, len(NEEDS)))  # fmt: skip
    if kind == "sampler":
        if needs:
            raise InputError(
                "a sampler and --needs",
                where="--needs",
                accepted="a kind of method: what is needed comes from the score",
            )
        return sampler_cards()
    chosen = [info for info in method_infos() if kind in (None, info.kind)]
    return [method_card(info) for info in chosen if not needs or needs_of(info).issuperset(needs)]


def _card(card: dict[str, Any]) -> None:
    fields = ("name", "title", "kind", "provisional", "side", "signals", "cost", "clean_data",
             "paper", "repository")  # fmt: skip
    values = {n: card.get(n, "") for n in fields}
    shown = {n: ", ".join(v) if isinstance(v, list) else v for n, v in values.items()}
    _table(("", ""), [(name, value) for name, value in shown.items() if value])
    if card["options"]:
        _table(
            ("option", "default", "accepted", "meaning"),
            [
                (name, json.dumps(o["default"]), o["accepted"], o["help"])
                for name, o in card["options"].items()
            ],
        )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def datasets(ctx: click.Context, as_json: bool) -> None:
    """List the data sets and their options.

    Example: prunebench datasets
    """
    load_plugins(ctx)
    from prunebench.bench.reports.cards import dataset_cards

    cards = dataset_cards()
    if as_json:
        print(json.dumps(cards, indent=2))
        return
    rows = [(c["usage"], c["summary"], ", ".join(c["options"])) for c in cards]
    _table(("name", "what", "options"), rows)


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from prunebench.bench.cli.terminal_tables import console

    table = Table(box=SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(spelled(str(cell), keep="\n")) for cell in row))
    console().print(table)


@click.command()
@click.option("--out", default=None, help="Also check that this results folder can be written.")
@click.option("--quick", is_flag=True, help="Leave out what takes seconds: the speed of bf16.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def doctor(ctx: click.Context, out: str | None, quick: bool, as_json: bool) -> None:
    """Check Python, torch, the tracking stack, plug-ins and a results folder.

    Exit code 1 if something is broken; MLflow and Optuna may be missing, and the line says what
    will not work without them. On a processor with units for bf16, a few seconds of training say
    how much faster precision=bf16 is on it.

    Example: prunebench doctor
    """
    from prunebench.bench.reports.doctor import checks
    from prunebench.bench.results.environment import bf16_units

    more = {"bf16": _bf16} if bf16_units() and not quick else {}
    found = checks(Path(out) if out else None, tuple(ctx.obj or ()), more)
    if as_json:
        print(json.dumps([{"check": c.name, "ok": c.ok, "detail": c.detail} for c in found],
                         indent=2))  # fmt: skip
    else:
        for check in found:
            print(f"{check.word:<4}  {check.name:<22} {check.detail}")
    ctx.exit(0 if all(check.ok for check in found) else 1)


def _bf16() -> str:
    from prunebench.bench.perf.bf16 import bf16_gain

    gain = bf16_gain()
    return gain.text if gain else ""
