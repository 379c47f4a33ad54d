"""The packed-image format: one ``.npz`` with encoded images end to end.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prunebench.errors import InputError, is_text
from prunebench.files import replacing
from prunebench.untrusted import read_npz

Array = NDArray[Any]

_REQUIRED = ("jpeg", "offset", "label")
_OPTIONAL = ("class_names", "groups", "mean", "std", "human", "human_names")


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
        class_names=tuple(_extra(arrays, "class_names", "U", path)),
        groups=tuple(_extra(arrays, "groups", "iu", path)),
        mean=_channels(arrays, "mean", path),
        std=_channels(arrays, "std", path),
        human=_human(arrays, path),
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


def _extra(arrays: dict[str, Array], key: str, kinds: str, path: Path) -> list[Any]:
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
    values = _extra(arrays, key, "f", path)
    low_ok = all(math.isfinite(v) and 0 <= v <= 1 and (v or key == "mean") for v in values)
    if values and (len(values) != 3 or not low_ok):
        raise InputError(
            f"{values}", where=f"{path}: {key}", accepted="three numbers in [0, 1], std above 0"
        )
    return tuple(values)


def _human(arrays: dict[str, Array], path: Path) -> dict[str, NDArray[np.int64]]:
    if "human" not in arrays:
        return {}
    array, names = arrays["human"], _extra(arrays, "human_names", "U", path)
    wanted = (len(set(names)), len(arrays["label"]))
    plain = str(array.dtype) in ("uint8", "int64") and len(set(names)) == len(names)
    if not plain or array.shape != wanted:
        raise InputError(
            f"{array.dtype} of shape {array.shape} for {len(names)} names",
            where=f"{path}: human",
            accepted=f"uint8 or int64 {list(wanted)}, a row for each of the human_names",
        )
    return dict(zip(names, array.astype(np.int64), strict=True))


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
        _extra(arrays, "class_names", "U", path)
        for key in ("mean", "std"):
            _channels(arrays, key, path)
        _human(arrays, path)
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
