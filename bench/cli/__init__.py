"""The command line. This module imports click alone, so that help is instant; each verb's
module is imported when the verb is used."""

from __future__ import annotations

import codecs
import errno
import importlib
import io
import os
import sys
from typing import Any

import click

from prunebench import __version__

VERBS = {
    "demo": ("run:demo", "Train and rank a small grid on handwritten digits."),
    "run": ("run:run", "Run one cell and print its record."),
    "rerun": ("run:rerun", "Repeat a recorded run and compare the figures."),
    "grid": ("run:grid", "Run a grid file: methods x noise x ratios x seeds."),
    "tune": ("tune:tune", "Search a method's options on a validation split."),
    "status": ("status:status", "Show how far grids are, and what is wrong with a folder."),
    "list": ("picking:list_records", "List a folder's runs: key, method, recipe, accuracy."),
    "drop": ("picking:drop", "Move runs to quarantine, after showing which."),
    "methods": ("inspect:methods", "List the pruning methods."),
    "datasets": ("inspect:datasets", "List the data sets."),
    "data": ("data:data", "Fetch, verify or pack the files of a data set."),
    "leaderboard": (
        "leaderboard:leaderboard",
        "Render tables of results folders, or merge them.",
    ),
    "site": ("site:site", "Join published boards into a site with search and filters."),
    "report": ("report:report", "Write one page of what reviewers of pruning papers ask for."),
    "compare": ("leaderboard:compare", "Compare two rows of a leaderboard cell by cell."),
    "reproduce": ("reproduce:reproduce", "Set our numbers beside a paper's printed ones."),
    "audit": ("leaderboard:audit", "Look for missing, doubled, mixed and suspicious records."),
    "submit": ("submit:submit", "Make a folder of your runs for a pull request."),
    "accept": ("accept:accept", "Check a submission and put it into a published board."),
    "export": ("export_sync:export", "Write scores, kept ids or tables of a run to a file."),
    "issues": ("issues:issues", "List a run's training labels, the most suspicious first."),
    "sync": ("export_sync:sync", "Rebuild the MLflow mirror from the records."),
    "ui": ("ui:ui", "Show the MLflow mirror in a browser, on this machine only."),
    "check": ("check:check", "Check that a pruning method keeps its contract."),
    "perf": ("perf:perf", "Time this installation beside plain and literal contenders."),
    "card": ("card:card", "Measure a card in one call: tests, speed, cells of a grid."),
    "doctor": ("inspect:doctor", "Check this machine and installation."),
}


#: A file system that takes nothing more is no defect of the program.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


class Interrupted(Exception):
    """Ctrl-C or SIGTERM in a verb, kept from click, which would say less."""


class Verbs(click.Group):
    """Loads a verb's module on first use."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order in which one meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Imports the verb."""
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name][0].partition(":")
        loaded = importlib.import_module(f"prunebench.bench.cli.{module}")
        command: click.Command = getattr(loaded, attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest verbs where none fits."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            from prunebench.errors import InputError, nearest

            raise InputError(f"unknown command {args[0]!r}", accepted=nearest(args[0], VERBS))
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="prunebench")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="FILE.py",
    help="Python file whose decorators register methods, data sets, models or recipes.",
)
@click.pass_context
def cli(ctx: click.Context, plugins: tuple[str, ...]) -> None:
    """Benchmark harness for data pruning under label noise.

    Example: prunebench run --dataset digits --noise symmetric:0.4 --method infobatch --ratio 0.5
    """
    ctx.obj = plugins


def main() -> None:
    """Entry point: exit codes 0 done, 1 something asked for failed, 2 wrong usage or input."""
    _speak()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Large pages for torch's large arrays: the C library gives those beyond 32 MiB back at once,
    # and small pages would be asked for anew, and zeroed, for every batch of large images.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        code = _say("stopped", 1)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)  # help, which is more than a line
        code = 2
    except click.ClickException as error:
        from prunebench.bench.cli.usage import usage_line

        code = _say(usage_line(error), 2)
    except (Interrupted, KeyboardInterrupt):
        code = _say("stopped; finished cells are recorded, the same command goes on", 1)
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except Exception as error:
        from prunebench.errors import FolderError, InputError

        if package := _absent(error):
            error = InputError(f"{package} is not installed", accepted=f"`pip install {package}`")
        if isinstance(error, InputError):
            code = _say(str(error), 2)
        elif isinstance(error, FolderError):
            code = _say(
                f"stopped: {error}; finished cells are recorded, the same command goes on", 1
            )
        elif isinstance(error, OSError) and error.errno in _FULL:
            sys.stdout = None  # what it still holds has no place to go
            code = _say(f"stopped: {error.strerror}: {error.filename or 'no file named'}", 1)
        else:
            raise
    sys.exit(code if isinstance(code, int) else 0)


def _absent(error: Exception) -> str:
    """The package that is missing here; empty where the error is another one."""
    name = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
    package = name.partition(".")[0]
    return "" if package == "prunebench" else package


#: Signs of our tables for encodings that lack them; others are spelled out.
_PLAIN = {"±": "+-", "≥": ">=", "≤": "<=", "≈": "~", "†": "+", "‡": "++", "·": ".", "×": "x",
          "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "⚠": "!", "§": "S"}  # fmt: skip


def _speak() -> None:
    """Keeps every verb from failing over a sign that the output's encoding lacks, and from sending
    a terminal control codes out of a file."""
    from prunebench.terminal import guard_output, terminal

    codecs.register_error("prunebench", _spell)
    for stream in map(terminal, (sys.stdout, sys.stderr)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="prunebench")
    guard_output()


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    plain = (_PLAIN.get(s) or s.encode("ascii", "backslashreplace").decode() for s in signs)
    return "".join(plain), error.end


def _say(line: str, code: int) -> int:
    print(f"prunebench: {' '.join(line.split())}", file=sys.stderr)
    return code
