"""An MLflow server that is down or never answers: no cell waits, one line, and `sync` mends it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.tracking import BackgroundMirror
from prunebench.bench.tracking.database import default_uri
from prunebench.bench.tracking.sync import default_experiment
from support.command import figures, prunebench
from support.faults import Child, one_line, tiny_grid
from support.processes import free_port, silent_server

METHODS = ["random", "full"]


def mirrored(root: Path) -> dict[str, str]:
    """Record digest by key, read with MLflow's own client."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=default_uri(root))
    experiment = client.get_experiment_by_name(default_experiment(root))
    assert experiment is not None
    tags = [run.data.tags for run in client.search_runs([experiment.experiment_id])]
    return {tag["cell_key"]: tag["record_digest"] for tag in tags}


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm")
    toml = tiny_grid(folder / "g.toml", METHODS)
    os.environ["PRUNEBENCH_INLINE"] = "1"
    try:
        words = ["--out", folder / "calm", "--no-mlflow", "-q", "-w", "1"]
        assert prunebench("grid", toml, *words).code == 0
    finally:
        del os.environ["PRUNEBENCH_INLINE"]
    import mlflow.tracking  # noqa: F401  # once here, and not once in every child

    return toml, folder / "calm"


def run(toml: Path, root: Path, port: int, patience: float, **environment: str):
    """The grid with a server at a port; the driver waits for it at the end for a while."""

    def before() -> None:
        os.environ.update(PRUNEBENCH_INLINE="1", **environment)
        BackgroundMirror.close.__defaults__ = (patience,)

    uri = f"http://127.0.0.1:{port}"
    words = ["--out", root, "--mlflow-uri", uri, "-q", "-w", "1"]
    return Child("grid", toml, *words, before=before).wait()


def mended(root: Path, undisturbed: Path) -> None:
    assert figures(root) == figures(undisturbed)
    said = prunebench("sync", root)
    assert said.code == 0, said.err
    assert said.out.startswith("2 runs written, 0 unchanged")
    records = Store(root).scan().records
    assert mirrored(root) == {record.key: record.digest for record in records}


def test_a_server_that_is_down_costs_one_line(calm, tmp_path):
    toml, undisturbed = calm
    said = run(toml, tmp_path / "r", free_port(), 60.0,
               MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")  # fmt: skip
    assert said.code == 0
    (line,) = said.err.strip().splitlines()
    assert line.startswith("warning: MLflow: 2 runs not mirrored (")
    assert line.endswith("`prunebench sync` writes them")
    assert "Traceback" not in said.err
    assert figures(tmp_path / "r") == figures(undisturbed)


def test_no_cell_waits_for_a_server_that_never_answers(calm, tmp_path):
    """A request would wait for ten minutes; the grid is done long before the first one is."""
    toml, undisturbed = calm
    begin = time.monotonic()
    with silent_server() as port:
        said = run(toml, tmp_path / "r", port, 2.0, MLFLOW_HTTP_REQUEST_TIMEOUT="600")
    assert time.monotonic() - begin < 120
    assert said.code == 0
    assert "warning: MLflow: 2 runs not mirrored (not finished after 2 s)" in said.err
    mended(tmp_path / "r", undisturbed)


def test_sync_with_a_server_that_is_down_is_one_line(calm):
    _, undisturbed = calm

    def before() -> None:
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

    uri = f"http://127.0.0.1:{free_port()}"
    said = Child("sync", undisturbed, "--mlflow-uri", uri, before=before).wait()
    assert said.code == 1
    assert one_line(said).startswith("prunebench: MLflow sync stopped:")


def test_a_damaged_database_costs_one_line_and_is_rebuilt_once_it_is_gone(calm, tmp_path):
    toml, undisturbed = calm
    root = tmp_path / "r"
    root.mkdir()
    (root / "mlflow.db").write_bytes(b"torn" * 5000)

    def before() -> None:
        os.environ["PRUNEBENCH_INLINE"] = "1"

    said = Child("grid", toml, "--out", root, "-q", "-w", "1", before=before).wait()
    assert said.code == 0
    fault = f"{root / 'mlflow.db'}: is no SQLite database"
    assert f"2 runs not mirrored ({fault}" in said.err
    said = Child("sync", root).wait()
    assert said.code == 2
    assert one_line(said).startswith(f"prunebench: {fault}")
    (root / "mlflow.db").unlink()
    mended(root, undisturbed)
