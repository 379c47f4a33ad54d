"""Small files that would take far more memory than they are: refused in one line, before."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_tensors

from prunebench.bench.networks.weights import read_weights
from prunebench.datasets.sources.news.files import JSONL, read_posts
from prunebench.errors import InputError
from prunebench.leaderboard.bundle import pack, unpack
from prunebench.methods.precomputed import read_scores
from prunebench.record import Record, content_key, file_digest
from support.newsgroups import posts

MIB = 1 << 20


def refused(call: Callable[[], Any], path: Path, most: int = 64 * MIB) -> str:
    """The one line of a refusal that never held much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak >> 20} MiB"
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def weights(path: Path, content: bytes) -> Callable[[], Any]:
    path.write_bytes(content)
    return lambda: read_weights(str(path), file_digest(path))


class Room:
    """Pickled, it asks for so many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (self.size,)


def torch_zip(value: Any, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        content = value if isinstance(value, bytes) else pickle.dumps(value, protocol=2)
        archive.writestr("a/data.pkl", content)
        archive.writestr("a/version", "3\n")
        for name, data in members.items():
            archive.writestr(f"a/data/{name.removeprefix('s')}", data)
    return out.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def test_legacy_weights_are_not_opened(tmp_path: Path) -> None:
    for name, content in (
        ("room.pt", pickle.dumps(Room(300 * MIB), protocol=2)),
        ("old.pt", saved({"w": torch.zeros(2)}, _use_new_zipfile_serialization=False)),
    ):
        path = tmp_path / name
        assert "legacy PyTorch file" in refused(weights(path, content), path)


def test_weights_in_a_zip_make_what_they_hold_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    assert "more than tensors" in refused(weights(path, torch_zip({"w": Room(300 * MIB)})), path)
    # Headers of torch.save, the numbers of a tensor changed: views that repeat, reach outside,
    # or storages that claim more than their member holds.
    plain = pickle_of(torch.arange(6.0).reshape(2, 3))
    assert read_weights(*stored(path, torch_zip(plain, s0=bytes(24))))["w"].shape == (2, 3)
    for old, new in (
        (b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86"),  # shape 2**31 - 1 x 3
        (b"K\x06tq", b"J\xff\xff\xff\x7ftq"),  # a storage of 2**31 - 1 numbers
    ):
        assert old in plain
        line = refused(weights(path, torch_zip(plain.replace(old, new, 1), s0=bytes(24))), path)
        assert "more than tensors" in line or "damaged" in line
    wide = pickle_of(torch.zeros(1).expand(1 << 28))
    assert "more than tensors" in refused(weights(path, torch_zip(wide, s0=bytes(4))), path)


def pickle_of(tensor: torch.Tensor) -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved({"w": tensor}))) as archive:
        return archive.read("archive/data.pkl")


def stored(path: Path, content: bytes) -> tuple[str, str]:
    path.write_bytes(content)
    return str(path), file_digest(path)


def test_states_forge_no_stand_in(tmp_path: Path) -> None:
    """A pickle may hand any object a state; those of stand-ins stay as they were made."""
    plain, path = pickle_of(torch.arange(6.0)), tmp_path / "w.pt"
    name, state = b"ctorch\nFloatStorage\n", b"}X\3\0\0\0keyX\1\0\0\x009sb"
    forged = plain.replace(name, name + state, 1)
    assert forged != plain
    assert "more than tensors" in refused(weights(path, torch_zip(forged, s0=bytes(24))), path)
    assert read_weights(*stored(path, saved({"w": torch.arange(6.0)})))["w"].tolist()[5] == 5


def test_an_archive_that_zipfile_cannot_check_is_refused(tmp_path: Path) -> None:
    content, path = bytearray(saved({"w": torch.zeros(3)})), tmp_path / "w.pt"
    at = content.find(b"PK\x01\x02")
    content[at + 6 : at + 8] = struct.pack("<H", 99)  # "version needed to extract"
    refused(weights(path, bytes(content)), path)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    out, path = io.BytesIO(), tmp_path / "w.pt"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle_of(torch.zeros(6)))
        archive.writestr("a/data/0", bytes(200 * MIB))
    assert "claim to unpack" in refused(weights(path, out.getvalue()), path)


def test_headers_of_safetensors(tmp_path: Path) -> None:
    good, path = save_tensors({"w": torch.zeros(3)}), tmp_path / "w.safetensors"
    size = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + size])

    def built(changed: Any, length: int | None = None, body: bytes = good[8 + size :]) -> bytes:
        text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    entry = header["w"]
    cases = {
        "longer than the file": built(header, 1 << 62),
        "a huge shape": built({"w": {**entry, "shape": [1 << 40, 1 << 40]}}),
        "no elements of a huge shape": built({"w": {**entry, "shape": [1 << 62, 4]}}),
        "offsets beyond": built({"w": {**entry, "data_offsets": [0, 1 << 50]}}),
        "offsets that overlap": built({"w": entry, "v": entry}),
        "offsets backwards": built({"w": {**entry, "data_offsets": [12, 0]}}),
        "no type": built({"w": {**entry, "dtype": "F33"}}),
        "negative": built({"w": {**entry, "shape": [-3]}}),
        "deep": built(b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "no JSON": built(b"{" * 20),
        "nothing": b"",
        "short": good[:5],
    }
    for content in cases.values():
        refused(weights(path, content), path)


@pytest.mark.parametrize("name", ["s.npz", "s.npy"])
def test_scores(name: str, tmp_path: Path) -> None:
    path, array = tmp_path / name, io.BytesIO()
    count = 20 * MIB
    header: dict[str, Any] = {"descr": "<f8", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(array, header)
    if name == "s.npy":
        path.write_bytes(array.getvalue() + bytes(100))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in ("ids", "scores"):
                with archive.open(f"{member}.npy", "w") as file:
                    file.write(array.getvalue())
                    for _ in range(8 * count // MIB):
                        file.write(bytes(MIB))
    assert path.stat().st_size < MIB
    refused(lambda: read_scores(path, count), path)


def test_posts(tmp_path: Path) -> None:
    path = tmp_path / JSONL[0]
    row = json.dumps({**posts()[0], "text": "word " * 200_000}).encode() + b"\n"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(200):
            file.write(row)
    assert path.stat().st_size < MIB
    assert "unpacks to more than" in refused(lambda: read_posts(path), path, 300 * MIB)


def test_bundles(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl.gz"
    for line in (b" " * MIB, b"\n" * MIB, b'{"a": "' + b"x" * MIB + b'"}\n', b"[" * MIB):
        with gzip.open(path, "wb") as file:
            for _ in range(100):
                file.write(line)
        assert path.stat().st_size < MIB
        refused(lambda: unpack(path), path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_bundles_with_numbers_that_are_none(tmp_path: Path, number: str) -> None:
    spec = {"method": {"name": "random"}, "ratio": 0.5}
    record = Record(key=content_key(spec), spec=spec, status="done", metrics={"a": 0.9}).sealed()
    path = tmp_path / "records.jsonl.gz"
    path.write_bytes(pack([record]))
    assert unpack(path) == [record]
    for old in ("0.9", "0.5"):
        changed = record.dumps().replace(old, number, 1)
        assert number in changed
        path.write_bytes(gzip.compress(f"{changed}\n".encode()))
        assert "line 1" in refused(lambda: unpack(path), path)
