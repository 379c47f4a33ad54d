"""What was measured on a card, as goals met or missed and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: (what, target): at least so many images per second, ratios, or at most so many seconds.
_SPEEDS = (("solo, batch 128", 60_000.0), ("lanes, aggregate", 85_000.0), ("batch 512", 95_000.0))
_RATIOS = (("solo / plain loop", 15.0), ("lanes / plain loop", 22.0))
_RUNS = (("200 epochs of 50,000, solo: minutes", 2.8),
         ("200 epochs of 50,000, per run in lanes: minutes", 2.0))  # fmt: skip
_SHARES = {1000: 0.01, 10_000: 0.07}
_HALF = 0.53


def verdicts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Goals with what was measured; those that nothing was measured for are left out.

    Args:
        report: As ``perf.cuda`` makes it.

    Returns:
        ``what``, ``target``, ``got``, ``met`` and ``least`` (whether the target is a lower bound).
    """
    speeds = {name: row["median"] for name, row in report["contenders"].items() if "median" in row}
    solo = max((speeds[n] for n in ("graph", "compiled", "autotuned") if n in speeds), default=None)
    laned = max((v for n, v in speeds.items() if n.startswith("lanes-")), default=None)
    rows: list[tuple[str, float, float | None, bool]] = []
    fast = (solo, laned, speeds.get("batch-512"))
    rows += [(*goal, got, True) for goal, got in zip(_SPEEDS, fast, strict=True)]
    plain = speeds.get("plain")
    rows += [
        (*goal, got / plain if got and plain else None, True)
        for goal, got in zip(_RATIOS, (solo, laned), strict=True)
    ]
    rows += [
        (*goal, 200 * 50_000 / got / 60 if got else None, False)
        for goal, got in zip(_RUNS, (solo, laned), strict=True)
    ]
    for name, seconds in report["passes_s"].items():
        kind, _, size = name.partition(" ")
        if kind == "reference" and solo and int(size) in _SHARES:
            share = seconds / (report["workload"]["images"] / solo)
            rows.append((f"{name} / epoch", _SHARES[int(size)], share, False))
    rows += [
        (f"half the samples / full, {name}", _HALF, share, False)
        for name, share in report["halves"].items()
    ]
    return [
        {"what": what, "target": target, "got": got, "least": least,
         "met": got >= target if least else got <= target}
        for what, target, got, least in rows
        if got is not None
    ]  # fmt: skip


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def markdown(report: Mapping[str, Any]) -> str:
    """The page."""
    work, machine = report["workload"], report["machine"]
    lines = [
        "# Training on one device",
        "",
        ", ".join(f"{name} {value}" for name, value in machine.items()) + ".",
        f"{work['model']}, batch {work['batch']}, {work['precision']}, {work['images']:,} images "
        f"({work['data']}), {work['repeats']} repeats in turn, one warm-up epoch each.",
    ]
    if any(report["clocks"]):
        lines += ["", "Clocks, power, temperature, driver before and after: "
                  + "; ".join(report["clocks"])]  # fmt: skip
    rows = []
    for name, row in report["contenders"].items():
        if "error" in row:
            rows.append((name, "-", "-", "-", "-", row["error"]))
            continue
        spread = f"{row['low']:,.0f} to {row['high']:,.0f}"
        rows.append((name, f"{row['median']:,.0f}", spread, f"{row['warm_s']:.1f}",
                     f"{row['peak_gib']:.2f}", row["how"]))  # fmt: skip
    head = ("contender", "images/s", "spread", "first epoch, s", "peak GiB", "steps")
    lines += ["", *_table(head, rows), ""]
    lines += _table(("pass", "ms"), [(n, f"{1e3 * s:.2f}") for n, s in report["passes_s"].items()])
    goals = [
        (row["what"], f"{'at least' if row['least'] else 'at most'} {row['target']:g}",
         f"{row['got']:.4g}", "met" if row["met"] else "missed")
        for row in report["goals"]
    ]  # fmt: skip
    lines += ["", *_table(("goal", "target", "measured", ""), goals), ""]
    return "\n".join(lines)
