"""Human labels of CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022).

The published files are pickles inside zip archives. They are opened only after their checksum
matched, through torch's weights-only reader with the parts of an array allowed, and what comes
out is checked array by array. A copy as ``.npz`` of uint8 is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.datasets.cache import cache_folder
from prunebench.datasets.locate import ROOT_VARIABLE, checksum, data_root, require
from prunebench.errors import InputError
from prunebench.files import write_atomic
from prunebench.untrusted import user_path

Labels = NDArray[np.int64]

CLEAN = "clean"
#: Where the authors publish the files, at the revision whose checksums are listed below.
URL = (
    "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/"
    "49df7d8a69e355470c77c1c2f2424916325a394b/data"
)
LICENCE = "human labels: Wei et al. 2022, UCSC-REAL/cifar-10-100n, CC BY-NC 4.0"


@dataclass(frozen=True)
class LabelFile:
    """A published label file.

    Attributes:
        name: File name.
        digest: ``sha256:HEX``.
        classes: C.
        count: N.
        arrays: Variant -> (key in the file, SHA-256 of the array as little-endian int64 bytes);
            ``clean`` holds the labels of the images, the empty name is plain ``real``.
    """

    name: str
    digest: str
    classes: int
    arrays: Mapping[str, tuple[str, str]] = field(hash=False)
    count: int = 50_000

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the human labels."""
        return tuple(name for name in self.arrays if name != CLEAN)


LABEL_FILES = {
    "cifar10n": LabelFile(
        "CIFAR-10_human.pt",
        "sha256:873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310",
        10,
        {
            CLEAN: ("clean_label",
                    "f5cfe00b0f00968c0cc5ff3b1d2de51b10e33efa277c2986f4e0fa63e58c9f4f"),
            "aggregate": ("aggre_label",
                          "b3c3d486d22c3055756e7b1b1a0e98b099c1d68b771633023b0f76fa2e09ede6"),
            "worst": ("worse_label",
                      "a64d887522cf6d8f4966912a1536ea2d890600929a8465a7f307cdca2501847b"),
            "random1": ("random_label1",
                        "b5dc9007ae247a48ce267bec37a1310b0cd65ed73801ca7e595fb954902575a7"),
            "random2": ("random_label2",
                        "1182c45d3a24636640fe1e3743b9566b6fabe86b2ed14f6b8216799e209a0d4e"),
            "random3": ("random_label3",
                        "b51e116c617ded2c98be095ba8b3abae8adfa6caa54f7f6eedf50c7aed013d44"),
        },
    ),
    "cifar100n": LabelFile(
        "CIFAR-100_human.pt",
        "sha256:bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394",
        100,
        {
            CLEAN: ("clean_label",
                    "8bf4935e7c77a3096270043c6f3b221b6ecb9c63d1a08608e9af66cff17e977a"),
            "": ("noisy_label",
                 "4a1efd5da7a214b299cf6ac0bafe3f0d48c065b7aa2d40aa185d4711714bb311"),
        },
    ),
}  # fmt: skip


def find_labels(dataset: str, given: str | None, near: Sequence[Path]) -> Path:
    """The label file of a data set.

    Args:
        dataset: Key of ``LABEL_FILES``.
        given: The user's file, or a folder with it; None to look around.
        near: Folders to look in before the data root.

    Raises:
        InputError: It is not there; the line says where it was looked for.
    """
    file = LABEL_FILES[dataset]
    if given is not None:
        path = user_path(given, f"dataset {dataset}")
        places = [path, path / file.name]
    else:
        folders = [f / sub for f in (*near, data_root()) for sub in ("cifar-n", "")]
        places = [folder / file.name for folder in folders]
    for place in places:
        if place.is_file():
            return place
    looked = given or " or ".join(dict.fromkeys(str(place.parent) for place in places))
    raise InputError(
        f"{file.name} not found in {looked}",
        where=f"dataset {dataset}",
        accepted=f"labels=PATH, or {ROOT_VARIABLE}=FOLDER with cifar-n/{file.name} "
        f"(github.com/UCSC-REAL/cifar-10-100n); `prunebench data prepare {dataset}` downloads",
    )


def fetch_labels(dataset: str, folder: Path) -> Path:
    """Downloads the label file of a data set from its authors' repository, checksum compared.

    Raises:
        InputError: What came is another file.
        OSError: No network.
    """
    from torchvision.datasets.utils import download_url

    name = LABEL_FILES[dataset].name
    download_url(f"{URL}/{name}", str(folder), filename=name)
    return require(folder / name, dataset, LABEL_FILES[dataset].digest)


def read_labels(dataset: str, path: Path) -> dict[str, Labels]:
    """Human labels by variant, and the images' own under ``clean``.

    Args:
        dataset: Key of ``LABEL_FILES``.
        path: The published file.

    Returns:
        int64 [N] each.

    Raises:
        InputError: Another file than the published one, or arrays that are not the published.
    """
    file = LABEL_FILES[dataset]
    require(path, dataset, file.digest)
    cached = cache_folder() / f"{file.name}-{checksum(path)[:16]}.npz"
    try:
        return _validated(_read_cache(cached), file, cached)
    except Exception:  # absent, or damaged in one of a dozen ways
        content = _read_published(path)
    keyed = {name: content.get(key) for name, (key, _) in file.arrays.items()}
    labels = _validated(keyed, file, path)
    _write_cache(cached, labels)
    return labels


def _read_published(path: Path) -> dict[str, Any]:
    module: Any = getattr(np, "_core", None) or np.core
    allowed: list[Any] = [
        (module.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        (module.multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.int64)),
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each have their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot be read ({reason[:200]})", where=str(path), accepted="the published file"
        ) from None
    if not isinstance(content, dict):
        raise InputError(
            f"holds a {type(content).__name__}", where=str(path), accepted="a dict of arrays"
        )
    return content


def _validated(arrays: Mapping[str, Any], file: LabelFile, path: Path) -> dict[str, Labels]:
    found: dict[str, Labels] = {}
    for name, (key, digest) in file.arrays.items():
        array, where = arrays.get(name), f"{path}: {key}"
        if not isinstance(array, np.ndarray):
            raise InputError("missing" if array is None else "no array", where=where,
                             accepted=f"int64, {file.count} labels")  # fmt: skip
        if array.dtype != np.int64 or array.shape != (file.count,):
            raise InputError(f"{array.dtype} of shape {array.shape}", where=where,
                             accepted=f"int64, {file.count} labels")  # fmt: skip
        bad = np.flatnonzero((array < 0) | (array >= file.classes))
        if len(bad):
            raise InputError(f"label {array[bad[0]]} at image {bad[0]}", where=where,
                             accepted=f"0 to {file.classes - 1}")  # fmt: skip
        measured = hashlib.sha256(array.astype("<i8").tobytes()).hexdigest()
        if digest and measured != digest:
            raise InputError(f"sha256 of the labels is {measured}", where=where,
                             accepted=f"the published labels, {digest}")  # fmt: skip
        found[name] = array
    return found


def _read_cache(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as content:
        return {key[len("label_") :]: content[key].astype(np.int64) for key in content.files}


def _write_cache(path: Path, labels: Mapping[str, Labels]) -> None:
    """Keeps a copy; a folder that cannot be written is no error."""
    buffer = io.BytesIO()
    named: dict[str, Any] = {f"label_{n}": a.astype(np.uint8) for n, a in labels.items()}
    np.savez(buffer, **named)
    try:
        write_atomic(path, buffer.getvalue())
    except OSError:
        return
