"""A data set as its author writes it: options and files, and the arrays that loading returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.datasets.groups import SampleGroups
from prunebench.datasets.images.lazy import ImageFiles
from prunebench.datasets.locate import DataFile
from prunebench.errors import InputError, is_text
from prunebench.options import Option, Value, of_content, resolve
from prunebench.record import OWN_CONTENT
from prunebench.registry import DATASETS

S = TypeVar("S", bound="type[DataSource]")
# Options that give no id another meaning: they leave a part, or turn images into vectors.
_SAME_IDS = ("limit", "test_limit", "pca")


@dataclass(frozen=True)
class Origin:
    """Which rows of an original split a limited one holds.

    Attributes:
        ids: int64 [n], ascending, original row of each row that is held.
        total: Samples of the original split, reference samples of the set's own left out.
    """

    ids: Tensor
    total: int

    @classmethod
    def of(cls, rows: NDArray[np.int64], total: int, limit: int | None) -> Origin | None:
        """The origin of rows chosen under an option ``limit``; None where the option is not set."""
        return None if limit is None else cls(torch.from_numpy(rows), total)


@dataclass(frozen=True)
class RawData:
    """A data set before noise.

    Attributes:
        train_x: uint8 [N, channels, H, W] images, float32 [N, D] vectors, or int32 [N, L] texts:
            the numbers of their words, zeros behind them; original order. Or ``ImageFiles``, whose
            images are decoded while the run goes on.
        train_y: int64 [N], clean labels (the given ones where no clean ones exist); in a task
            -1 where the image is from outside it (``datasets.noise.openset``).
        test_x: As ``train_x``.
        test_y: int64 [M], clean.
        num_classes: C.
        class_names: C names.
        groups: Super-class id of each class, or None.
        test_groups: Groups of the test samples [M] whose accuracies are told apart, for the
            results alone: nothing that trains or selects sees them. None where there are none.
        asymmetric: Rule id that ``asymmetric`` means here (``datasets.noise``).
        mean: Per channel, of pixels in [0, 1]; empty for vectors, which then stay as they are.
        std: Per channel.
        augment: ``none``, ``crop_flip`` or ``resized_crop``.
        crop: Side of the square that the network sees: a random one in training where the
            augmentation crops, else the central one. None for whole images.
        human: Labels with real noise by variant name, int64 [N]; the empty name is plain
            ``real``. Empty where there are none.
        reference_rows: int64 [R], ascending rows of ``train_x`` that are no training samples but
            clean ones to draw the reference from; None where it comes out of the training split.
            Every count of training samples leaves them out.
        train_origin: Original rows of ``train_x`` where an option limits it, reference samples
            of the set's own counted behind the training split. None where row i is original
            row i.
        test_origin: Likewise of the test split.
        leaks: Whether ``reference_rows`` are samples of the test split.
        fingerprint: Identity of the content, part of every run's key.
        clean_known: Whether ``train_y`` is clean; False for sets gathered from the web.
        licence: One line.
        vocabulary: V, of texts: the numbers of words are below it. 0 for images and vectors.
    """

    train_x: Tensor | ImageFiles
    train_y: Tensor
    test_x: Tensor | ImageFiles
    test_y: Tensor
    num_classes: int
    class_names: tuple[str, ...]
    fingerprint: str
    groups: tuple[int, ...] | None = None
    test_groups: SampleGroups | None = None
    asymmetric: str = "next_class"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augment: str = "none"
    crop: int | None = None
    human: Mapping[str, Tensor] = field(default_factory=dict)
    reference_rows: Tensor | None = None
    train_origin: Origin | None = None
    test_origin: Origin | None = None
    leaks: bool = False
    clean_known: bool = True
    licence: str = ""
    vocabulary: int = 0

    def __post_init__(self) -> None:
        for name in (*self.class_names, *self.human):
            if not is_text(name):
                raise InputError(
                    f"{name!r} is no text", where="names of classes and labels", accepted="unicode"
                )

    @property
    def images(self) -> bool:
        """Whether samples are images; else they are vectors or texts."""
        return self.train_x.dtype == torch.uint8

    @property
    def training_rows(self) -> Tensor:
        """int64 [N]: rows of ``train_x`` that are training samples, ascending."""
        training = torch.ones(len(self.train_y), dtype=torch.bool)
        if self.reference_rows is not None:
            training[self.reference_rows] = False
        return training.nonzero().flatten()

    @property
    def original_size(self) -> int:
        """Training samples of the original split, limited or not."""
        if self.train_origin is not None:
            return self.train_origin.total
        return len(self.train_y) - (0 if self.reference_rows is None else len(self.reference_rows))

    def train_ids(self, sample_ids: Tensor) -> Tensor:
        """Original ids, as tables and files hold them, of rows of ``train_x``."""
        return sample_ids if self.train_origin is None else self.train_origin.ids[sample_ids]

    def test_ids(self, sample_ids: Tensor) -> Tensor:
        """Original ids of rows of ``test_x``."""
        return sample_ids if self.test_origin is None else self.test_origin.ids[sample_ids]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What a network is built for: channels x crop x crop, or the shape as stored; for texts
        (V, L)."""
        shape = tuple(self.train_x.shape[1:])
        if self.vocabulary:
            return (self.vocabulary, *shape)
        return (shape[0], self.crop, self.crop) if self.crop is not None else shape


def is_text_shape(shape: tuple[int, ...]) -> bool:
    """Whether a network of this input shape reads texts: (V, L), where images have three sides
    and vectors one."""
    return len(shape) == 2


@dataclass(frozen=True)
class Outline:
    """What a data set's arrays look like.

    Attributes:
        train: Training samples, reference rows of its own left out.
        test: Test samples.
        shape: As ``RawData.input_shape``.
        classes: C.
        reference: Reference samples of its own; 0 where they come out of the training split.
        images: Whether samples are images (uint8); else they are vectors (float32) or texts.
        kept: Samples of the imbalanced training split of one run, where they were drawn.
    """

    train: int
    test: int
    shape: tuple[int, ...]
    classes: int
    reference: int = 0
    images: bool = True
    kept: int | None = None

    @property
    def vocabulary(self) -> int:
        """V of texts, else 0."""
        return self.shape[0] if is_text_shape(self.shape) else 0

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of one sample as stored."""
        return self.shape[1:] if self.vocabulary else self.shape

    def limited(self, train: int | None = None, test: int | None = None) -> Outline:
        """The same with at most so many samples."""
        return replace(
            self,
            train=self.train if train is None else min(train, self.train),
            test=self.test if test is None else min(test, self.test),
        )


class DataSource(ABC):
    """A registered data set; options arrive as keyword arguments and become attributes.

    Class attributes: ``options``; ``argument``, the option that ``name:ARGUMENT`` fills (a path,
    say; empty where there is none), and ``argument_optional``, whether the name alone is enough;
    ``recipe``, the default recipe's name; ``summary``, one line; ``as_words``, options under which
    its samples are the words of texts, where they are something else by default; ``orders``,
    options beside the content that decide which sample an original id names; ``terms``, one line
    on the licence, where it does not depend on the files.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    options: ClassVar[Mapping[str, Option]] = {}
    argument: ClassVar[str] = ""
    argument_optional: ClassVar[bool] = False
    recipe: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    as_words: ClassVar[Mapping[str, Value]] = {}
    orders: ClassVar[tuple[str, ...]] = ()
    terms: ClassVar[str] = ""

    def __init__(self, **params: Any) -> None:
        """Checks the options.

        Raises:
            InputError: Unknown option or value out of range.
        """
        self.params: dict[str, Value] = resolve(self.options, params, self.name or "dataset")
        for name, value in self.params.items():
            setattr(self, name, value)

    @abstractmethod
    def load(self) -> RawData:
        """Reads the arrays.

        Raises:
            InputError: A file is missing, damaged or foreign; the line says what to put where.
        """

    def identity(self) -> str:
        """Content identity that replaces paths in keys; cheap (a checksum of files at most)."""
        return ""

    def check(self) -> None:
        """Looks at the files without decoding them, so that bad input stops before training.

        Raises:
            InputError: A file is missing, damaged or foreign.
        """

    def notes(self) -> list[str]:
        """What a user should know about the files before anything trains, a line each."""
        return []

    def published(self) -> list[DataFile]:
        """Files as their authors publish them, with checksums; empty where there are none."""
        return []

    def folder(self) -> Path | None:
        """Where the files lie on this machine; None for a set that needs no files.

        Raises:
            InputError: They are not there.
        """
        return None

    def prepare(self) -> Path | None:
        """Fetches what a library can fetch; returns where it lies, None if nothing is needed.

        Raises:
            InputError: The files have to be put in place by hand; the line says which and where.
        """
        return self.folder()

    def outline(self) -> Outline | None:
        """Sizes and shape of the published files under these options; None where
        they are known from the files alone. For estimates: nothing that trains reads it."""
        return None

    def default_recipe(self) -> str:
        """Name of the recipe that its runs have unless the user names another.

        Raises:
            InputError: It depends on files that cannot be read.
        """
        return self.recipe

    def asymmetric_rule(self) -> str:
        """Rule id that ``asymmetric`` means here; cheap, and equal to the loaded data's."""
        return "next_class"

    def variants(self) -> tuple[str, ...] | None:
        """Keys of ``RawData.human``; None where they are known only once it is loaded."""
        return None

    def licence(self) -> str:
        """One line, as that of the loaded data, which are loaded where ``terms`` is empty.

        Raises:
            InputError: A file is missing, damaged or foreign.
        """
        return self.terms or self.load().licence

    def title(self) -> str:
        """How a user calls these data, for boards and listings; empty for the set's own name. No
        key depends on it."""
        return ""

    @classmethod
    def lacks_argument(cls, given: Container[str]) -> bool:
        """Whether the option that ``name:ARGUMENT`` fills is needed and not among these."""
        return bool(cls.argument) and not cls.argument_optional and cls.argument not in given

    def portable(self) -> dict[str, Value]:
        """Options that enter the key; paths are left out in favour of ``identity``."""
        given = {k: v for k, v in self.params.items() if k != self.argument}
        return of_content(self.options, given)


def named_source(text: str, params: Mapping[str, Any]) -> DataSource:
    """The data set that ``digits`` or ``packed:PATH`` names, with options.

    Raises:
        InputError: Unknown data set or option, or a missing argument.
    """
    name, _, argument = text.partition(":")
    source_class: type[DataSource] = DATASETS.get(name).target
    given = dict(params)
    if argument:
        if not source_class.argument:
            raise InputError(f"data set {name!r} takes no argument", where=f"dataset {text!r}")
        given[source_class.argument] = argument
    elif source_class.lacks_argument(given):
        raise InputError(
            f"data set {name!r} needs an argument",
            where="dataset",
            accepted=f"{name}:{source_class.argument.upper()}",
        )
    return source_class(**given)


def identity_of(source: DataSource) -> str:
    """Content identity of a data set.

    Raises:
        InputError: Its files cannot be read; the line names the one.
    """
    try:
        return source.identity()
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        raise InputError(reason, where=str(error.filename or source.name)) from None


def data_mark(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What a data set's original ids count, whatever an option ``limit`` leaves of it: of a user's
    own data the digest of samples and labels, else name, version and content, with the options
    that give ids another meaning where they are not the default.

    Args:
        dataset: ``dataset`` of a specification.

    Raises:
        InputError: No such data set is registered.
    """
    name, identity = dataset["name"], dataset.get("identity", "")
    if identity.startswith(OWN_CONTENT):
        return {"content": identity.removeprefix(OWN_CONTENT).partition(":")[0]}
    params, mark = dataset.get("params") or {}, {"name": name, "version": dataset["version"]}
    if not identity:
        return {**mark, "params": {k: v for k, v in params.items() if k not in _SAME_IDS}}
    source: type[DataSource] = DATASETS.get(name).target
    usual = {option: source.options[option].default for option in source.orders}
    moved = {k: v for k, v in params.items() if k in usual and v != usual[k]}
    return {**mark, "content": identity, **({"params": moved} if moved else {})}


def register_dataset(name: str, *, version: int = 1) -> Callable[[S], S]:
    """Class decorator: registers a data set under a name."""

    def add(cls: S) -> S:
        DATASETS.register(name, version=version)(cls)
        cls.name, cls.version = name, version
        return cls

    return add
