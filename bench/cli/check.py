"""The verb that tests a method against its contract."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from prunebench.bench.cli.options import load_plugins, parse_params


@click.command()
@click.argument("target", metavar="NAME|module:Class|file.py")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="Option of the method."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def check(ctx: click.Context, target: str, params: tuple[str, ...], as_json: bool) -> None:
    """Check that a pruning method keeps its contract; needs no data and takes seconds.

    Exit code 1 if a check fails, 2 if the target does not exist.

    Example: prunebench check my_package.pruner:MyPruner --param r=0.5
    """
    load_plugins(ctx)
    import torch

    from prunebench.bench.checks import check_method
    from prunebench.bench.checks.subject import known_options

    torch.set_num_threads(1)
    sys.path.append(os.getcwd())  # for module:Class, after everything that is installed
    report = check_method(target, parse_params(params, "--param", known_options(target)))
    if as_json:
        results: list[dict[str, Any]] = [vars(result) for result in report.results]
        print(json.dumps({"name": report.name, "ok": report.ok, "results": results}, indent=2))
        ctx.exit(0 if report.ok else 1)
    words = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}
    width = max(len(result.check) for result in report.results)
    for result in report.results:
        print(f"{words[result.status]}  {result.check:<{width}}  {result.detail}".rstrip())
    count = {word: sum(r.status == word for r in report.results) for word in words}
    line = ", ".join(f"{n} {word}" for word, n in count.items() if n)
    print(f"{report.name}: {line} in {report.seconds:.1f} s")
    ctx.exit(0 if report.ok else 1)
