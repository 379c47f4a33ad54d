"""The browser of a file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.browser import Page, browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One tab; skip where ``why_no_browser`` says that there is none."""
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page
