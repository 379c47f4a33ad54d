"""Tiny trees in the layouts in which data sets are published, and tables that fit them."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.datasets.images.packed_format import write_packed
from prunebench.datasets.locate import DataFile
from prunebench.datasets.sources.cifar.human import LABEL_FILES, LabelFile
from prunebench.datasets.sources.cifar.tables import CIFAR10, CIFAR100, Family

Labels = NDArray[np.int64]


def images(labels: Labels, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [n, 3, 32, 32]: a colour for each class, and noise."""
    rng = np.random.default_rng(seed)
    colour = np.random.default_rng(99).integers(40, 216, (100, 3, 1, 1))
    pixels = colour[labels] + rng.integers(-40, 40, (len(labels), 3, 32, 32))
    return pixels.astype(np.uint8)


def label_sha(labels: Any) -> str:
    return hashlib.sha256(np.asarray(labels).astype("<i8").tobytes()).hexdigest()


def _text(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def python2_pickle(content: Mapping[str, Any]) -> bytes:
    """A dict as Python 2 and the numpy of its day pickled it: byte strings, old module names."""
    out = b"\x80\x02}("
    for key, value in content.items():
        out += _text(key)
        if isinstance(value, np.ndarray):
            shape = b"".join(_number(size) for size in value.shape)
            data = value.tobytes()
            out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            out += b"(K\x01" + shape + b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
            out += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            out += b"T" + struct.pack("<I", len(data)) + data + b"tb"
        elif isinstance(value, str):
            out += _text(value)
        else:
            out += b"](" + b"".join(_number(int(v)) for v in value) + b"e"
    return out + b"u."


class Cifar:
    """A tiny CIFAR: ``batches`` training files of ``size`` images and as many test images."""

    def __init__(self, classes: int = 10, size: int = 10, seed: int = 0) -> None:
        self.base = CIFAR10 if classes == 10 else CIFAR100
        self.batches = len(self.base.binary) - 1
        rng = np.random.default_rng(seed)
        self.train_y = rng.permutation(np.arange(self.batches * size) % classes)
        self.test_y = rng.permutation(np.arange(size) % classes)
        self.train_x, self.test_x = images(self.train_y, 1), images(self.test_y, 2)
        self.size = size

    def parts(self) -> list[tuple[NDArray[np.uint8], Labels]]:
        whole = [
            (self.train_x[k : k + self.size], self.train_y[k : k + self.size])
            for k in range(0, len(self.train_y), self.size)
        ]
        return [*whole, (self.test_x, self.test_y)]

    def coarse(self, labels: Labels) -> Labels:
        return np.asarray(self.base.coarse)[labels]

    def python(self, root: Path) -> Path:
        folder = root / self.base.folders["python"]
        folder.mkdir(parents=True)
        for file, (x, y) in zip(self.base.python, self.parts(), strict=True):
            content: dict[str, Any] = {"data": x.reshape(len(x), -1)}
            content[self.base.label_key] = y.tolist()
            if self.base.coarse:
                content["coarse_labels"] = self.coarse(y).tolist()
            (folder / file.path).write_bytes(python2_pickle(content))
        return folder

    def binary(self, root: Path) -> Path:
        folder = root / self.base.folders["binary"]
        folder.mkdir(parents=True)
        for (name, _), (x, y) in zip(self.base.binary, self.parts(), strict=True):
            heads = [self.coarse(y), y] if self.base.coarse else [y]
            head = np.stack(heads, 1).astype(np.uint8)
            (folder / name).write_bytes(np.concatenate([head, x.reshape(len(x), -1)], 1).tobytes())
        return folder

    def packed(self, root: Path) -> Path:
        folder = root / self.base.folders["packed"]
        write_packed(folder / "train.npz", torch.from_numpy(self.train_x), self.train_y)
        write_packed(folder / "test.npz", torch.from_numpy(self.test_x), self.test_y)
        return folder

    def family(self, python: Path | None = None) -> Family:
        """The published table with this tree's sizes and checksums."""
        files = self.base.python
        if python is not None:
            files = tuple(DataFile(f.path, f"md5:{md5(python / f.path)}") for f in files)
        return replace(
            self.base,
            python=files,
            binary=tuple((name, self.size) for name, _ in self.base.binary),
            train_labels=label_sha(self.train_y),
        )


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def human_file(
    path: Path, arrays: Mapping[str, Any], dataset: str, *, old_names: bool = True
) -> LabelFile:
    """Saves label arrays by variant as the published files are, and returns a fitting table."""
    table = LABEL_FILES[dataset]
    keys = {name: key for name, (key, _) in table.arrays.items()}
    save_pt(path, {keys[name]: array for name, array in arrays.items()}, old_names=old_names)
    known = {name: (keys[name], label_sha(a)) for name, a in arrays.items()}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    count = len(next(iter(arrays.values())))
    return replace(table, digest=f"sha256:{digest}", arrays=known, count=count)


def save_pt(path: Path, content: Any, *, old_names: bool = True) -> None:
    """``torch.save``, with numpy's module named as it was before 2.0."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not old_names:
        path.write_bytes(buffer.getvalue())
        return
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            new.writestr(name, data)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def idx_tree(
    folder: Path, train: tuple[Any, Any], test: tuple[Any, Any], *, packed: bool = True
) -> None:
    """Four idx files: images and labels of both splits, by gzip or not."""
    folder.mkdir(parents=True, exist_ok=True)
    names: Sequence[str] = ("train-images-idx3", "train-labels-idx1",
                            "t10k-images-idx3", "t10k-labels-idx1")  # fmt: skip
    for name, array in zip(names, (*train, *test), strict=True):
        data = idx_bytes(array)
        end = ".gz" if packed else ""
        (folder / f"{name}-ubyte{end}").write_bytes(gzip.compress(data) if packed else data)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server that holds a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
