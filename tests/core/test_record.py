"""Records prove themselves; an edit anywhere shows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.record import (
    Record,
    RecordError,
    canonical,
    content_key,
    first_difference,
    load,
    parse,
    write_atomic,
)


def make(**fields) -> Record:
    spec = {"method": {"name": "random"}, "ratio": 0.5}
    return Record(key=content_key(spec), spec=spec, status="done", **fields)


def test_round_trip(tmp_path):
    record = make(metrics={"test_accuracy": 0.9, "odd": float("nan")}).sealed()
    path = record.save(tmp_path)
    assert path.name == f"{record.key}.json"
    assert load(path) == record
    assert load(path).metrics == {"test_accuracy": 0.9, "odd": None}


@pytest.mark.parametrize(
    "edit",
    [
        lambda b: b["metrics"].__setitem__("test_accuracy", 0.99),
        lambda b: b.__setitem__("status", "failed"),
        lambda b: b["spec"].__setitem__("ratio", 0.3),
        lambda b: b.__setitem__("digest", "0" * 64),
    ],
)
def test_every_edit_is_seen(edit):
    body = json.loads(make(metrics={"test_accuracy": 0.9}).sealed().dumps())
    edit(body)
    with pytest.raises(RecordError, match="digest mismatch"):
        parse(json.dumps(body))


def test_a_resealed_edit_of_the_spec_does_not_match_its_key():
    record = make()
    forged = Record(**{**record.body(), "spec": {"ratio": 0.1}}).sealed()
    with pytest.raises(RecordError, match="does not belong to its spec"):
        parse(forged.dumps())


def test_renamed_file_is_refused(tmp_path):
    path = make().save(tmp_path)
    other = path.with_name("0" * 16 + ".json")
    path.rename(other)
    with pytest.raises(RecordError, match="file name differs"):
        load(other)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_in_one_line(data):
    with pytest.raises(RecordError) as caught:
        parse(data)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 400))
def test_torn_records_are_refused(cut):
    text = make(metrics={"a": 1.0}).sealed().dumps()
    if cut < len(text):
        with pytest.raises(RecordError):
            parse(text[:cut])


def test_canonical_form_ignores_order_and_keeps_types():
    assert canonical({"b": 1, "a": [1.0, True, None]}) == '{"a":[1.0,true,null],"b":1}'
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 1.0})


def test_atomic_write_leaves_no_temporary_file(tmp_path):
    write_atomic(tmp_path / "x" / "file", b"one")
    write_atomic(tmp_path / "x" / "file", b"two")
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["file"]
    assert (tmp_path / "x" / "file").read_bytes() == b"two"


def test_the_first_difference_is_named_by_its_path() -> None:
    a = {"design": {"seeds": [1, 2], "spec": {"rate": 0.4}}, "trials": 4}
    assert first_difference(a, json.loads(json.dumps(a))) is None
    changed = {"design": {"seeds": [1, 2], "spec": {"rate": 0.2}}, "trials": 5}
    assert first_difference(a, changed) == ("design.spec.rate", 0.4, 0.2)
    assert first_difference(a, {"trials": 4}) == ("design", a["design"], None)
    assert first_difference([1], [2]) == ("", [1], [2])
