"""Data of one's own, from Python to a file that every worker can read."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prunebench.api.own_samples import size_of
from prunebench.api.own_texts import are_texts, text_lines
from prunebench.datasets.sources.arrays import Arrays
from prunebench.errors import InputError, error_line
from prunebench.files import replacing
from prunebench.problems import FILE_NAME, FILE_NAME_WORDS

Array = NDArray[Any]

#: Columns of a Hugging Face data set that hold the input.
_INPUTS = ("image", "img", "pixel_values", "features", "x", "X")
_LABELS = ("label", "labels", "fine_label", "target", "y")
#: How far a float pixel may lie from a multiple of 1/255.
_CLOSE = 1e-3


@dataclass(frozen=True, eq=False)
class OwnData:
    """A data set of one's own; ``run`` and ``grid`` take it as ``dataset``.

    Attributes:
        name: Of its file, and on boards.
        arrays: As ``arrays:FILE.npz`` holds them; none of texts.
        digest: First 16 hex digits of the SHA-256 of the file's bytes.
        texts: Texts of both splits, where they are such.
    """

    name: str
    arrays: Mapping[str, Array]
    digest: str
    data: bytes
    texts: int = 0

    def __repr__(self) -> str:
        if self.texts:
            return f"<OwnData {self.name}: {self.texts} texts>"
        parts = [f"{name} {array.dtype} {list(array.shape)}" for name, array in self.arrays.items()
                 if name.startswith(("X", "y"))]  # fmt: skip
        return f"<OwnData {self.name}: {', '.join(parts)}>"

    def write(self, folder: Path | str) -> str:
        """Writes the file into ``folder/data`` unless it is there.

        Returns:
            The data set's name on the command line: ``arrays:PATH``, or ``text:PATH``.
        """
        path = Path(folder) / "data" / f"{self.name}-{self.digest}.npz"
        if self.texts:
            path = path.with_suffix("") / f"{self.name}.jsonl"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(self.data)
        return f"text:{path}" if self.texts else f"arrays:{path}"


def task(
    train: Any,
    test: Any,
    *,
    num_classes: int | None = None,
    labels: Any = None,
    noisy_labels: Any = None,
    groups: Sequence[int] | None = None,
    test_groups: Any = None,
    reference: Any = None,
    class_names: Sequence[str] | None = None,
    clean: bool = True,
    name: str = "own",
) -> OwnData:
    """A task from data of one's own.

    Args:
        train: ``(X, y)``: uint8 images [N, H, W], [N, channels, H, W] or [N, H, W, channels] with 1
            or 3 channels, or float vectors [N, D], and labels [N]. Or a map-style data set of
            (image, array or tensor, label), or one of Hugging Face. Images are PIL images of one
            size, uint8, or floats k/255 as ``ToTensor`` makes them. Or ``(texts, labels)``: a list
            of str, and names or whole numbers; of the other arguments texts take ``labels``,
            ``noisy_labels`` and ``name``.
        test: The same kind, of the same classes and shape.
        num_classes: C, where some class has no training sample.
        labels: int [N], labels of the training samples in place of those in ``train``.
        noisy_labels: int [N], labels with real noise: the noise named ``real``.
        groups: Super-class of each class, for asymmetric noise within them.
        test_groups: A name or a whole number for each test sample: groups whose accuracies
            results tell apart, with the worst of them. Nothing that trains or selects sees them.
        reference: Clean samples for methods that compare with them, as ``train``; drawn from the
            training samples where left out.
        class_names: C names.
        clean: Whether the labels are known to be clean; if not, they are the noise ``real``.
        name: What boards and listings call the data; also of the file beside the results.

    Raises:
        InputError: Wrong shapes or labels, a sample that cannot be read, numbers that are not
            finite; the line names what and where.
    """
    if not re.fullmatch(FILE_NAME, name):
        raise InputError(f"{name!r}", where="task: name", accepted=FILE_NAME_WORDS)
    if are_texts(train):
        others = {"num_classes": num_classes, "groups": groups, "test_groups": test_groups,
                  "reference": reference, "class_names": class_names,
                  "clean": None if clean else clean}  # fmt: skip
        data, count = text_lines(train, test, labels, noisy_labels, others)
        return OwnData(name, {}, hashlib.sha256(data).hexdigest()[:16], data, count)
    own_names, other_names = _class_names(train), _class_names(test)
    if own_names and other_names and own_names != other_names:
        raise InputError(
            f"its classes are {', '.join(other_names)[:200]}", where="task: test",
            accepted=f"those of train: {', '.join(own_names)[:200]}",
        )  # fmt: skip
    arrays: dict[str, Array] = {}
    for key, data, own in (("", train, labels), ("_test", test, None),
                           ("_reference", reference, None)):  # fmt: skip
        if data is not None or key != "_reference":
            where = f"task: {key.removeprefix('_') or 'train'}"
            arrays[f"X{key}"], arrays[f"y{key}"] = _split(data, own, where)
    if noisy_labels is not None:
        arrays["human"] = _whole(noisy_labels, "task: noisy_labels")[None]
        arrays["human_names"] = np.array([""], dtype=np.str_)
    if num_classes is not None and num_classes < 2:
        raise InputError(f"{num_classes}", where="task: num_classes", accepted="two or more")
    names = class_names
    if names is None and num_classes is not None:
        names = [f"class {number}" for number in range(num_classes)]
    if names is not None:
        arrays["class_names"] = np.array(list(names), dtype=np.str_)
    if groups is not None:
        arrays["groups"] = _whole(groups, "task: groups")
    if test_groups is not None:
        arrays["test_group"] = _array(test_groups)
    if not clean:
        arrays["clean_known"] = np.array(False)
    Arrays().raw(arrays, Path("task"), "")
    arrays["name"] = np.array(name)
    packed = _file(arrays)
    return OwnData(name, arrays, hashlib.sha256(packed).hexdigest()[:16], packed)


def _whole(values: Any, where: str) -> Array:
    array = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputError(f"{array.dtype} of shape {array.shape}", where=where,
                         accepted="whole numbers, one dimension")  # fmt: skip
    return array.astype(np.int64)


def _split(data: Any, labels: Any, where: str) -> tuple[Array, Array]:
    """Samples and labels as arrays."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and _is_array(data[0]):
        x, y = data
        return _array(x), _array(y if labels is None else labels)
    size = size_of(data, where)
    columns = getattr(data, "column_names", None)
    column = _column(columns, _INPUTS, where) if isinstance(columns, list) else None
    own = _column(columns, _LABELS, where) if isinstance(columns, list) else None
    samples: list[Array] = []
    found: list[Any] = []
    for number in range(size):
        try:
            item = data[number]
            if column is None and not (isinstance(item, (tuple, list)) and len(item) > 1):
                raise InputError(f"a {type(item).__name__} alone", where="",
                                 accepted="samples (input, label)")  # fmt: skip
            x, y = (item[column], item[own]) if column is not None else item[:2]
            samples.append(_pixels(x))
        except InputError as error:
            raise InputError(error.what, where=f"{where}: sample {number}",
                             accepted=error.accepted) from None  # fmt: skip
        except Exception as error:
            raise InputError(
                f"sample {number} cannot be read ({error_line(error)})", where=where,
                accepted="samples (input, label) from 0 to the length less 1",
            ) from None  # fmt: skip
        if samples[-1].shape != samples[0].shape:
            raise InputError(
                f"sample {number} has the shape {samples[-1].shape}", where=where,
                accepted=f"{samples[0].shape}, as sample 0",
            )  # fmt: skip
        found.append(int(y) if isinstance(y, Tensor) and y.ndim == 0 else y)
    if len(data) != size:
        raise InputError(f"its length was {size} and is {len(data)}", where=where,
                         accepted="one length")  # fmt: skip
    return np.stack(samples), _array(found if labels is None else labels)


def _class_names(data: Any) -> list[str]:
    """Names of the classes, in the order of their labels, where a data set of Hugging Face or
    torchvision tells them."""
    columns = getattr(data, "column_names", None)
    names: Any = getattr(data, "classes", None)
    if isinstance(columns, list):
        label = next((name for name in _LABELS if name in columns), None)
        names = getattr((getattr(data, "features", None) or {}).get(label), "names", None)
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else []


def _column(columns: Sequence[str], known: Sequence[str], where: str) -> str:
    name = next((name for name in known if name in columns), None)
    if name is None:
        raise InputError(f"columns {', '.join(columns)}", where=where,
                         accepted=f"one of {', '.join(known)}")  # fmt: skip
    return name


def _is_array(x: Any) -> bool:
    return isinstance(x, (np.ndarray, Tensor)) or (isinstance(x, list) and len(x) > 0
                                                   and isinstance(x[0], list))  # fmt: skip


def _array(values: Any) -> Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def _pixels(x: Any) -> Array:
    """One sample: a vector, or an image as uint8."""
    array = _array(x)
    if array.ndim < 2 or array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f":
        scaled = array.astype(np.float64) * 255
        pixels = np.rint(scaled)
        if (
            np.isfinite(scaled).all()
            and pixels.min() >= 0
            and pixels.max() <= 255
            and np.abs(scaled - pixels).max() < 255 * _CLOSE
        ):
            return pixels.astype(np.uint8)
        raise InputError(
            "an image of floats that are not k/255", where="", accepted="images before they are "
            "normalised or augmented: PIL, uint8, or as ToTensor makes them",
        )  # fmt: skip
    raise InputError(f"an image of {array.dtype}", where="", accepted="PIL, uint8, or floats k/255")


def _file(arrays: Mapping[str, Array]) -> bytes:
    """The bytes of an .npz file; equal arrays give equal bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, array in sorted(arrays.items()):
            # A ZipInfo of its own carries the fixed date 1980-01-01: no clock in the bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
    return data.getvalue()
