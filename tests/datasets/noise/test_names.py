"""Noise on the command line: parsing, canonical names, resolution per data set."""

from dataclasses import replace

import pytest
import torch

from prunebench.datasets.build import resolve_rule
from prunebench.datasets.noise.names import NoiseSpec, parse_noise
from prunebench.datasets.source import RawData
from prunebench.errors import InputError


def raw(classes: int = 10, **fields: object) -> RawData:
    x, y = torch.zeros(classes, 1, 4, 4, dtype=torch.uint8), torch.arange(classes)
    names = tuple(map(str, range(classes)))
    return replace(RawData(x, y, x, y, classes, names, "f"), **fields)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("clean", "clean"),
        ("symmetric:0.5", "symmetric:0.5"),
        ("symmetric:0.40", "symmetric:0.4"),
        (" symmetric:.4 ", "symmetric:0.4"),
        ("symmetric:4e-1", "symmetric:0.4"),
        ("symmetric:-0.0", "symmetric:0"),
        ("pairflip:0.45", "pairflip:0.45"),
        ("next_class:0.45", "next_class:0.45"),
        ("asym_pairs:0.4", "asym_pairs:0.4"),
        ("instance:.40", "instance:0.4"),
        ("real", "real"),
        ("real:aggregate", "real:aggregate"),
    ],
)
def test_canonical_name_reads_back(text: str, name: str) -> None:
    spec = parse_noise(text)
    assert spec.name == str(spec) == name
    assert parse_noise(spec.name) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symetric:0.4", "accepted: symmetric, asymmetric"),
        ("", "unknown noise"),
        ("symmetric", "lacks its rate"),
        ("symmetric:", "lacks its rate"),
        ("symmetric:many", "'many' is no rate"),
        ("symmetric:1", "out of range"),
        ("symmetric:40", "below 1"),
        ("symmetric:-0.1", "out of range"),
        ("symmetric:nan", "no rate"),
        ("symmetric:0.4:x", "is no rate"),
        ("instance", "lacks its rate"),
        ("instanse:0.4", "accepted: instance"),
        ("clean:0.1", "takes no rate"),
        ("real:", "no variant"),
    ],
)
def test_bad_text_is_one_clear_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_noise(text)
    assert "\n" not in str(caught.value)


def test_a_spec_cannot_be_built_wrong() -> None:
    for wrong in ({"rate": 0.3}, {"variant": "worst"}):
        with pytest.raises(InputError):
            NoiseSpec("clean", **wrong)
    with pytest.raises(InputError):
        NoiseSpec("real", rate=0.3)


def test_resolution() -> None:
    def rule(text: str, data: RawData) -> str:
        return resolve_rule(parse_noise(text), data)

    assert rule("clean", raw()) == "clean"
    assert rule("pairflip:0.4", raw()) == rule("next_class:0.4", raw()) == "next_class"
    assert rule("asymmetric:0.4", raw()) == "next_class"
    assert rule("asymmetric:0.4", raw(asymmetric="asym_digits")) == "asym_digits"
    grouped = raw(4, groups=(0, 0, 1, 1), asymmetric="asym_super_next")
    assert rule("asymmetric:0.4", grouped) == "asym_super_next"


def test_rules_that_do_not_fit_are_refused() -> None:
    for text, said in (("asym_pairs:0.4", "10 classes"), ("asym_super_next:0.4", "super-classes")):
        with pytest.raises(InputError, match=said):
            resolve_rule(parse_noise(text), raw(4))


def test_human_labels() -> None:
    y = torch.arange(10)
    one, two = raw(human={"noisy": y}), raw(human={"worst": y, "aggregate": y})
    assert resolve_rule(parse_noise("real"), one) == "real:noisy"
    assert resolve_rule(parse_noise("real:worst"), two) == "real:worst"
    for text, data, said in (
        ("real", two, "real:aggregate, real:worst"),
        ("real:worse", two, "unknown variant 'worse'.*real:aggregate, real:worst"),
        ("real", raw(), "no labels with real noise"),
    ):
        with pytest.raises(InputError, match=said):
            resolve_rule(parse_noise(text), data)
