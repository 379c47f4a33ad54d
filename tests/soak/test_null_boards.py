"""How many of 2,000 boards without differences have a sentence that claims one, by design."""

from __future__ import annotations

import pytest

from tests.leaderboard.findings import null_boards
from tests.leaderboard.findings.null_boards import Design, claiming, claims_one

pytestmark = pytest.mark.soak
BOARDS = 2_000


@pytest.mark.parametrize(
    "design",
    [
        pytest.param(getattr(null_boards, name), id=name.lower())
        for name in ("SMALL", "MANY_ROWS_5", "MANY_ROWS_10", "DEPENDENT", "TRANSFER")
    ],
)
def test_at_most_one_in_twenty_claims_a_difference(design: Design) -> None:
    able, claims, quiet = claiming(design, BOARDS)
    print(f"{able} of {BOARDS} boards could claim a difference, {claims} do")
    assert 0 < claims <= able
    assert claims <= 0.05 * BOARDS
    assert not any(map(claims_one, quiet))
