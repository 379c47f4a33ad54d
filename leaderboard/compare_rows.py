"""Two rows of a board side by side, as text and JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prunebench.errors import InputError, nearest
from prunebench.leaderboard.board.labels import noise_order, setting_word
from prunebench.leaderboard.board.model import Board
from prunebench.leaderboard.headline import words_of
from prunebench.leaderboard.inference.compare import Comparison, compare
from prunebench.leaderboard.inference.marks import cell_test
from prunebench.leaderboard.inference.series import Series, differences
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.markdown import escape, pipe
from prunebench.leaderboard.render.row_text import interval, number, p_text
from prunebench.leaderboard.stats import mean_interval


def compare_rows(board: Board, a: str, b: str) -> list[dict[str, Any]]:
    """One comparison per data set that holds both rows.

    Args:
        board: The board.
        a, b: Labels of rows.

    Returns:
        Per data set: ``comparison`` (a - b over all common cells), ``cells`` (one line each).

    Raises:
        InputError: A label that no table has, or rows without two common seeds anywhere.
    """
    known = sorted({label for s in board.summaries for label in s.series})
    for label in (a, b):
        if label not in known:
            raise InputError(f"no row {label!r}", where="compare", accepted=nearest(label, known))
    found = []
    for summary in board.summaries:
        first, second = summary.series.get(a), summary.series.get(b)
        if first is None or second is None:
            continue
        result = compare(first, second, board.protocol)
        if result is not None:
            found.append({
                "dataset": summary.dataset,
                "comparison": asdict(result),
                "cells": _cells(first, second, board.protocol),
                "text": _text(summary.dataset, result, first, second, board.protocol),
            })  # fmt: skip
    if not found:
        raise InputError(f"{a} and {b} have no cell with two common seeds", where="compare",
                         accepted="rows run on the same data set, noise and seeds")  # fmt: skip
    return found


def _cells(a: Series, b: Series, protocol: ProtocolFile) -> list[dict[str, Any]]:
    lines = []
    found = differences(a, b)
    for noise, ratio in sorted(found, key=lambda cell: (noise_order(cell[0]), cell[1])):
        by_seed = found[noise, ratio]
        d = list(by_seed.values())
        size = mean_interval(d)
        test = cell_test(d, protocol.alpha)
        lines.append({
            "noise": noise, "ratio": ratio, "seeds": len(d), "mean": size.mean,
            "half_width": size.half_width, "p": test.p, "smallest_p": test.smallest_p,
            "test": test.test, "by_seed": {str(s): v for s, v in by_seed.items()},
        })  # fmt: skip
    return lines


def _text(dataset: str, c: Comparison, a: Series, b: Series, protocol: ProtocolFile) -> str:
    rows = []
    for line in _cells(a, b, protocol):
        half = line["half_width"]
        low = None if half is None else line["mean"] - half
        high = None if half is None else line["mean"] + half
        p = p_text(line["p"]) if line["p"] is not None else (
            f"underpowered (min {p_text(line['smallest_p'])})")  # fmt: skip
        rows.append([escape(line["noise"]), f"{line['ratio']:g}", str(line["seeds"]),
                     interval(line["mean"], low, high, 2), p, line["test"] or "-"])  # fmt: skip
    word = setting_word(noise for noise, _ in a.values)
    grid = pipe([word, "ratio", "seeds", "difference [95 %]", "p (uncorrected)", "test"], rows)
    pooled, cluster = c.pooled, c.cluster
    generalise = (
        f"too few noise settings to generalise ({cluster.clusters} < 6)"
        if cluster.too_few
        else f"sign-flip p {p_text(cluster.sign_flip.p)}"
    )
    about = "" if protocol.metric == "accuracy" else f" of {words_of(protocol.metric)}"
    correlation = "-" if c.correlation is None else number(c.correlation, 2)
    return "\n".join([
        f"## {escape(dataset)}: {escape(c.a)} - {escape(c.b)}",
        "",
        f"- On these {pooled.cells} cells, with new seeds: "
        f"{interval(pooled.mean, pooled.low, pooled.high, 2)} points{about}; paired sign-flip with "
        f"{pooled.sign_flip.units} (noise, seed) units p {p_text(pooled.sign_flip.p)} "
        f"(smallest possible {p_text(pooled.sign_flip.smallest_p)})",
        f"- On another noise setting of this kind: "
        f"{interval(cluster.mean, cluster.low, cluster.high, 2)} points; {generalise}",
        f"- Cells won/tied/lost {c.wins}/{c.ties}/{c.losses}, {c.equivalent} within "
        f"±{protocol.rope:g} points; P(better) {number(c.improvement, 2)}; correlation of the "
        f"pairs {correlation}; detectable with 80 % power {number(c.detectable, 2)} points",
        "",
        grid,
        "",
    ])  # fmt: skip
