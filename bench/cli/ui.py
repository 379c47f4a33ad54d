"""The verb that shows the MLflow mirror in MLflow's own pages, on this machine only."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from prunebench.bench.cli.options import results_folder
from prunebench.bench.tracking.database import check_database
from prunebench.errors import InputError

_GRACE_S = 5.0
#: Signs of a failed server's output that are shown.
_TOLD = 2000


@click.command()
@click.argument("results", default="results/demo")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5000,
    show_default=True,
    help="Port; a free one where it is taken, or 0.",
)
@click.option("--allow-remote", is_flag=True, help="Accept other machines; there is no password.")
@click.pass_context
def ui(ctx: click.Context, results: str, host: str, port: int, allow_remote: bool) -> None:
    """Show a results folder's MLflow mirror in a browser, until Ctrl-C.

    The pages are reachable from this machine only.

    Example: prunebench ui results/demo
    """
    from prunebench.bench.results.store import Store

    folder = results_folder(results)
    Store(folder).check()
    database = folder / "mlflow.db"
    if not database.is_file():
        raise InputError("no MLflow mirror", where=str(database),
                         accepted=f"a mirror; `prunebench sync {results}` writes it")  # fmt: skip
    if importlib.util.find_spec("mlflow") is None:
        raise InputError("MLflow is not installed", where="ui", accepted="`pip install mlflow`")
    address = _address(host)
    check_database(database, writing=True)
    if not ipaddress.ip_address(address).is_loopback:
        if not allow_remote:
            raise InputError(
                f"{host!r} is reachable from other machines", where="--host",
                accepted="127.0.0.1, or --allow-remote with it",
            )  # fmt: skip
        print(f"warning: whoever reaches {host} can read and change this mirror", file=sys.stderr)
    free = _free_port(address, port)
    if port not in (0, free):
        print(f"port {port} is taken", file=sys.stderr)
    shown = f"[{address}]" if ":" in address else address
    page = f"http://{shown}:{free}{_page(folder)}"
    ctx.exit(_serve(_command(folder, address, free), f"{page}  shows {folder}; Ctrl-C ends it"))


def _page(folder: Path) -> str:
    """Where the table of runs is; its columns are set first."""
    from prunebench.bench.tracking import view
    from prunebench.bench.tracking.client import one_line, quiet_client
    from prunebench.bench.tracking.database import default_uri
    from prunebench.bench.tracking.identity import identity
    from prunebench.bench.tracking.mirror import writer_lock
    from prunebench.bench.tracking.schema import make_whole
    from prunebench.bench.tracking.sync import default_experiment

    try:
        with writer_lock(folder):
            make_whole(folder, identity(folder), anew=False)
            return view.table_page(quiet_client(default_uri(folder)), default_experiment(folder))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"cannot be shown ({one_line(error)})", where=str(folder / "mlflow.db"),
            accepted="a mirror; deleted, `prunebench sync` makes it anew",
        ) from None  # fmt: skip


def _address(host: str) -> str:
    """The address behind a name; a name could mean another one a moment later."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(f"unknown host {host!r}", where="--host", accepted="127.0.0.1") from None
    return str(found[0][4][0])


def _free_port(address: str, wanted: int) -> int:
    """The wanted port, or a free one.

    Raises:
        InputError: The address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in (wanted, 0):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                failed = error
                continue
            return int(probe.getsockname()[1])
    raise InputError(f"cannot listen on {address} ({failed.strerror})", where="--host")


def _command(folder: Path, address: str, port: int) -> list[str]:
    from prunebench.bench.tracking.database import default_uri

    return [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", default_uri(folder),
        "--default-artifact-root", (folder.resolve() / "mlartifacts").as_uri(),
        "--no-serve-artifacts", "--host", address, "--port", str(port), "--workers", "1",
        "--uvicorn-opts", "--log-level warning --no-access-log",
    ]  # fmt: skip


def _serve(words: list[str], line: str) -> int:
    """Runs MLflow until it ends or is asked to end; none of its processes is left.

    What it prints is shown only where it fails.

    Args:
        words: The command.
        line: Printed once the server answers.
    """
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",  # it runs commands on this machine
    }

    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            words, env=environment, start_new_session=True, stdout=log, stderr=log
        )
        try:
            _wait_ready(child, line.partition("#")[0])
            if child.poll() is None:
                print(line, flush=True)
            if not child.wait():
                return 0
        except KeyboardInterrupt:
            return 0
        finally:
            signal.signal(signal.SIGTERM, before)
            _end(child)
        log.seek(0)
        text = log.read().decode(errors="replace").strip()
    print(f"prunebench: MLflow's server ended:\n{text[-_TOLD:]}", file=sys.stderr)
    return 1


def _wait_ready(child: subprocess.Popen[bytes], url: str) -> None:
    """Waits until the server answers, or has ended."""
    # A proxy of the environment would be asked for this machine, too.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while child.poll() is None:
        try:
            with opener.open(f"{url}health", timeout=_GRACE_S):
                return
        except urllib.error.HTTPError:
            return  # any answer will do
        except OSError:
            time.sleep(0.2)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends the child's whole session, by force where it ignores the signal."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, what)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_S)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE_S)
