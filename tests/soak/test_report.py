"""The grid that fills every section of the report, trained, reported and opened in a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.browser import browser, why_no_browser
from support.command import command, process


@pytest.mark.soak
def test_the_grid_of_the_report_fills_every_section(tmp_path: Path) -> None:
    root = tmp_path / "r"
    done = process(command("grid", "report-digits", "--out", root, "--workers", "2",
                           "--no-mlflow", "--quiet"), OMP_NUM_THREADS="1")  # fmt: skip
    assert done.code == 0, done.err
    said = process(command("report", root), OMP_NUM_THREADS="1")
    assert said.code == 0, said.err
    text = (root / "report" / "report.md").read_text("utf-8")
    assert "Nothing to show here yet" not in text
    assert "Not shown:" not in text
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[2:]
    assert len(parts) == 6
    for part in parts:
        assert "\n- " in part, part[:80]
        assert "](tables/" in part, part[:80]
        assert "](figures/" in part, part[:80]
    # What this noise does to these methods is no close call.
    kept = parts[0]
    assert re.search(r"^- digits\. Larger share .* infobatch \(\+", kept, re.MULTILINE)
    assert re.search(r"^- digits\. Smaller share .* small-loss \(-", kept, re.MULTILINE)
    if why_no_browser():
        return
    with browser(tmp_path / "profile") as page:
        for width in (1400, 390):
            page.open(root / "report" / "report.html", width=width)
            assert page.overflow() == 0
            assert page.console() == []
            page.run("document.querySelectorAll('img').forEach(i => i.loading = 'eager');return 1")
            shown = page.run(
                "return Promise.all([...document.images].map(i => i.decode()))"
                ".then(() => [...document.images].map(i => i.naturalWidth > 0))"
            )
            assert len(shown) >= 8
            assert all(shown)
        assert {one.partition(":")[0] for one in page.requests()} <= {"file", "data"}
