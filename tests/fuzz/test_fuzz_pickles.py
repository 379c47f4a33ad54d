"""Pickles and weights of strangers: CIFAR batches, human labels, networks."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as save_tensors

from prunebench.bench.networks.weights import fit_weights, read_weights
from prunebench.datasets.restricted_pickle import read_published
from prunebench.datasets.sources.cifar.human import _read_published, read_labels
from prunebench.record import file_digest
from support.fuzzing import answer, damaged, fuzz

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to spoil files in."""
    return tmp_path_factory.mktemp("labels")


_BATCH = {
    b"data": RNG.integers(0, 256, (4, 12)).astype(np.uint8),
    b"labels": [1, 2, 3, 4],
    b"batch_label": b"training batch",
    b"f": np.arange(3, dtype=np.float32),
}
_PICKLES = [pickle.dumps(_BATCH, protocol) for protocol in range(5)]


@fuzz(250)
@given(data=st.data())
def test_pickles_of_arrays(place: Path, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(_PICKLES))
    path = place / "batch"
    path.write_bytes(data.draw(damaged(good)))
    found, line = answer(lambda: read_published(path, _digest(good)))
    assert (found is None) == (path.read_bytes() != good)  # no other file is unpickled
    assert found is not None or "the published file" in line


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_right_pickles_are_read(place: Path) -> None:
    for content in _PICKLES:
        (place / "batch").write_bytes(content)
        found = read_published(place / "batch", _digest(content))
        for name in (b"data", b"f"):
            key = name if name in found else name.decode()
            assert np.array_equal(found[key], _BATCH[name])
            assert found[key].dtype == _BATCH[name].dtype


#: What the unpickler itself refuses, whatever the checksum.
_REFUSED = [
    b"\x80\x02]r\xff\xff\xff\x7f.",  # room for 2**31 remembered values
    b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85R.",
    b"\x80\x02" + b"(" * 100_000,
    b"",
    b".",
    b"\x80\x05.",
    pickle.dumps({1, 2}, 2),
    pickle.dumps(1 + 2j),
]
_TRICKS = [
    *_REFUSED,
    b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
    b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.",
    b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    pickle.dumps(np.array([object], dtype=object)),
    pickle.dumps(np.dtype("O")),
    pickle.dumps({1, 2}),
    pickle.dumps(np.arange(3).astype("M8[s]")),
]


@pytest.mark.parametrize("content", _TRICKS)
def test_tricks_with_pickles(place: Path, content: bytes) -> None:
    (place / "trick").write_bytes(content)
    found, line = answer(lambda: read_published(place / "trick", _digest(content + b"?")))
    assert found is None
    assert "the published file" in line


@pytest.mark.parametrize("content", _REFUSED)
def test_tricks_behind_a_matching_checksum(place: Path, content: bytes) -> None:
    (place / "trick").write_bytes(content)
    found, line = answer(lambda: read_published(place / "trick", _digest(content)))
    assert found is None
    assert "cannot be read" in line


def _pt(content: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


_HUMAN = _pt({"clean_label": np.arange(8), "worse_label": np.arange(8)[::-1].copy()})


@fuzz(80)
@given(data=st.data())
def test_human_label_files(place: Path, data: st.DataObject) -> None:
    path = place / "CIFAR-10_human.pt"
    path.write_bytes(data.draw(damaged(_HUMAN)))
    found, line = answer(lambda: read_labels("cifar10n", path))
    assert found is None
    assert "published file" in line
    answer(lambda: _read_published(path))


_MODEL = torch.nn.Linear(3, 2)
_STATE = {name: value.detach().clone() for name, value in _MODEL.state_dict().items()}
_WEIGHTS = [_pt(_STATE), _pt({"state_dict": _STATE}), save_tensors(_STATE)]


@fuzz(200)
@given(data=st.data())
def test_weight_files(place: Path, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(_WEIGHTS))
    path = place / "w"
    path.write_bytes(data.draw(damaged(good, range(min(120, len(good))))))
    found, _ = answer(lambda: read_weights(str(path), file_digest(path)))
    if found is None:
        return
    assert all(isinstance(value, torch.Tensor) for value in found.values())
    model = torch.nn.Linear(3, 2)
    answer(lambda: fit_weights(model, found, str(path)))
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
