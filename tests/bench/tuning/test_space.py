"""Search spaces from option tables."""

from __future__ import annotations

import optuna
import pytest

from prunebench.bench.tuning.space import (
    Axis,
    decode,
    default_point,
    encode,
    points,
    shortened,
    size,
    space_from,
    space_of,
    suggest,
)
from prunebench.errors import InputError
from prunebench.methods.compose import list_methods, resolve_method
from prunebench.options import Option

SEARCHED = [m.name for m in list_methods() if any(o.search for o in m.options.values())]


@pytest.mark.parametrize("name", SEARCHED)
def test_every_searched_option_becomes_an_axis_that_holds_its_default(name: str) -> None:
    info = resolve_method(name)
    space = space_of(info, {}, epochs=40)
    assert [axis.name for axis in space] == [n for n, o in info.options.items() if o.search]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(encode(default_point(space), space))
    drawn = [suggest(study.ask(), space) for _ in range(30)]
    assert drawn[0] == default_point(space)
    assert {axis.name: info.options[axis.name].default for axis in space} == drawn[0]
    for point in drawn:  # the method's own table takes whatever is drawn
        for option, value in point.items():
            info.options[option].check(value, option)
    assert len({str(point) for point in drawn}) > 1


def test_what_is_encoded_comes_back_and_half_a_trial_is_none() -> None:
    space = space_of(resolve_method("infobatch+align"), {}, 40)
    for window in (None, 12):
        point = {"r": 0.25, "delta": 0.9, "align.window": window}
        assert decode(encode(point, space), space) == point
    whole = encode(point, space)
    for name in whole:
        assert decode({k: v for k, v in whole.items() if k != name}, space) is None
    assert space_from([axis.content for axis in space]) == space


def test_a_window_ends_at_the_epochs_and_shrinks_with_the_schedule() -> None:
    info = resolve_method("infobatch+align")
    space = space_of(info, {}, epochs=20)
    window = {axis.name: axis for axis in space}["align.window"]
    assert (window.low, window.high, window.auto, window.scales) == (4, 20, True, True)
    point = {"r": 0.4, "delta": 0.9, "align.window": 16}
    short = shortened(point, space, info.options, 0.25)
    assert short == {"r": 0.4, "delta": 0.9, "align.window": 4}
    assert shortened({**point, "align.window": 5}, space, info.options, 0.25)["align.window"] == 2
    auto = {**point, "align.window": None}
    assert shortened(auto, space, info.options, 0.25) == auto  # the recipe decides


def test_ranges_are_widened_to_the_default_and_choices_take_it_in() -> None:
    axes = space_of(
        _info(
            a=Option(0.9, "", search=(0.1, 0.5)),
            b=Option("x", "", search=("y", "z")),
            c=Option(3, "", search=(1, 2), log=True),
            d=Option(True, "", search=(True, False)),
            e=Option(4, "", search=(1, 2, 8)),
        ),
        {},
        10,
    )
    assert [axis.text for axis in axes] == [
        "0.1..0.9", "y, z, x", "1..3 (log)", "True, False", "1, 2, 8, 4",
    ]  # fmt: skip
    assert size(axes) == float("inf")
    assert size(axes[1:]) == 3 * 3 * 2 * 4 == len(points(axes[1:]))
    assert points(axes[1:])[0] == {"b": "x", "c": 3, "d": True, "e": 4}


def _info(**options: Option):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(resolve_method("random"), options=options)


def test_held_options_are_not_searched_and_nothing_left_is_said_in_one_line() -> None:
    info = resolve_method("infobatch")
    assert [axis.name for axis in space_of(info, {"r": 0.5}, 10)] == ["delta"]
    with pytest.raises(InputError, match=r"every searchable option is fixed; accepted: fewer"):
        space_of(info, {"r": 0.5, "delta": 0.9}, 10)
    with pytest.raises(InputError, match=r"random: no option declares a search range.*infobatch"):
        space_of(resolve_method("random"), {}, 10)


def test_an_automatic_axis_of_whole_numbers_counts_none() -> None:
    axis = Axis("w", "int", None, 2, 4, auto=True)
    assert [point["w"] for point in points((axis,))] == [None, 2, 3, 4]


def test_a_share_that_may_not_exceed_the_ratio_is_searched_up_to_it():
    info = resolve_method("ccs")
    axes = {axis.name: axis for axis in space_of(info, {}, 40, ratio=0.5)}
    assert (axes["cutoff"].low, axes["cutoff"].high, axes["cutoff"].auto) == (0.0, 0.5, True)
    axes = {axis.name: axis for axis in space_of(resolve_method("el2n@strata"), {}, 40, 0.95)}
    assert axes["strata.cutoff"].high == 0.9
