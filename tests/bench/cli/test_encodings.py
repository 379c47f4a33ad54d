"""Every verb that prints, to an output whose encoding lacks its signs."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from prunebench.bench.cli import main
from support.small_grid import key_of


def printed(encoding: str, *words: str | Path) -> tuple[int, str]:
    """Exit code and standard output of the entry point, read in the encoding it was written in."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["prunebench", *map(str, words)])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as stop:
            main()
    out.flush()
    err.flush()
    assert b"Traceback" not in err.buffer.getvalue()  # type: ignore[attr-defined]
    data: bytes = out.buffer.getvalue()  # type: ignore[attr-defined]
    return int(str(stop.value.code)), data.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_no_sign_ends_a_verb(whole, copied, encoding, tmp_path):
    toml, out = whole[0], copied
    board = ("--out", tmp_path / "board")
    code, text = printed(encoding, "leaderboard", out, *board)
    assert code == 0
    assert ("+-" in text) is (encoding == "ascii"), text
    assert ("±" in text) is (encoding != "ascii")
    rows = ("random", "full", out)
    calls = [("compare", *rows), ("audit", out), ("status", out), ("methods",), ("datasets",),
             ("methods", "dual"), ("export", key_of(out, "small-loss"), out), ("--help",),
             ("grid", toml, "--out", out, "--board", "-q", "--no-mlflow")]  # fmt: skip
    for words in calls:
        code, text = printed(encoding, *words)
        assert code == 0, words
        assert text.strip()


def test_names_that_are_no_unicode_end_no_verb(copied):
    """Lone surrogates fit into no encoding at all."""
    odd = copied.parent / "r\udce9sultats"
    copied.rename(odd)
    for encoding in ("ascii", "utf-8"):
        code, text = printed(encoding, "status", odd)
        assert code == 0
        assert "\\udce9" in text
