"""Packed image files of strangers: refused in one line, or read to the same images."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunebench.datasets.images.packed_format import decode_images, read_pack, write_packed
from prunebench.datasets.sources.packed import Packed
from support.fuzzing import EDGES, HOSTILE, answer, damaged, fuzz

N, SIDE = 6, 4
IMAGES = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (N, 3, SIDE, SIDE), np.uint8))
LABELS = np.arange(N) % 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A right data set of six images, and a file beside it to spoil."""
    root = tmp_path_factory.mktemp("packed")
    for name in ("train.npz", "test.npz"):
        write_packed(root / name, IMAGES, LABELS, class_names=("a", "b", "c"), groups=(0, 0, 1),
                     mean=(0.1, 0.2, 0.3), std=(0.2, 0.2, 0.2), human={"web": LABELS})  # fmt: skip
    return root


def check(path: Path) -> None:
    """Reads a file through; what is accepted holds together."""
    pack, _ = answer(lambda: read_pack(path))
    if pack is None:
        return
    assert len(pack.offset) == len(pack) + 1
    assert pack.offset[0] == 0
    assert (np.diff(pack.offset) > 0).all()
    assert pack.offset[-1] == len(pack.jpeg)
    assert pack.label.min() >= 0
    rows = np.arange(len(pack))
    images, _ = answer(lambda: decode_images(pack, rows, 1))
    if images is not None:
        assert images.dtype == torch.uint8
        assert images.shape[:2] == (len(pack), 3)


@fuzz(400)
@given(data=st.data())
def test_damaged_files(folder: Path, data: st.DataObject) -> None:
    good = (folder / "test.npz").read_bytes()
    heads = [i for i in range(len(good) - 1) if good[i : i + 2] in (b"PK", b"\x93N")]
    where = sorted({i + n for i in heads for n in range(0, 60) if i + n < len(good)})
    path = folder / "spoiled.npz"
    path.write_bytes(data.draw(damaged(good, where)))
    pack, _ = answer(lambda: read_pack(path))
    check(path)
    if pack is None:
        return
    # Every array is under a CRC: what passes is what was written, array by array.
    right = read_pack(folder / "test.npz")
    for name in ("jpeg", "offset", "label"):
        assert np.array_equal(getattr(pack, name), getattr(right, name)), name
    assert torch.equal(decode_images(pack, np.arange(N), 1), IMAGES)


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), allow_pickle=False)
    return out.getvalue()


@st.composite
def _arrays(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, bytes]:
    """The members of a file, one or two of them replaced by nearly right ones."""
    members = {name: _npy(array) for name, array in good.items()}
    for name in draw(
        st.lists(st.sampled_from(sorted(members)), min_size=1, max_size=2, unique=True)
    ):
        array = np.array(good[name])
        how = draw(st.sampled_from(("value", "type", "shape", "header", "bytes", "gone", "twice")))
        if how == "value" and array.dtype.kind in "iuf":
            place = draw(st.integers(0, array.size - 1))
            edge = draw(st.sampled_from([e for e in EDGES if abs(e) < 2**63]))
            with np.errstate(all="ignore"):
                array.reshape(-1)[place] = np.float64(edge).astype(array.dtype)
            members[name] = _npy(array)
        elif how == "type":
            kinds = ("u1", "i1", "i8", "u8", ">i8", "f8", "f2", "c16", "?", "M8[s]", "U3", "S4")
            with np.errstate(all="ignore"):
                kind = np.dtype(draw(st.sampled_from(kinds)))
                plain = array if array.dtype.kind != "U" else np.arange(len(array))
                members[name] = _npy(plain.astype("i8").astype(kind))
        elif how == "shape":
            shape = draw(st.sampled_from(((-1, 1), (1, -1), (0,), (), (1,))))
            members[name] = _npy(
                array.reshape(-1)[: 0 if shape == (0,) else None][:1].reshape(())
                if shape == ()
                else np.resize(array, abs(np.prod(shape))).reshape(shape)
                if -1 not in shape
                else array.reshape(shape)
            )
        elif how == "header":
            shape = draw(
                st.sampled_from(
                    (
                        "(10**12,)",
                        "(1000000000000,)",
                        "(-1,)",
                        "(3,3)",
                        "()",
                        "(2,)*40",
                        "None",
                        "(99999999999999999999,)",
                    )
                )
            )
            kind = draw(st.sampled_from(("'|u1'", "'<i8'", "'|O'", "[('a','<i8')]", "'V9'", "5")))
            text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
            head = b"\x93NUMPY" + bytes(draw(st.sampled_from(((1, 0), (2, 0), (3, 0), (9, 9)))))
            width = "<H" if head[6] == 1 else "<I"
            members[name] = head + struct.pack(width, len(text)) + text + _npy(array)[80:]
        elif how == "bytes":
            members[name] = draw(damaged(members[name]))
        elif how == "gone":
            members.pop(name, None)
    if draw(st.integers(0, 9)) == 0:
        members[draw(st.sampled_from(HOSTILE[3:9])).replace("\0", "")] = b"x"
    return members


@fuzz(150)
@given(data=st.data())
def test_nearly_right_members(folder: Path, data: st.DataObject) -> None:
    with np.load(folder / "train.npz", allow_pickle=False) as stored:
        good = {name: stored[name] for name in stored.files}
    members = data.draw(_arrays(good))
    with zipfile.ZipFile(folder / "near.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    check(folder / "near.npz")
    other = folder / "pair"
    other.mkdir(exist_ok=True)
    (other / "train.npz").write_bytes((folder / "near.npz").read_bytes())
    (other / "test.npz").write_bytes((folder / "test.npz").read_bytes())
    raw, _ = answer(lambda: Packed(path=str(other)).load())
    if raw is not None:
        assert len(raw.train_x) == len(raw.train_y) >= 1
        assert 0 <= int(raw.train_y.min()) <= int(raw.train_y.max()) < raw.num_classes
        assert len(raw.class_names) == raw.num_classes
        assert all(np.isfinite((*raw.mean, *raw.std)))
        assert min(raw.std) > 0
        assert all(int(h.min()) >= 0 and int(h.max()) < raw.num_classes for h in raw.human.values())


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 4096)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _jpeg(width: int, height: int) -> bytes:
    from torchvision.io import encode_jpeg

    data = bytearray(encode_jpeg(IMAGES[0].repeat(1, 4, 4)).numpy().tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


_HUGE = _jpeg(20_000, 20_000)
_FRAME = _HUGE.index(b"\xff\xc0")
_COMMENT = b"\xff\xfe\0\2"


@pytest.mark.parametrize(
    "image",
    [
        _png(60_000, 60_000),
        _png(2**31 - 1, 2),
        _jpeg(65_000, 65_000),
        _HUGE[:_FRAME] + b"\0" + _HUGE[_FRAME:],  # decoders pass over what is no marker
        # An escaped byte is no marker either, though the next bytes look like a length.
        _HUGE[:2] + b"\xff\0" + struct.pack(">H", _FRAME + 17) + _HUGE[2 : _FRAME + 19]
        + _COMMENT + _HUGE[_FRAME + 19 :],
    ],
    ids=["png", "wide png", "jpeg", "padded jpeg", "jpeg behind an escaped byte"],
)  # fmt: skip
def test_images_that_claim_to_be_huge(
    folder: Path, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "prunebench.datasets.images.packed_format._decode", lambda *_: pytest.fail("decoded")
    )
    path = folder / "huge.npz"
    write_packed(path, [image], [0])
    images, line = answer(lambda: decode_images(read_pack(path), np.arange(1), 1))
    assert images is None
    assert "pixels" in line


@pytest.mark.parametrize("image", [_png(0, 4), _jpeg(4, 0)], ids=["png", "jpeg"])
def test_an_image_without_pixels_is_named_itself(folder: Path, image: bytes) -> None:
    path = folder / "none.npz"
    write_packed(path, [image, _png(4, 4)], [0, 0])
    images, line = answer(lambda: decode_images(read_pack(path), np.arange(2), 1))
    assert images is None
    assert "image 0: claims " in line


def test_two_headers_hide_no_size(folder: Path) -> None:
    """The first says little, a second one what is decoded."""
    from torchvision.io import encode_png

    small = _png(1, 1)
    large = encode_png(torch.zeros(3, 90, 90, dtype=torch.uint8)).numpy().tobytes()
    path = folder / "two.npz"
    write_packed(path, [small[:33] + large[8:]] * 3, [0] * 3)
    images, line = answer(lambda: decode_images(read_pack(path), np.arange(3), 1))
    assert images is None
    assert "image 0: 90x90 pixels; accepted: 1x1" in line


def test_a_decompression_bomb(folder: Path) -> None:
    path = folder / "bomb.npz"
    body = _npy(np.zeros(1, np.uint8))
    head = body[:-1].replace(b"(1,)", b"(%d,)" % (1 << 28))
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("jpeg.npy", "w") as out,
    ):
        out.write(head)
        for _ in range(1 << 8):
            out.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    pack, line = answer(lambda: read_pack(path))
    assert pack is None
    assert "unpack" in line


@fuzz(150)
@given(data=st.data())
def test_damaged_images(folder: Path, data: st.DataObject) -> None:
    from torchvision.io import encode_jpeg

    big = IMAGES[0].repeat(1, 3, 3)
    good = [_png(8, 8), encode_jpeg(big).numpy().tobytes(), encode_jpeg(big).numpy().tobytes()]
    image = data.draw(damaged(data.draw(st.sampled_from(good))))
    if not image:
        return
    path = folder / "image.npz"
    write_packed(path, [image], [0])
    check(path)
