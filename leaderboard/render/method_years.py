"""When methods of this project were published; tables do not load the methods and their cards."""

from __future__ import annotations

from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.render.about import methods_of

#: Year of the paper by name of the method, as on its card.
YEARS = {
    "airbench-proxy": 2024, "aum": 2020, "big-loss": 2019, "ccs": 2023, "cld": 2025,
    "craig": 2020, "d2": 2024, "divbs": 2024, "dual": 2025, "dual-beta": 2025, "dyn-unc": 2024,
    "el2n": 2021, "entropy": 2020, "eps-greedy": 2021, "facility-location": 2021,
    "forgetting": 2019, "glister": 2021, "gm-matching": 2025, "gradmatch": 2021, "grand": 2021,
    "graph-cut": 2021, "herding": 2009, "ies": 2025, "ies+align": 2026, "ies+bls": 2026,
    "infobatch": 2024, "infobatch+align": 2026, "infobatch+bls": 2026,
    "infobatch+reference": 2024, "k-center": 2018, "kakurenbo": 2023, "least-confidence": 2020,
    "margin": 2020, "moderate": 2023, "moso": 2023, "orderdp": 2026, "orderdp+align": 2026,
    "orderdp+bls": 2026, "prune4rel": 2023, "rcap": 2025, "repb": 2026, "rho-loss": 2022,
    "rs2": 2024, "selective-backprop": 2019, "seta": 2025, "seta+align": 2026, "seta+bls": 2026,
    "small-loss": 2018, "ssp": 2022, "tdds": 2024, "ucb": 2021, "zcore": 2026,
}  # fmt: skip


def years(table: Table) -> dict[str, int]:
    """Years of the rows whose method has one, by label."""
    return {label: YEARS[name] for label, name in methods_of(table).items() if name in YEARS}
