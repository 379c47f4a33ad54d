"""Packed images, read, decoded and written: one ``.npz`` with encoded images end to end.

Keys: ``jpeg`` uint8 (JPEG or PNG files concatenated), ``offset`` int64 [N+1], ``label`` uint8 or
int64 [N]; image i is ``jpeg[offset[i]:offset[i+1]]``. Optional: ``class_names`` unicode [C],
``groups`` integers [C], ``mean`` and ``std`` floats [3], and labels with real noise: ``human``
uint8 or int64 [V, N] under the V names ``human_names``. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import math
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.images.pixels import DEFAULT_READING, MOST_PIXELS, Reading, open_image, rgb
from prunebench.errors import InputError, is_text
from prunebench.files import replacing
from prunebench.untrusted import TIMES, read_npz

Array = NDArray[Any]

_REQUIRED = ("jpeg", "offset", "label")
_OPTIONAL = ("class_names", "groups", "mean", "std", "human", "human_names")
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_FORMATS = ("JPEG", "PNG")
#: What a JPEG file that may have to be turned holds; the others need no Pillow.
_NOTES = (b"Exif\0\0", b"http://ns.adobe.com/xap")
#: Second bytes of JPEG markers: those of frames, which hold the size, and those of the segments
#: that may come before.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEGMENTS = frozenset((0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE))
_CHUNK = 256
#: Bytes that all images together may decode to, and ``TIMES`` the file's bytes beyond.
_ALWAYS_ALLOWED = 1 << 29


@dataclass(frozen=True)
class Pack:
    """A validated file, images still encoded.

    Attributes:
        path: The file.
        jpeg: uint8, all encoded images.
        offset: int64 [N+1], strictly increasing from 0 to ``len(jpeg)``.
        label: int64 [N], >= 0.
        class_names: C names, or empty.
        groups: C super-class ids, or empty.
        mean: Three numbers, or empty.
        std: Three numbers, or empty.
        human: Labels with real noise by name, int64 [N].
    """

    path: Path
    jpeg: NDArray[np.uint8]
    offset: NDArray[np.int64]
    label: NDArray[np.int64]
    class_names: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    human: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)


def read_pack(path: Path) -> Pack:
    """Reads and validates a packed file without decoding its images.

    Raises:
        InputError: The file is missing or damaged, or a field breaks the format; the line names
            file and field.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), accepted="a packed .npz file")
    arrays = read_npz(path, (*_REQUIRED, *_OPTIONAL))
    for key in _REQUIRED:
        if key not in arrays:
            raise InputError(
                f"lacks the key {key!r}", where=str(path), accepted=", ".join(_REQUIRED)
            )
    _check_images(arrays, path)
    return Pack(
        path,
        arrays["jpeg"],
        arrays["offset"],
        arrays["label"].astype(np.int64),
        class_names=tuple(text_or_numbers(arrays, "class_names", "U", path)),
        groups=tuple(text_or_numbers(arrays, "groups", "iu", path)),
        mean=_channels(arrays, "mean", path),
        std=_channels(arrays, "std", path),
        human=human_labels(arrays, len(arrays["label"]), path),
    )


def _check_images(arrays: dict[str, Array], path: Path) -> None:
    jpeg, offset, label = (arrays[key] for key in _REQUIRED)

    def refuse(key: str, what: str, accepted: str) -> InputError:
        return InputError(what, where=f"{path}: {key}", accepted=accepted)

    for key, dtypes in (("jpeg", "uint8"), ("offset", "int64"), ("label", "uint8 or int64")):
        array = arrays[key]
        if array.ndim != 1 or str(array.dtype) not in dtypes.split(" or "):
            raise refuse(key, f"{array.dtype} of shape {array.shape}", f"{dtypes}, one dimension")
    if len(offset) < 2 or not len(jpeg):
        raise refuse("offset" if len(jpeg) else "jpeg", "no images", "at least one image")
    if offset[0] != 0:
        raise refuse("offset", f"starts at {offset[0]}", "0")
    steps = np.flatnonzero(offset[1:] <= offset[:-1])
    if len(steps):
        raise refuse("offset", f"does not increase after image {steps[0]}", "ascending offsets")
    if offset[-1] != len(jpeg):
        raise refuse("offset", f"ends at {offset[-1]}", f"{len(jpeg)}, the length of jpeg")
    if len(label) != len(offset) - 1:
        raise refuse("label", f"{len(label)} labels", f"{len(offset) - 1}, one for each image")
    if label.min() < 0:
        raise refuse("label", f"negative at image {int((label < 0).argmax())}", "0 to C-1")


def text_or_numbers(arrays: Mapping[str, Array], key: str, kinds: str, path: Path) -> list[Any]:
    """An optional array of one dimension as a list; empty where it is not there.

    Args:
        arrays: Of the file.
        key: Its name.
        kinds: ``U`` for texts, ``iu`` for integers, ``f`` for floats.
        path: The file, for messages.

    Raises:
        InputError: It is something else.
    """
    if key not in arrays:
        return []
    array = arrays[key]
    if array.ndim != 1 or array.dtype.kind not in kinds or not len(array):
        wanted = {"U": "unicode strings", "iu": "integers", "f": "floats"}[kinds]
        raise InputError(
            f"{array.dtype} of shape {array.shape}",
            where=f"{path}: {key}",
            accepted=f"{wanted}, one dimension",
        )
    try:
        values = list(array.tolist())
    except (SystemError, ValueError):  # numpy on code points that do not exist
        raise InputError("holds no text", where=f"{path}: {key}", accepted="unicode") from None
    odd = next((v for v in values if kinds == "U" and not is_text(v)), None)
    if odd is not None:
        raise InputError(f"{odd!r} is no text", where=f"{path}: {key}", accepted="unicode")
    return values


def _channels(arrays: dict[str, Array], key: str, path: Path) -> tuple[float, ...]:
    values = text_or_numbers(arrays, key, "f", path)
    low_ok = all(math.isfinite(v) and 0 <= v <= 1 and (v or key == "mean") for v in values)
    if values and (len(values) != 3 or not low_ok):
        raise InputError(
            f"{values}", where=f"{path}: {key}", accepted="three numbers in [0, 1], std above 0"
        )
    return tuple(values)


def human_labels(
    arrays: Mapping[str, Array], count: int, path: Path
) -> dict[str, NDArray[np.int64]]:
    """Labels with real noise by variant, from ``human`` and ``human_names``; empty without them.

    Args:
        arrays: Of the file.
        count: Samples N.
        path: The file, for messages.

    Raises:
        InputError: They are no integers, or not one row for each name.
    """
    if "human" not in arrays:
        return {}
    array, names = arrays["human"], text_or_numbers(arrays, "human_names", "U", path)
    wanted = (len(set(names)), count)
    plain = str(array.dtype) in ("uint8", "int64") and len(set(names)) == len(names)
    if not plain or array.shape != wanted:
        raise InputError(
            f"{array.dtype} of shape {array.shape} for {len(names)} names",
            where=f"{path}: human",
            accepted=f"uint8 or int64 {list(wanted)}, a row for each of the human_names",
        )
    return dict(zip(names, array.astype(np.int64), strict=True))


def check_headers(pack: Pack, rows: NDArray[np.int64]) -> tuple[int, int]:
    """Checks the sizes that the headers of a packed file's images claim; decodes none.

    Args:
        pack: The file.
        rows: int64 [n], n >= 1, which images.

    Returns:
        Height and width of the first, as its header says.

    Raises:
        InputError: An image is neither JPEG nor PNG, has a damaged header, claims no pixels or too
            many, or is of another size than the first, or all together take far more memory than
            the file; the line names it.
    """
    first: tuple[int, int] | None = None
    for index in rows.tolist():
        height, width = _claimed(pack, index)
        if not 0 < height * width <= MOST_PIXELS:
            raise _refused(
                pack, index, f"claims {height}x{width} pixels", f"1 to {MOST_PIXELS:,} pixels"
            )
        if first is None:
            first, total = (height, width), 3 * height * width * len(rows)
            most = _ALWAYS_ALLOWED + TIMES * len(pack.jpeg)
            if total > most:
                raise InputError(
                    f"{len(rows)} images of {height}x{width} pixels in {len(pack.jpeg)} bytes "
                    f"take {total / 2**30:.1f} GiB",
                    where=str(pack.path),
                    accepted=f"at most {most / 2**30:.1f} GiB: limit=N reads fewer, and folder:PATH"
                    " reads image files at a smaller size",
                )
        if sorted(first) != sorted((height, width)):  # EXIF may still turn it
            raise _other_size(pack, index, (height, width), first, int(rows[0]))
    assert first is not None
    return first


def _other_size(
    pack: Pack, index: int, found: Sequence[int], first: Sequence[int], start: int
) -> InputError:
    return _refused(
        pack, index, f"{found[0]}x{found[1]} pixels",
        f"{first[0]}x{first[1]}, the size of image {start}; folder:PATH reads image files of any "
        "size and resizes them to one (size=N)",
    )  # fmt: skip


def decode_images(
    pack: Pack,
    rows: NDArray[np.int64],
    workers: int,
    reading: Reading = DEFAULT_READING,
) -> Tensor:
    """Decodes images of a packed file by the rule of ``pixels.rgb``.

    Args:
        pack: The file.
        rows: int64 [n], n >= 1, which images.
        workers: Threads; the result does not depend on it.
        reading: Ground and orientation.

    Returns:
        uint8 [n, 3, H, W].

    Raises:
        InputError: As ``check_headers`` and ``pixels.rgb``; the line names the image's index in
            the file. Or the decoded images do not fit into memory.
    """
    claimed = check_headers(pack, rows)
    first = _decode(pack, int(rows[0]), reading)
    if sorted(first.shape[1:]) != sorted(claimed):  # a file with two headers
        raise _other_size(pack, int(rows[0]), first.shape[1:], claimed, int(rows[0]))
    try:
        images = torch.empty(len(rows), *first.shape, dtype=torch.uint8)
    except RuntimeError:
        size = len(rows) * first.numel() / 2**30
        raise InputError(
            f"{len(rows)} decoded images of {first.shape[1]}x{first.shape[2]} take {size:.1f} GiB",
            where=str(pack.path),
            accepted="what fits into memory; the option limit reads fewer",
        ) from None

    def fill(begin: int) -> None:
        for place in range(begin, min(begin + _CHUNK, len(rows))):
            image = _decode(pack, int(rows[place]), reading)
            if image.shape != first.shape:
                found, wanted = image.shape[1:], first.shape[1:]
                raise _other_size(pack, int(rows[place]), found, wanted, int(rows[0]))
            images[place] = image

    with ThreadPoolExecutor(workers) as pool:
        parts = [pool.submit(fill, begin) for begin in range(0, len(rows), _CHUNK)]
        try:
            for part in parts:  # in order, so that the first bad image is the one reported
                part.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return images


def _refused(pack: Pack, index: int, what: str, accepted: str) -> InputError:
    return InputError(what, where=f"{pack.path}: image {index}", accepted=accepted)


def _claimed(pack: Pack, index: int) -> tuple[int, int]:
    """Height and width that the header of an image claims."""
    begin, end = int(pack.offset[index]), int(pack.offset[index + 1])
    head = pack.jpeg[begin : begin + 32].tobytes()
    if head.startswith(_PNG) and head[12:16] == b"IHDR":
        return int.from_bytes(head[20:24]), int.from_bytes(head[16:20])
    if not head.startswith((_JPEG, _PNG)):
        raise _refused(pack, index, "unknown image format", "JPEG or PNG")
    encoded = pack.jpeg[begin:end].tobytes()
    found = _jpeg_size(encoded) if head.startswith(_JPEG) else None
    if found is not None:
        return found
    width, height = open_image(encoded, f"{pack.path}: image {index}", _FORMATS).size
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG header claims; None unless it is laid out plainly, so that every
    decoder finds this size and no other."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _FRAMES:
            return int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
        elif marker in _SEGMENTS:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
        else:
            return None
    return None


def _decode(pack: Pack, index: int, reading: Reading) -> Tensor:
    data = pack.jpeg[int(pack.offset[index]) : int(pack.offset[index + 1])]
    encoded = data.tobytes()
    turned = reading.upright and any(note in encoded for note in _NOTES)
    # torchvision knows no limit of pixels, and its PNG decoder ends the process on some damaged
    # files; JPEG files whose size is known it reads three times as fast, to the same pixels.
    if encoded.startswith(_JPEG) and not turned and _jpeg_size(encoded) is not None:
        from torchvision.io import ImageReadMode, decode_image

        try:
            image: Tensor = decode_image(torch.from_numpy(data), ImageReadMode.RGB)
        except Exception as error:  # whatever damaged bytes provoke
            reason = (str(error) or type(error).__name__).splitlines()[0].rpartition(", ")[2]
            raise _refused(pack, index, f"damaged image ({reason})", "a whole file") from None
        return image
    pixels = np.array(rgb(encoded, f"{pack.path}: image {index}", reading, _FORMATS))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def write_packed(
    path: str | Path,
    images: Tensor | Iterable[bytes],
    labels: Sequence[int] | NDArray[np.int64] | Tensor,
    *,
    class_names: Sequence[str] = (),
    groups: Sequence[int] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    human: Mapping[str, Sequence[int] | NDArray[np.int64] | Tensor] | None = None,
) -> None:
    """Writes a packed file atomically; the same content gives the same bytes.

    Args:
        path: File to write, ``train.npz`` or ``test.npz`` by custom.
        images: uint8 [N, 1 or 3, H, W], stored lossless as PNG; or N encoded JPEG or PNG files,
            of which one is in memory at a time.
        labels: N class ids >= 0.
        class_names: C names, where known.
        groups: Super-class id of each class, where known.
        mean: Per channel, of pixels in [0, 1]; measured at loading where left out.
        std: Per channel.
        human: Labels with real noise by name, N each.

    Raises:
        InputError: What is given breaks the format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = _encoded(images) if isinstance(images, Tensor) else images
    with tempfile.TemporaryFile(dir=path.parent) as blob:
        sizes = np.array([blob.write(image) for image in encoded], dtype=np.int64)
        blob.flush()
        some = sizes.sum() > 0
        arrays: dict[str, Array] = {
            "jpeg": np.memmap(blob, np.uint8, "r") if some else np.empty(0, np.uint8),
            "offset": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            "label": _ids(labels, f"{path}: label"),
        }
        extras: dict[str, Array] = {
            "class_names": np.array(class_names, dtype=np.str_),
            "groups": np.array(groups, dtype=np.int64),
            "mean": np.array(mean, dtype=np.float64),
            "std": np.array(std, dtype=np.float64),
        }
        if human:
            rows = [_ids(row, f"{path}: human") for row in human.values()]
            extras["human"] = np.stack(rows) if len({len(r) for r in rows}) == 1 else rows[0]
            extras["human_names"] = np.array(list(human), dtype=np.str_)
        arrays |= {key: array for key, array in extras.items() if len(array)}
        _check_images(arrays, path)
        text_or_numbers(arrays, "class_names", "U", path)
        for key in ("mean", "std"):
            _channels(arrays, key, path)
        human_labels(arrays, len(arrays["label"]), path)
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            for key, array in arrays.items():
                # A ZipInfo of its own carries the fixed date 1980-01-01: no clock in the bytes.
                with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def _ids(labels: Any, where: str) -> Array:
    ids = np.asarray(labels)
    if ids.dtype.kind not in "iu":
        raise InputError(f"{ids.dtype} labels", where=where, accepted="integers")
    small = ids.size and ids.min() >= 0 and ids.max() < 256
    return ids.astype(np.uint8 if small else np.int64)


def _encoded(images: Tensor) -> Iterator[bytes]:
    from torchvision.io import encode_png

    for image in images:
        yield encode_png(image).numpy().tobytes()
