"""One value says how runs are executed; options and worker messages come from its fields."""

from __future__ import annotations

import dataclasses
import json

import click
from click.testing import CliRunner

from prunebench.bench.cli.options import execution_options, options_for_execution
from prunebench.bench.spec.execution import ExecutionOptions


@click.command()
@execution_options
@click.pass_context
def verb(ctx: click.Context, /, **values: object) -> None:
    print(options_for_execution(ctx, values, 3, inline=False))
    assert not values


def said(*words: str) -> str:
    return CliRunner().invoke(verb, words, catch_exceptions=False).output.strip()


def test_every_field_has_an_option_but_those_that_a_verb_sets() -> None:
    names = {field.name for field in dataclasses.fields(ExecutionOptions)}
    assert names - ExecutionOptions.flags().keys() == {"inline", "plugins"}
    assert said() == repr(ExecutionOptions(workers=3))


def test_options_become_fields() -> None:
    wanted = ExecutionOptions(
        workers=2, threads=2, slots_per_device=4, compile=True, deterministic=True, graph="off",
        checkpoint_s=0.5, time_limit_s=9.0, retry_failed=True, mlflow=False, mlflow_uri="sqlite://",
        quiet=True, executor="ray", ray_address="auto", free_memory=3 << 29,
        devices=("cuda:0", "cuda:1"),
    )  # fmt: skip
    words = (
        "-w 2 --threads 2 --slots-per-device 4 --compile --deterministic --no-graph "
        "--checkpoint-s 0.5 --time-limit 9 --retry-failed --no-mlflow --mlflow-uri sqlite:// -q "
        "--executor ray --ray-address auto --free-memory 1.5 --device cuda:0,cuda:1"
    )
    assert said(*words.split()) == repr(wanted)


def test_workers_are_given_what_a_run_needs_and_no_addresses() -> None:
    options = ExecutionOptions(
        threads=4, checkpoint_s=1.0, graph="off", mlflow_uri="https://user:secret@host"
    )
    message = json.dumps(options.for_workers())
    assert "secret" not in message
    received = ExecutionOptions.of_worker({"root": "/results", **json.loads(message)})
    assert received == dataclasses.replace(options, mlflow_uri=None)
