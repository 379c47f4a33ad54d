"""The benchmark of a card on one, or on the pretended one: captured, lanes, deterministic."""

import json

import pytest

from prunebench.bench.perf.cuda import main
from prunebench.bench.train.capture import pool

pytestmark = pytest.mark.cuda
TINY = ["--device", "cuda", "--images", "96", "--side", "8", "--width", "2", "--batch", "32",
        "--plain-images", "32", "--repeats", "1", "--half-epochs", "1"]  # fmt: skip
CONTENDERS = ["graph", "eager", "deterministic", "lanes-2"]


@pytest.mark.soak
def test_contenders_run_on_a_card_and_are_captured(tmp_path):
    before = pool.use(pool.CapturedStepPool())
    try:
        code = main([*TINY, "--out", str(tmp_path), "--contenders", ",".join(CONTENDERS)])
    finally:
        pool.use(before)
    assert code == 0
    report = json.loads((tmp_path / "cuda.json").read_text())
    training = report["results"][0]
    assert [row["name"] for row in training["rows"]] == CONTENDERS
    hows = dict(note.removeprefix("steps of ").split(": ", 1) for note in training["notes"])
    assert {hows[name] for name in ("graph", "deterministic", "lanes-2")} == {"captured"}
