"""20 Newsgroups: in seven classes, as in the NEWS experiments of co-teaching+, or in twenty."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prunebench.datasets.cache import cache_folder, read_arrays, write_arrays
from prunebench.datasets.locate import (
    DataFile,
    checksum,
    data_root,
    find_folder,
    limited_rows,
    require,
)
from prunebench.datasets.noise.rules import default_asymmetric
from prunebench.datasets.source import DataSource, Origin, Outline, RawData, register_dataset
from prunebench.datasets.sources.news import text as text
from prunebench.datasets.sources.news.files import (
    FOLDERS,
    GROUPS,
    JSONL,
    Post,
    posts_identity,
    read_posts,
    write_posts,
)
from prunebench.datasets.words import LENGTH, WORDS, numbered
from prunebench.errors import InputError
from prunebench.options import Option, Value, of_content
from prunebench.record import content_key
from prunebench.untrusted import user_path

#: Class of each of the twenty groups in alphabetical order: the head of its name.
CLASS_OF = (0, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 6, 6, 6, 6)
CLASSES = ("alt", "comp", "misc", "rec", "sci", "soc", "talk")
#: Counts up when the same posts and options would give other numbers.
_FEATURES = 2
_SHUFFLE_SEED = 20240607
_SHARE, _POSTS = 0.7, 18_846
_COMPUTED = ("lsa", "random")
_LABELS = {"train_y": "int64", "test_y": "int64"}
_ARRAYS = {
    "pooled": {"train_x": "float32", "test_x": "float32", **_LABELS},
    "words": {"train_x": "int32", "test_x": "int32", "vocabulary": "int64", **_LABELS},
}


@register_dataset("news")
class News(DataSource):
    """18,846 newsgroup posts, each 4,800 numbers: its words' vectors after the frozen pooling.

    Lower case, runs of a to z, words of the training posts only; the first 1,000 such words of a
    post, zero vectors behind them; 1,000 x 300 numbers flattened and pooled to 4,800.

    co-teaching+ trains on the first 70 % of the rows of a pickled file whose order is published
    nowhere. The default here is the collection's own split by date, which keeps replies to one
    thread on one side more often than a random split does; ``split=first70`` takes the first 70 %
    of one fixed shuffle. Its GloVe vectors are not part of the collection either: ``embedding``
    names a GloVe text file, or takes latent semantic analysis of the training posts.

    ``representation=words`` hands over the posts' words instead, as ``text:`` does (``words``), for
    a network that learns their vectors; ``classes=20`` keeps the groups apart.

    Source: Yu et al., "How does disagreement help generalization against label corruption?",
    ICML 2019; bhanML/coteaching_plus, data/newsgroups.py and model.py.
    """

    options = {
        "path": Option(None, "folder or jsonl.gz file of the posts; none: below $PRUNEBENCH_DATA",
                       kind=str, optional=True),
        "split": Option("bydate", "by date, or 70 % of a fixed shuffle",
                        choices=("bydate", "first70")),
        "embedding": Option("lsa", "word vectors: lsa, random, or a GloVe text file"),
        "embedding_seed": Option(0, "seed of lsa and random vectors", 0),
        "representation": Option("pooled", "pooled vectors of the words, or their numbers",
                                 choices=("pooled", "words"), later=True),
        "classes": Option(7, "heads of the group names, or the groups", choices=(7, 20),
                          later=True),
        "limit": Option(None, "at most this many training posts", 1, kind=int, optional=True),
        "test_limit": Option(None, "at most this many test posts", 1, kind=int, optional=True),
    }  # fmt: skip
    argument = "path"
    argument_optional = True
    recipe = "news"
    summary = "18,846 newsgroup posts in 7 or 20 classes as pooled word vectors, or as words"
    terms = "20 Newsgroups (Lang 1995), by-date version"
    as_words = {"representation": "words"}
    orders = ("split",)

    path: str | None
    split: str
    embedding: str
    embedding_seed: int
    representation: str
    classes: int
    limit: int | None
    test_limit: int | None

    def place(self) -> Path:
        """The jsonl file, or the folder that holds both by-date folders.

        Raises:
            InputError: Neither is there.
        """
        if self.path is not None and (file := user_path(self.path, self.name)).is_file():
            return file
        names = (*JSONL, FOLDERS["train"])
        folder = find_folder(self.path, ("", "20news", "news", "20news-bydate"), names, self.name)
        return next((folder / name for name in JSONL if (folder / name).is_file()), folder)

    def folder(self) -> Path:
        """The folder with the file or the by-date folders."""
        place = self.place()
        return place if place.is_dir() else place.parent

    def published(self) -> list[DataFile]:
        """The file that ``prepare`` writes, or none beside the folders that the authors publish;
        nobody publishes checksums of either."""
        try:
            place = self.place()
        except InputError:
            return [DataFile(JSONL[0])]
        return [] if place.is_dir() else [DataFile(place.name)]

    def prepare(self) -> Path:
        """Downloads the posts through scikit-learn, which checks them, and writes them as jsonl.

        Its own cache is a pickle; it goes to a temporary folder and a foreign one is never read.

        Raises:
            InputError: The download failed; the line says what to put where.
        """
        try:
            return self.folder()
        except InputError:
            root = user_path(self.path, self.name) if self.path else data_root() / "20news"
        from sklearn.datasets import fetch_20newsgroups

        posts: list[Post] = []
        with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # retries; what counts is the error in the end
            for split in FOLDERS:
                try:
                    bunch = fetch_20newsgroups(data_home=home, subset=split, shuffle=False)
                except OSError as error:
                    raise InputError(
                        f"download failed ({error})", where=f"dataset {self.name}",
                        accepted=f"{JSONL[0]} or the folders {' and '.join(FOLDERS.values())} "
                        f"in {root}",
                    ) from None  # fmt: skip
                posts += [
                    Post(split, GROUPS.index(bunch.target_names[target]), Path(file).name, content)
                    for content, target, file in zip(
                        bunch.data, bunch.target, bunch.filenames, strict=True
                    )
                ]
        write_posts(root / JSONL[0], posts)
        return root

    def check(self) -> None:
        """Reads the posts, and that a file of vectors is there."""
        self._vector_digest()
        self._split(read_posts(self.place()))

    def identity(self) -> str:
        """SHA-256 over the posts, and the file of vectors where there is one."""
        parts = posts_identity(self.place()) + self._vector_digest()
        return hashlib.sha256(parts.encode()).hexdigest()

    def portable(self) -> dict[str, Value]:
        """Options that enter the key: no paths."""
        named = self.embedding in _COMPUTED
        options = {
            "split": self.split,
            "embedding": self.embedding if named else "file",
            "embedding_seed": self.embedding_seed if named else None,
            "representation": self.representation,
            "classes": self.classes,
            "limit": self.limit,
            "test_limit": self.test_limit,
        }
        if self.representation == "words":
            del options["embedding"], options["embedding_seed"]
        return of_content(self.options, options)

    def default_recipe(self) -> str:
        """``news`` for pooled vectors, ``news-bag`` for words."""
        return "news-bag" if self.representation == "words" else self.recipe

    def asymmetric_rule(self) -> str:
        """The next class; of the twenty groups another one with the same head."""
        return default_asymmetric(self._heads())

    def outline(self) -> Outline:
        """Sizes of the collection; ``first70`` divides all of it anew."""
        train = 11_314 if self.split == "bydate" else int(_SHARE * _POSTS)
        shape = (WORDS + 1, LENGTH) if self.representation == "words" else (text.POOLED,)
        full = Outline(train, _POSTS - train, shape, self.classes, images=False)
        return full.limited(self.limit, self.test_limit)

    def load(self) -> RawData:
        arrays = self._cached()
        train = limited_rows(len(arrays["train_y"]), self.limit)
        test = limited_rows(len(arrays["test_y"]), self.test_limit)
        return RawData(
            train_x=torch.from_numpy(arrays["train_x"][train]),
            train_y=torch.from_numpy(arrays["train_y"][train]),
            test_x=torch.from_numpy(arrays["test_x"][test]),
            test_y=torch.from_numpy(arrays["test_y"][test]),
            num_classes=self.classes,
            class_names=CLASSES if self.classes == len(CLASSES) else GROUPS,
            groups=self._heads(),
            asymmetric=self.asymmetric_rule(),
            train_origin=Origin.of(train, len(arrays["train_y"]), self.limit),
            test_origin=Origin.of(test, len(arrays["test_y"]), self.test_limit),
            fingerprint=content_key({"posts": self.identity(), "options": self.portable()}),
            licence=self.terms,
            vocabulary=int(arrays.get("vocabulary", 0)),
        )

    def _heads(self) -> tuple[int, ...] | None:
        """Super-class of each of the twenty groups; the seven classes have none."""
        return CLASS_OF if self.classes == len(GROUPS) else None

    def _cached(self) -> dict[str, Any]:
        """Features and labels of the whole split, computed once on a machine."""
        options = {k: v for k, v in self.portable().items() if not k.endswith("limit")}
        key = content_key({"posts": self.identity(), "options": options, "version": _FEATURES})
        path = cache_folder() / f"news-{key}.npz"
        found = read_arrays(path, _ARRAYS[self.representation])
        if not found:
            found = self._arrays()
            write_arrays(path, found)
        return found

    def _arrays(self) -> dict[str, Any]:
        posts = read_posts(self.place())
        labels = np.array([self._class_of(post) for post in posts])
        train, test = self._split(posts)
        if self.representation == "words":
            train_x, test_x, vocabulary = numbered(
                (posts[i].text for i in train), (posts[i].text for i in test)
            )
            return {
                "train_x": train_x, "train_y": labels[train],
                "test_x": test_x, "test_y": labels[test],
                "vocabulary": np.array(vocabulary),
            }  # fmt: skip
        coded, vectors = self._vectors([text.words_of(post.text) for post in posts], train)
        return {
            "train_x": text.pooled(text.padded([coded[i] for i in train]), vectors),
            "train_y": labels[train],
            "test_x": text.pooled(text.padded([coded[i] for i in test]), vectors),
            "test_y": labels[test],
        }

    def _class_of(self, post: Post) -> int:
        return post.group if self.classes == len(GROUPS) else CLASS_OF[post.group]

    def _vectors(
        self, words: Sequence[list[str]], train: NDArray[np.int64]
    ) -> tuple[list[text.IntArray], text.FloatArray]:
        """Posts as numbers of words, and the words' vectors."""
        vocabulary = text.vocabulary_of(words[i] for i in train)
        if self.embedding not in _COMPUTED:
            file = user_path(self.embedding, f"{self.name}.embedding")
            vocabulary, vectors = text.file_vectors(file, vocabulary)
        coded = [text.encode(post, vocabulary) for post in words]
        if self.embedding == "lsa":
            fitted = [coded[i] for i in train]
            vectors = text.lsa_vectors(fitted, len(vocabulary), self.embedding_seed)
        elif self.embedding == "random":
            vectors = text.random_vectors(len(vocabulary), self.embedding_seed)
        return coded, vectors

    def _vector_digest(self) -> str:
        if self.embedding in _COMPUTED:
            return ""
        path = user_path(self.embedding, f"{self.name}.embedding")
        if not path.is_file():
            raise InputError(
                f"{self.embedding!r} is not accepted", where=f"{self.name}.embedding",
                accepted="lsa, random, or a text file of word vectors (GloVe)",
            )  # fmt: skip
        return checksum(require(path, self.name))

    def _split(self, posts: Sequence[Post]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.split == "bydate":
            is_train = np.array([post.split == "train" for post in posts])
            train, test = np.flatnonzero(is_train), np.flatnonzero(~is_train)
        else:
            order = np.random.Generator(np.random.PCG64(_SHUFFLE_SEED)).permutation(len(posts))
            train, test = np.split(order, [int(_SHARE * len(posts))])
        seen = {self._class_of(posts[i]) for i in train.tolist()}
        for c, name in enumerate(GROUPS if self.classes == len(GROUPS) else CLASSES):
            if c not in seen:
                raise InputError(f"no training post of class {name}", where=str(self.place()))
        return train, test
