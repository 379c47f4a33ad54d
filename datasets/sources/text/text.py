"""Texts and labels of one's own in a Parquet file, a table or JSON lines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.datasets.cache import digest_once
from prunebench.datasets.digests import own_identity
from prunebench.datasets.images.arrow_images import find_files
from prunebench.datasets.locate import limited_rows
from prunebench.datasets.noise.rules import RULES
from prunebench.datasets.source import DataSource, Origin, RawData, register_dataset
from prunebench.datasets.sources.label_checks import Labels, count_classes
from prunebench.datasets.sources.text.files import ACCEPTED, Rows, read_rows
from prunebench.datasets.words import AT_LEAST, LENGTH, WORDS, numbered
from prunebench.errors import InputError
from prunebench.options import Option, Value
from prunebench.record import canonical
from prunebench.rng import Stream, Streams
from prunebench.untrusted import user_path

#: Options that say where texts and labels lie: the content takes their place in keys.
_PLACES = ("path", "text", "label", "human", "test", "split", "test_share")
_SPLITS = ("train", "test")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts with their labels.

    Attributes:
        names: C class names.
        texts: By split.
        labels: int64 [n], by split.
        human: int64 [N], labels that people gave to the training texts; None for none.
    """

    names: tuple[str, ...]
    texts: dict[str, list[str]]
    labels: dict[str, NDArray[np.int64]]
    human: NDArray[np.int64] | None


@register_dataset("text")
class Text(DataSource):
    """Texts as the numbers of their words, which come from the training texts alone.

    The test split is another file (``test``), the rows that the column ``split`` names so, the test
    files of a folder, or else a stratified share that is drawn once and for all.
    """

    options = {
        "path": Option("", f"{ACCEPTED}, or a folder with train-*.parquet and test-*.parquet"),
        "text": Option("text", "column of the texts"),
        "label": Option("label", "column of the labels: names or whole numbers"),
        "human": Option(
            None, "column of labels that people gave, noise real; none: human, where there is one",
            kind=str, optional=True
        ),
        "test": Option(None, "file of the test split; none: see split and test_share", kind=str,
                       optional=True),
        "split": Option(None, "column that says train or test; none: split, where there is one",
                        kind=str, optional=True),
        "test_share": Option(0.2, "share of each class that is drawn for the test split, where "
                             "neither file, column nor folder gives one", 0.01, 0.9),
        "words": Option(WORDS, "words that get a number at most, the most frequent ones",
                        1, 10_000_000),
        "min_texts": Option(AT_LEAST, "training texts that have to hold such a word", 1),
        "length": Option(LENGTH, "distinct words of a text that count, the first ones", 1, 100_000),
        "limit": Option(None, "at most this many training texts", 1, kind=int, optional=True),
        "test_limit": Option(None, "at most this many test texts", 1, kind=int, optional=True),
        "asymmetric": Option(
            None, "rule that asymmetric noise means", choices=tuple(RULES), optional=True
        ),
    }  # fmt: skip
    argument = "path"
    recipe = "text"
    summary = "your own texts in Parquet, CSV or JSON lines: text:PATH"
    terms = "as the origin of the file says"

    path: str
    text: str
    label: str
    human: str | None
    test: str | None
    split: str | None
    test_share: float
    words: int
    min_texts: int
    length: int
    limit: int | None
    test_limit: int | None
    asymmetric: str | None

    def check(self) -> None:
        """Reads texts and labels and checks them."""
        self._read()

    def title(self) -> str:
        """The name of the file or folder, without its endings."""
        name = user_path(self.path, "text").resolve().name
        return re.sub(r"(\.(parquet|csv|tsv|jsonl|ndjson))?(\.gz)?$", "", name, flags=re.I)

    def asymmetric_rule(self) -> str:
        """The option, else the next class."""
        return self.asymmetric or "next_class"

    def variants(self) -> tuple[str, ...]:
        """The human labels, where there is a column of them."""
        return () if self._read().human is None else ("",)

    def portable(self) -> dict[str, Value]:
        """Options that enter the key: not where texts and labels lie."""
        return {name: value for name, value in self.params.items() if name not in _PLACES}

    def identity(self) -> str:
        """``own_identity`` of all texts and labels; read again only when a file changed."""
        places = canonical([self.params[name] for name in _PLACES if name not in ("path", "test")])

        def within() -> str:
            found = self._read()
            splits = {
                name: (_digest(found.texts[name]), found.labels[name]) for name in _SPLITS
            }  # fmt: skip
            human = {} if found.human is None else {"": found.human}
            return own_identity(splits, human, found.names)

        train, test = self._files()
        return digest_once([*train, *test], f"text {places}", within)

    def load(self) -> RawData:
        found = self._read()
        train_x, test_x, vocabulary = numbered(
            found.texts["train"], found.texts["test"], words=self.words, at_least=self.min_texts,
            length=self.length,
        )  # fmt: skip
        if vocabulary == 1:
            raise InputError(f"no word is in {self.min_texts} training texts",
                             where=f"text:{self.path}", accepted="a smaller min_texts")  # fmt: skip
        total, test_total = (len(found.labels[name]) for name in _SPLITS)
        rows, test_rows = limited_rows(total, self.limit), limited_rows(test_total, self.test_limit)
        human = {} if found.human is None else {"": torch.from_numpy(found.human[rows])}
        content = f"{self.identity()} {sorted(self.portable().items(), key=str)}"
        return RawData(
            train_x=torch.from_numpy(train_x[rows]),
            train_y=torch.from_numpy(found.labels["train"][rows]),
            test_x=torch.from_numpy(test_x[test_rows]),
            test_y=torch.from_numpy(found.labels["test"][test_rows]),
            num_classes=len(found.names),
            class_names=found.names,
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            asymmetric=self.asymmetric_rule(),
            human=human,
            train_origin=Origin.of(rows, total, self.limit),
            test_origin=Origin.of(test_rows, test_total, self.test_limit),
            licence=self.terms,
            vocabulary=vocabulary,
        )

    def _files(self) -> tuple[list[Path], list[Path]]:
        """Files of the training and of the test split; no test files where one file holds both."""
        where = f"text:{self.path}"
        if not self.path:
            raise InputError("no file", where="text", accepted=f"text:PATH, {ACCEPTED}")
        place = user_path(self.path, "text")
        given = [name for name in ("test", "split") if getattr(self, name) is not None]
        if len(given) > 1 or (given and place.is_dir()):
            raise InputError(f"{' and '.join(given)} given", where=where,
                             accepted="one of test, split and a folder")  # fmt: skip
        if place.is_dir():
            return find_files(self.path, "text")
        files = [place, *([user_path(self.test, "text.test")] if self.test is not None else [])]
        for file in files:
            if not file.is_file():
                raise InputError(f"no such file: {file}", where=where, accepted=ACCEPTED)
        return files[:1], files[1:]

    def _read(self) -> Texts:
        train_files, test_files = self._files()
        given = [name for name in (self.human, self.split) if name is not None]
        usual = [] if self.human is not None else ["human"]
        usual += [] if test_files or self.split is not None else ["split"]
        train = read_rows(train_files, (self.text, self.label, *given), usual)
        texts, names = train.texts(self.text), train.names(self.label)
        if test_files:
            test = read_rows(test_files, (self.text, self.label))
            rows, held = list(range(len(texts))), list(range(len(test.columns[self.text])))
        else:
            test = train
            rows, held = self._divided(train, names)
        test_texts = texts if test is train else test.texts(self.text)
        test_names = names if test is train else test.names(self.label)
        classes = _sorted({names[row] for row in rows})
        known = {name: number for number, name in enumerate(classes)}
        labels = {
            "train": _numbers(names, rows, known, train, self.label),
            "test": _numbers(test_names, held, known, test, self.label),
        }
        people, human = self.human or "human", None
        if people in train.columns:
            given_labels = train.names(people, set(rows))
            human = _numbers(given_labels, rows, known, train, people)
        where = f"{train.where}: {self.label}"
        count_classes(
            Labels(labels["train"], where, train.where, "text", classes),
            Labels(labels["test"], test.where, test.where, "text"),
        )
        parts = {"train": [texts[row] for row in rows], "test": [test_texts[row] for row in held]}
        return Texts(classes, parts, labels, human)

    def _divided(self, rows: Rows, names: Sequence[str]) -> tuple[list[int], list[int]]:
        """Rows of the training and of the test split of one file, ascending."""
        column = self.split or "split"
        if column in rows.columns:
            splits = rows.names(column)
            for number, split in enumerate(splits, 1):
                if split not in _SPLITS:
                    raise InputError(f"{split[:80]!r}", where=rows.place(column, number),
                                     accepted="train, test")  # fmt: skip
            train, test = ([n for n, s in enumerate(splits) if s == name] for name in _SPLITS)
        else:
            held = set(_drawn(names, self.test_share, Streams(0, "text", "").get("test split")))
            train = [row for row in range(len(names)) if row not in held]
            test = sorted(held)
        for name, part in zip(_SPLITS, (train, test), strict=True):
            if not part:
                raise InputError(f"no text is in the {name} split", where=rows.where,
                                 accepted="one or more")  # fmt: skip
        return train, test


def _drawn(names: Sequence[str], share: float, stream: Stream) -> list[int]:
    """Rows of a stratified share: floor(share n + 0.5) of each class of n, never all of them."""
    members: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        members.setdefault(name, []).append(row)
    found = []
    for number, name in enumerate(_sorted(members)):
        own = members[name]
        order = stream.child("class", number).permutation(len(own)).tolist()
        found += [own[k] for k in order[: min(int(share * len(own) + 0.5), len(own) - 1)]]
    return found


def _sorted(names: Sequence[str] | set[str] | dict[str, list[int]]) -> tuple[str, ...]:
    """Class names in order: whole numbers by size, where all are such; else by code points."""
    whole = all(_WHOLE.fullmatch(name) for name in names)
    return tuple(sorted(names, key=int) if whole else sorted(names))


def _numbers(
    names: Sequence[str], rows: Sequence[int], known: dict[str, int], where: Rows, column: str
) -> NDArray[np.int64]:
    """int64 [n], the classes of some rows.

    Raises:
        InputError: A label that no training text has.
    """
    for row in rows:
        if names[row] not in known:
            raise InputError(f"no training text has the label {names[row][:80]!r}",
                             where=where.place(column, row + 1),
                             accepted=", ".join(known)[:300])  # fmt: skip
    return np.array([known[names[row]] for row in rows], dtype=np.int64)


def _digest(texts: Sequence[str]) -> str:
    """SHA-256 over texts in order, in hex."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
