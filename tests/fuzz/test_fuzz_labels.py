"""Data files of strangers: idx, lists, posts, scores, caches."""

from __future__ import annotations

import gzip
import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.datasets.cache import read_arrays as read_cached
from prunebench.datasets.sources import idx
from prunebench.datasets.sources.idx import Mnist, read_idx
from prunebench.datasets.sources.listing import read_keys, read_pairs
from prunebench.datasets.sources.news.files import read_posts
from prunebench.methods.precomputed import read_scores
from prunebench.untrusted import gunzip
from support.fuzzing import HOSTILE, answer, bounded, damaged, fuzz

RNG = np.random.default_rng(5)


def _idx(array: np.ndarray[Any, Any]) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


PIXELS = RNG.integers(0, 256, (40, 6, 6)).astype(np.uint8)
DIGITS = (np.arange(40) % 10).astype(np.uint8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to spoil files in."""
    return tmp_path_factory.mktemp("labels")


@fuzz(250)
@given(data=st.data())
def test_idx_files(place: Path, data: st.DataObject) -> None:
    array = data.draw(st.sampled_from((PIXELS, DIGITS)))
    raw = _idx(array)
    packed = data.draw(st.booleans())
    content = gzip.compress(raw, mtime=0) if packed else raw
    path = place / ("a.gz" if packed else "a")
    path.write_bytes(data.draw(damaged(content, range(20))))
    found, _ = answer(lambda: read_idx(path))
    if found is None:
        return
    assert found.dtype == np.uint8
    assert found.ndim == len(found.shape) >= 1
    if packed and len(path.read_bytes()) >= len(content):  # gzip has a checksum of its own
        assert _idx(found)[-found.size :] == found.tobytes()


@fuzz(80)
@given(data=st.data())
def test_idx_data_sets(place: Path, data: st.DataObject) -> None:
    folder = place / "mnist"
    folder.mkdir(exist_ok=True)
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
             "t10k-labels-idx1-ubyte")  # fmt: skip
    good = [_idx(PIXELS), _idx(DIGITS), _idx(PIXELS[:20]), _idx(DIGITS[:20])]
    spoiled = data.draw(st.integers(0, 3))
    for number, (name, content) in enumerate(zip(names, good, strict=True)):
        change = number == spoiled
        (folder / name).write_bytes(data.draw(damaged(content, range(16))) if change else content)
    answer(lambda: Mnist(path=str(folder)).check())
    raw, _ = answer(lambda: Mnist(path=str(folder)).load())
    if raw is not None:
        assert len(raw.train_x) == len(raw.train_y) >= 1
        assert len(raw.test_x) == len(raw.test_y)
        assert int(raw.train_y.max()) < 10
        assert raw.train_x.shape[1:] == raw.test_x.shape[1:]


def test_a_gzip_bomb(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place / "bomb.gz"
    head = bytes((0, 0, 8, 1)) + (2**32 - 1).to_bytes(4, "big")
    path.write_bytes(gzip.compress(head) + 4096 * gzip.compress(bytes(1 << 20)))  # 4 GiB
    assert path.stat().st_size < 5 << 20
    monkeypatch.setattr(idx, "gunzip", partial(gunzip, most=1 << 24))
    with bounded(memory=1 << 28):
        found, line = answer(lambda: read_idx(path))
    assert found is None
    assert "unpacks to more than" in line


_LIST = b"a/1.jpg 0\nb/2.jpg 1\nc d/3.jpg 2\n\n  e.jpg   3\n"


def _lists(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    path.with_name("keys").write_bytes(b"a/1.jpg\nb/2.jpg\n")
    for read in (lambda: read_pairs(path, 4, "webvision", kept=3),
                 lambda: read_keys(path.with_name("keys"), path, 4, "clothing1m")):  # fmt: skip
        found, _ = answer(read)
        if found is not None:
            assert len(found.names) == len(found.labels) == len(found.lines) >= 1
            assert all(0 <= label < 4 for label in found.labels.tolist())
            for name in found.names:
                assert not name.startswith("/")
                assert ".." not in name.split("/")
                assert "\0" not in name


@fuzz(250)
@given(data=st.data())
def test_list_files(place: Path, data: st.DataObject) -> None:
    _lists(place / "list.txt", data.draw(damaged(_LIST)))


@fuzz(200)
@given(st.lists(st.tuples(st.sampled_from(HOSTILE) | st.text(max_size=9),
                          st.sampled_from(("0", "3", "4", "-1", "٣", "1e3", "9" * 5000, "0x1"))),
                max_size=4))  # fmt: skip
def test_list_lines(lines: list[tuple[str, str]]) -> None:
    import tempfile

    text = "\n".join(f"{name} {label}" for name, label in lines)
    with tempfile.TemporaryDirectory() as folder:
        _lists(Path(folder) / "list.txt", text.encode(errors="surrogatepass"))


_POSTS = "".join(
    f'{{"split": "{s}", "group": "sci.med", "id": "{n}", "text": "some words {n}"}}\n'
    for s in ("train", "test") for n in range(2)
).encode()  # fmt: skip


@fuzz(80)
@given(data=st.data())
def test_news_files(place: Path, data: st.DataObject) -> None:
    packed = data.draw(st.booleans())
    path = place / ("n.jsonl.gz" if packed else "n.jsonl")
    path.write_bytes(data.draw(damaged(gzip.compress(_POSTS, mtime=0) if packed else _POSTS)))
    posts, _ = answer(lambda: read_posts(path))
    assert posts is None or {p.split for p in posts} == {"train", "test"}


def _npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


_SCORES = [
    (".npy", _npy(RNG.random(9))),
    (".npz", _npz(ids=np.arange(9), scores=RNG.random(9))),
    (".csv", b"id,score\n" + b"".join(b"%d,0.%d\n" % (n, n) for n in range(9))),
]


@fuzz(200)
@given(data=st.data())
def test_score_files(place: Path, data: st.DataObject) -> None:
    suffix, good = data.draw(st.sampled_from(_SCORES))
    path = place / f"s{suffix}"
    path.write_bytes(data.draw(damaged(good, range(min(90, len(good))))))
    found, _ = answer(lambda: read_scores(path, 9))
    if found is not None:
        ids, scores = found
        assert ids.shape == scores.shape
        assert len(set(ids.tolist())) == len(ids)
        assert not bool(scores.isnan().any())
        assert (ids.diff() > 0).all()


@fuzz(80)
@given(data=st.data())
def test_caches(place: Path, data: st.DataObject) -> None:
    good = _npz(a=np.arange(6, dtype=np.float32), b=np.arange(3))
    path = place / "cache.npz"
    path.write_bytes(data.draw(damaged(good)))
    found, _ = answer(lambda: read_cached(path, {"a": "float32"}))
    assert found is not None
    assert found == {} or np.array_equal(found["a"], np.arange(6, dtype=np.float32))


@pytest.mark.parametrize("at", [4, 8])  # version needed, method of compression
def test_caches_of_another_zip(place: Path, at: int) -> None:
    good = bytearray(_npz(a=np.arange(6, dtype=np.float32)))
    central = good.index(b"PK\x01\x02")
    good[central + at + 2] = 99
    (place / "zip.npz").write_bytes(good)
    assert answer(lambda: read_cached(place / "zip.npz", {"a": "float32"})) == ({}, "")
