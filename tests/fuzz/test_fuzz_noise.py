"""Noise settings of strangers: a text is refused in one line, or has a name that reads back."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from prunebench.bench.runs.outside import resolve_outside
from prunebench.bench.spec.run_spec import Named, NoiseSetting
from prunebench.datasets.noise.names import KINDS, NoiseSpec, parse_noise
from prunebench.record import noise_name
from support.fuzzing import EDGES, HOSTILE, answer, fuzz

_RATES = st.one_of(st.sampled_from((*HOSTILE, "0.4", "1", "0", ".5", "1_0", "0x1")), st.text())
_WORDS = st.one_of(
    st.sampled_from(HOSTILE), st.text(), st.builds("{}:{}".format, st.sampled_from(KINDS), _RATES)
)
_OUTSIDE = st.one_of(
    st.sampled_from((*HOSTILE, *EDGES, "synthetic", "arrays:", "arrays:x.npz", "synthetic:x")),
    st.builds("last:{}".format, st.one_of(st.integers(), st.sampled_from(HOSTILE))),
)


@fuzz(150)
@given(text=_WORDS)
@example(text="openset:0.3")
@example(text="instance:1e-300")
def test_names_read_back(text: str) -> None:
    spec, _ = answer(lambda: parse_noise(text))
    if spec is not None:
        assert isinstance(spec, NoiseSpec)
        assert parse_noise(spec.name) == spec
        assert 0 <= spec.rate < 1


@fuzz(150)
@given(
    kind=st.sampled_from(("openset", "symmetric")),
    params=st.dictionaries(
        st.one_of(st.just("outside"), st.sampled_from(("outside.n", "outside.size", "outside."))),
        _OUTSIDE,
        max_size=2,
    ),
)
@example(kind="openset", params={"outside": "last:٣"})
@example(kind="openset", params={"outside": "last:" + "9" * 5000})
def test_outside_is_resolved_or_refused(kind: str, params: dict[str, Any]) -> None:
    dataset = Named(name="digits", version="1")
    found, _ = answer(lambda: resolve_outside(kind, params, dataset))
    if found is None:
        return
    assert kind == "openset" or not params
    setting = NoiseSetting(name="openset:0.3", rule="openset", outside=found.setting)
    assert NoiseSetting.model_validate(setting.model_dump(mode="json")) == setting
    assert noise_name(setting.model_dump(mode="json")).startswith("openset:0.3")
