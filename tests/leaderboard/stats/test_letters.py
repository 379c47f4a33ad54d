"""Compact letters: the published cases, the invariant on any graph, and many groups."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.leaderboard.stats import Letters, compact_letters, pairwise
from support.stats_vectors import load


def check(names: list[str], separated: set[tuple[str, str]], found: Letters) -> None:
    apart = {frozenset(pair) for pair in separated}
    for a, b in itertools.combinations(names, 2):
        share = bool(set(found.letters[a]) & set(found.letters[b]))
        assert share == (frozenset((a, b)) not in apart), (a, b)
    assert all(found.letters[name] for name in names)
    groups = [set(group) for group in found.groups]
    assert not any(a < b for a, b in itertools.permutations(groups, 2))  # only maximal ones
    assert sum(map(len, groups)) == sum(map(len, found.letters.values()))


@pytest.mark.parametrize("case", load("compact_letters.json")["cases"], ids=lambda c: c["name"])
def test_published_cases(case: dict) -> None:
    names = case["names"]
    if "p" in case:
        pairs = itertools.combinations(range(len(names)), 2)
        separated = {(names[i], names[j]) for i, j in pairs if case["p"][i][j] <= case["alpha"]}
    else:
        separated = {tuple(pair) for pair in case["significant_pairs"]}
    found = compact_letters(names, separated)
    check(names, separated, found)
    assert found.contiguous == (case["name"] != "non_interval")

    def columns(letters: dict[str, str]) -> set[frozenset[str]]:
        return {frozenset(n for n in names if x in letters[n]) for x in "".join(letters.values())}

    assert columns(dict(found.letters)) == columns(case["letters"])
    if found.contiguous:
        assert found.letters == case["letters"]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.data())
def test_two_share_a_letter_exactly_where_not_separated(n: int, data: st.DataObject) -> None:
    names = [f"m{i}" for i in range(n)]
    pairs = list(itertools.combinations(names, 2))
    separated = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    found = compact_letters(names, {(b, a) for a, b in separated})
    check(names, separated, found)
    assert compact_letters(names, [frozenset(pair) for pair in separated]) == found


def test_letters_never_run_out() -> None:
    names = [f"m{i:02}" for i in range(14)]
    separated = {(names[i], names[i + 1]) for i in range(0, 14, 2)}  # 2^7 maximal cliques
    found = compact_letters(names, separated)
    assert len(found.groups) == 128
    check(names, separated, found)


def test_bad_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        compact_letters(["a", "a"], [])
    for pair in (("a", "x"), ("a", "a"), ("a", "b", "c")):
        with pytest.raises(ValueError, match="pair"):
            compact_letters(["a", "b", "c"], [pair])
    assert compact_letters([], []).groups == ()


def test_pairwise_letters_of_a_table() -> None:
    rng = np.random.default_rng(5)
    clusters, seeds = np.divmod(np.arange(21), 3)
    units = np.stack([clusters, seeds], axis=1)
    noise = rng.normal(0, 1, 21)
    values = {m: noise + mean + rng.normal(0, 0.2, 21)
              for m, mean in (("c", 70.0), ("a", 72.0), ("b", 71.9))}  # fmt: skip
    values["copy of a"] = values["a"].copy()
    found = pairwise(values, units, clusters)
    assert found.letters.letters["a"] == found.letters.letters["copy of a"]
    assert found.tests["a", "copy of a"].p == 1.0
    assert set(found.letters.letters["a"]).isdisjoint(found.letters.letters["c"])
    assert (found.family.size, found.family.method) == (6, "holm")
    assert found.order[-1] == "c"
    # a constant added to one cell of every method, and the order of methods, change nothing
    again = pairwise(
        {m: values[m] + 3.0 * (clusters == 2) for m in reversed(values)}, units, clusters
    )
    assert again.letters.letters == found.letters.letters
    assert [m.p for m in again.family.members] == [m.p for m in found.family.members]
    lower = pairwise(values, units, clusters, higher_is_better=False)
    assert lower.order[0] == "c"
    with pytest.raises(ValueError, match="same runs"):
        pairwise({"a": [1.0, 2.0], "b": [1.0]})
    assert pairwise({"a": [1.0]}).letters.letters == {"a": "a"}


def test_pairwise_refuses_what_could_not_win() -> None:
    rng = np.random.default_rng(0)
    found = pairwise({m: rng.normal(10 * i, 1, 3) for i, m in enumerate("abc")})
    assert {m.refused for m in found.family.members} == {"underpowered: min p .25 > .017"}
    assert set(found.letters.letters.values()) == {"a"}
