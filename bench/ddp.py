"""One run on several processes or cards:
``torchrun --nproc_per_node=2 -m prunebench.bench.ddp run ...`` (or ``rerun``, ``grid``).

Process 0 is the command line as it always is; the others follow its training.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from prunebench.errors import InputError

VERBS = ("run", "rerun", "grid")


def check_words(words: list[str]) -> list[str]:
    """Checks the command and returns the plug-in files it names.

    Raises:
        InputError: A verb that does not train, or options that start processes of their own.
    """
    plugins: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        flag, equals, value = rest.pop(0).partition("=")
        if flag == "--plugin" and (equals or rest):
            plugins.append(value if equals else rest.pop(0))
    if not rest or rest[0] not in VERBS:
        raise InputError(
            repr(rest[0]) if rest else "no command",
            where="prunebench.bench.ddp",
            accepted=", ".join(VERBS),
        )
    for word in rest:
        flag = word.partition("=")[0]
        if flag in ("--workers", "--time-limit", "--slots-per-device") or word.startswith("-w"):
            raise InputError(
                f"{flag} does not go with several processes of one run",
                where="prunebench.bench.ddp",
                accepted="one cell at a time, without a limit",
            )
        if word.startswith("cuda:") or (flag == "--device" and ":" in word):
            raise InputError(
                word, where="--device", accepted="cpu, or cuda: each process takes its own card"
            )
    return plugins


def main() -> int:
    """Entry point; exit codes as of the command line."""
    from prunebench.bench.train.distributed import world

    words = sys.argv[1:]
    os.environ["PRUNEBENCH_INLINE"] = "1"
    rank = os.environ.get("RANK", "0")
    try:
        plugins = check_words(words)
        if world.start().rank == 0:
            return _lead(words)
        return _follow(plugins)
    except InputError as error:
        # Each process has checked the same words; one line is enough for all.
        if rank == "0" or isinstance(error, world.Lost) or world.current().rank:
            print(f"prunebench: process {rank}: {error}", file=sys.stderr)
        return 2


def _lead(words: list[str]) -> int:
    from prunebench.bench import cli
    from prunebench.bench.train.distributed import world

    if not world.current().is_single:
        words = [*words, "--workers", "1"]
    sys.argv = ["prunebench", *words]
    code = 1
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    if world.current().is_single:
        return code
    if not world.abandoned():
        world.broadcast_job(None)
        world.finish()
        return code
    # The others may wait inside a step for ever: torchrun ends them when this one fails.
    return _leave(code or 1)


def _leave(code: int) -> NoReturn:
    """Ends this process without waiting for the group."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _follow(plugins: list[str]) -> int:
    from prunebench.bench.runs.followers import follow
    from prunebench.bench.train.distributed import world
    from prunebench.registry import load_plugin

    for path in plugins:
        load_plugin(path)
    try:
        follow()
    except KeyboardInterrupt:
        _leave(1)
    world.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
