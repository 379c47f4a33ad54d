"""A study of forty trials in two workers, shot at three times."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from prunebench.bench.results.store import Store
from support.command import command, prunebench
from support.jobs import gone
from support.killing import children, needs_proc

TRIALS = 40
WORDS = (
    "tune", "--method", "infobatch+align", "--dataset", "digits", "--noise", "symmetric:0.4",
    "--ratio", "0.5", "--trials", str(TRIALS), "-w", "2", "--study", "soak", "-q",
)  # fmt: skip


@pytest.mark.soak
def test_forty_trials_in_two_workers_survive_three_kills(tmp_path: Path) -> None:
    needs_proc()
    root, dice = tmp_path / "r", random.Random(7)
    store, kept = Store(root), {}
    line = command(*WORDS, "--out", root)
    # Cells: 40 trials on 2 seeds, then finalists on 3.
    for records in (5, 33, 62):
        driver = subprocess.Popen(line, process_group=0)
        try:
            while driver.poll() is None:
                if store.records.is_dir() and len(store.keys()) >= records:
                    break
                time.sleep(0.02)
            time.sleep(dice.random() * 2)
            assert driver.poll() is None, "the study was done before the shot"
            workers = children(driver.pid)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        assert gone(workers, 5.0), "workers outlive their driver"
        found = {record.key: record.digest for record in store.scan().records}
        assert kept.items() <= found.items()
        kept = found
    assert subprocess.run(line, check=False).returncode == 0
    body = json.loads((root / "tuning/soak.json").read_text())
    report = json.loads((root / "tuning/soak.report.json").read_text())
    assert body["trials"]["complete"] + body["trials"]["diverged"] == TRIALS
    points = {json.dumps(row["params"], sort_keys=True) for row in report["history"]}
    assert len(points) == TRIALS
    assert not store.scan().problems
    assert set(body["records"]) == store.keys()  # nothing lost, nothing doubled

    # The choice goes to evaluation seeds, and the drop is reported.
    grid = tmp_path / "g.toml"
    grid.write_text(
        'name = "g"\ndataset = "digits"\nnoise = "symmetric:0.4"\nratio = 0.5\nseed = "0..4"\n'
        'method = ["full", "infobatch+align"]\ntuned = "r/tuning/soak.json"\n'
    )
    said = prunebench("grid", grid, "--out", root, "-w", "2", "--no-mlflow", "-q", "--board")
    assert said.code == 0, said.err
    assert "infobatch+align (tuned)" in said.out
    said = prunebench("tune", "--report", "soak", "--out", root)
    assert said.code == 0, said.err
    assert "Gain on test" in said.out
    print(said.out)
