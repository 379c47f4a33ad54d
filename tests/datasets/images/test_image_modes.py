"""What an image file of each mode becomes in every reader: the table of docs/data.md."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from prunebench.datasets.images.packed_format import decode_images, read_pack, write_packed
from prunebench.datasets.images.pixels import FORMATS, MOST_PIXELS
from prunebench.datasets.packing import pack
from prunebench.datasets.sources.folder import Folder
from prunebench.datasets.sources.packed import Packed
from prunebench.datasets.sources.webvision import WebVision
from prunebench.errors import InputError
from support.lists import SMALL, write_pairs

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

SIDE = 8
#: Every mode that Pillow's own list of modes names; I;16N is the machine's own of two.
MODES = ("1", "CMYK", "F", "HSV", "I", "I;16", "I;16B", "I;16L", "L", "LA", "LAB", "La", "P", "PA",
         "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")  # fmt: skip
DOCS = Path(__file__).parents[3] / "docs" / "data.md"


def table() -> dict[str, tuple[str, str]]:
    """Mode -> (files, what becomes of it), from the documentation."""
    text = DOCS.read_text().split("### Images: what a file becomes")[1].split("| option |")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]*) \| ?([^|]*)\|$", text, re.MULTILINE)
    found = {}
    for modes, files, result in rows:
        if "tRNS" not in modes:
            found |= {mode: (files, result.strip()) for mode in re.findall(r"`([^`]+)`", modes)}
    return found


def example(mode: str, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    if mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return Image.new(mode, (SIDE, SIDE), 200 + seed)
    colour = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8), "RGBA")
    if mode == "RGBA":
        return colour
    if mode in ("LA", "La", "RGBa", "PA"):
        grey = colour.convert("LA")
        return {"LA": grey, "La": grey.convert("La"), "PA": grey.convert("L").convert("PA"),
                "RGBa": colour.convert("RGBa")}[mode]  # fmt: skip
    opaque = colour.convert("RGB")
    return Image.new("LAB", (SIDE, SIDE)) if mode == "LAB" else opaque.convert(mode)


def files_of(mode: str, seed: int) -> dict[str, bytes]:
    """Encoded forms that Pillow reads back in the mode, by format."""
    found = {}
    for name in FORMATS:
        out = io.BytesIO()
        try:
            example(mode, seed).save(out, name)
        except (OSError, KeyError, ValueError, RuntimeError):
            continue
        if Image.open(io.BytesIO(out.getvalue())).mode == mode:
            found[name] = out.getvalue()
    return found


def tree(root: Path, data: bytes, suffix: str) -> Path:
    """Two classes, the image in all places but one of each split."""
    for split in ("train", "test"):
        for label in ("a", "b"):
            folder = root / split / label
            folder.mkdir(parents=True)
            (folder / f"x.{suffix}").write_bytes(data)
    return root


def readers(root: Path, tmp_path: Path, **options: Any) -> dict[str, Any]:
    """What each reader makes of the first training image, or the line that refuses it."""
    found: dict[str, Any] = {}

    def answer(name: str, call: Any) -> None:
        try:
            found[name] = np.asarray(call()).transpose(1, 2, 0)
        except InputError as error:
            found[name] = str(error)

    def source(stream: str) -> Any:
        return Folder(path=str(root), size=SIDE, stream=stream, workers=1, **options)

    answer("resident", lambda: source("no").load().train_x[0])
    answer("streamed", lambda: source("yes").load().train_x.read([0])[0])
    for stream in ("no", "yes"):
        place = tmp_path / f"packed-{stream}"

        def packed(stream: str = stream, place: Path = place) -> Any:
            pack(source(stream).load(), "folder", place)
            return Packed(path=str(place)).load().train_x[0]

        answer(f"packed {stream}", packed)
    lists = tmp_path / "lists"
    for name in ("google", "val_images"):
        (lists / name).mkdir(parents=True)
    first = next((root / "train" / "a").iterdir())
    names = [f"google/{i}{first.suffix}" for i in range(4)]
    tests = [f"{i}{first.suffix}" for i in range(4)]
    for name in (*names, *(f"val_images/{n}" for n in tests)):
        (lists / name).write_bytes(first.read_bytes())
    write_pairs(lists / "info/train_filelist_google.txt", names, [0, 1, 0, 1])
    write_pairs(lists / "info/val_filelist.txt", tests, [0, 0, 1, 1])
    listed = {"classes": 2, **SMALL, "size": SIDE, "upright": "yes", **options}
    answer("listed", lambda: WebVision(path=str(lists), **listed).load().train_x[0])
    return found


def composited(image: Image.Image, ground: int) -> NDArray[np.float64]:
    """The plain formula, in real numbers."""
    pixels = np.asarray(image.convert("RGBA")).astype(float)
    share = pixels[..., 3:] / 255
    return share * pixels[..., :3] + (1 - share) * ground


def test_the_table_names_every_mode() -> None:
    assert set(table()) == set(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_is_what_the_table_says_everywhere(mode: str, tmp_path: Path) -> None:
    where, result = table()[mode]
    encoded = files_of(mode, 1)
    assert bool(encoded) == (where != "no file is read in this mode"), encoded.keys()
    for name, data in encoded.items():
        assert name.lower() in where.lower() or where == "all", f"{mode} in {name}"
        place = tmp_path / name
        found = readers(tree(place / "tree", data, name.lower()), place)
        assert len(found) == 5
        seen = Image.open(io.BytesIO(data))
        if result.startswith("refused"):
            for reader, line in found.items():
                assert isinstance(line, str), f"{reader}: {mode} in {name}"
                assert f"pixels of mode {mode}" in line
            continue
        wanted = composited(seen, 255)
        if not result.startswith("composited"):
            wanted = np.asarray(seen.convert("RGB")).astype(float)
        for reader, pixels in found.items():
            assert not isinstance(pixels, str), f"{reader}: {pixels}"
            assert np.abs(pixels - wanted).max() <= 1, f"{reader}: {mode} in {name}"
            assert np.array_equal(pixels, found["resident"]), reader


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_transparent_colour_is_composited(mode: str, tmp_path: Path) -> None:
    image = Image.new(mode, (SIDE, SIDE), 0 if mode != "RGB" else (0, 0, 0))
    image.paste(1 if mode == "P" else 90 if mode == "L" else (10, 20, 30), (2, 2, 5, 5))
    if mode == "P":
        image.putpalette([0, 0, 0, 10, 20, 30])
    out = io.BytesIO()
    image.save(out, "PNG", transparency=0 if mode != "RGB" else (0, 0, 0))
    found = readers(tree(tmp_path / "tree", out.getvalue(), "png"), tmp_path)
    for reader, pixels in found.items():
        assert not isinstance(pixels, str), f"{reader}: {pixels}"
        assert pixels[0, 0].tolist() == [255, 255, 255], reader
        assert pixels[3, 3].tolist() == ([90] * 3 if mode == "L" else [10, 20, 30]), reader


@pytest.mark.parametrize(("ground", "level"), [("white", 255), ("grey", 128), ("black", 0)])
def test_the_ground_is_an_option_of_every_reader(ground: str, level: int, tmp_path: Path) -> None:
    shape = np.zeros((SIDE, SIDE, 4), np.uint8)
    shape[2:6, 2:6, 3] = 255  # a drawing whose shape is in the alpha channel alone
    out = io.BytesIO()
    Image.fromarray(shape, "RGBA").save(out, "PNG")
    found = readers(tree(tmp_path / "tree", out.getvalue(), "png"), tmp_path, ground=ground)
    for reader, pixels in found.items():
        assert (pixels[0, 0].tolist(), pixels[3, 3].tolist()) == ([level] * 3, [0, 0, 0]), reader
    write_packed(tmp_path / "own" / "train.npz", [out.getvalue()] * 2, [0, 1])
    write_packed(tmp_path / "own" / "test.npz", [out.getvalue()] * 2, [0, 1])
    own = Packed(path=str(tmp_path / "own"), ground=ground).load().train_x[0]
    assert own[:, 0, 0].tolist() == [level] * 3


def test_opaque_images_with_an_alpha_channel_keep_their_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    out = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(out, "PNG")
    for reader, got in readers(tree(tmp_path / "tree", out.getvalue(), "png"), tmp_path).items():
        assert np.array_equal(got, pixels[..., :3]), reader


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_of_sixteen_bits_in_colour_the_upper_eight_are_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    found = readers(tree(tmp_path / "tree", png(SIDE, SIDE, 16, 2, rows), "png"), tmp_path)
    for reader, pixels in found.items():
        assert not isinstance(pixels, str), f"{reader}: {pixels}"
        assert np.array_equal(pixels, (values >> 8).astype(np.uint8)), reader


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_behind_an_image_are_passed_over(kind: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    example("RGB", 1).save(out, kind)
    wanted = np.asarray(Image.open(out))
    data = out.getvalue() + b"more"
    for reader, pixels in readers(tree(tmp_path / "tree", data, kind.lower()), tmp_path).items():
        assert np.array_equal(pixels, wanted), f"{reader}: {pixels}"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 2, 5, 6, 8])
def test_orientation_is_followed_everywhere_or_nowhere(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image = Image.fromarray(np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 15,
                                    np.ones((2, 2), np.uint8)))  # fmt: skip
    image.convert("RGB").save(out, kind, exif=exif)
    seen = Image.open(io.BytesIO(out.getvalue()))
    root = tree(tmp_path / "tree", out.getvalue(), kind.lower())
    for upright, wanted in (("yes", ImageOps.exif_transpose(seen)), ("no", seen)):
        found = readers(root, tmp_path / upright, upright=upright)
        for reader, pixels in found.items():
            assert np.array_equal(pixels, np.asarray(wanted.convert("RGB"))), reader
    if kind != "WEBP":
        own = tmp_path / "own.npz"
        write_packed(own, [out.getvalue()], [0])
        turned = decode_images(read_pack(own), np.arange(1), 1)[0].permute(1, 2, 0).numpy()
        assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(seen).convert("RGB")))


def test_images_on_their_side_have_the_size_that_is_seen(tmp_path: Path) -> None:
    exif, wide = Image.Exif(), np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    exif[0x0112] = 6
    encoded = []
    for array, header in ((wide, None), (np.rot90(wide).copy(), exif)):
        out = io.BytesIO()
        Image.fromarray(array).save(out, "PNG", **({} if header is None else {"exif": header}))
        encoded.append(out.getvalue())
    for name in ("train", "test"):
        write_packed(tmp_path / f"{name}.npz", encoded, [0, 1])
    source = Packed(path=str(tmp_path))
    source.check()
    assert torch.equal(*source.load().train_x)


def test_animations_show_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue")]
    for kind in ("PNG", "WEBP", "TIFF"):
        out = io.BytesIO()
        lossless = {"lossless": True} if kind == "WEBP" else {}
        frames[0].save(out, kind, save_all=True, append_images=frames[1:], **lossless)
        place = tmp_path / kind
        for reader, got in readers(
            tree(place / "tree", out.getvalue(), kind.lower()), place
        ).items():
            assert got[0, 0].tolist() == [255, 0, 0], f"{reader}: {kind}"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_500, 60_000])
def test_one_limit_of_pixels_holds_in_every_reader(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """9,500 squared lies between the limit and Pillow's own error."""
    assert side * side > MOST_PIXELS
    data = png(side, side, 1, 0, b"\0" * 100)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    found = readers(tree(tmp_path / "tree", data, "png"), tmp_path)
    for reader, line in found.items():
        assert isinstance(line, str), reader
        assert "89,478,485 pixels" in line, reader
    for name in ("train", "test"):
        write_packed(tmp_path / "own" / f"{name}.npz", [data] * 2, [0, 1])
    with pytest.raises(InputError, match="89,478,485 pixels"):
        Packed(path=str(tmp_path / "own")).check()
