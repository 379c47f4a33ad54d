"""Groups of test samples whose accuracies are told apart: a user's own, or super-classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunebench.errors import InputError, is_text

_ACCEPTED = "a name or a whole number for each test sample, two groups or more"


@dataclass(frozen=True, eq=False)
class SampleGroups:
    """A group for each of M samples.

    Attributes:
        ids: int64 [M], places in ``names``.
        names: Names of the groups.
    """

    ids: Tensor
    names: tuple[str, ...]

    @property
    def of_samples(self) -> list[str]:
        """The name of each sample's group."""
        return [self.names[place] for place in self.ids.tolist()]

    def rows(self, rows: Tensor) -> SampleGroups:
        """The groups of some of the samples; every name stays."""
        return SampleGroups(self.ids[rows], self.names)


def sample_groups(values: NDArray[Any], size: int, where: str) -> SampleGroups:
    """The groups that an array names.

    Args:
        values: Texts or whole numbers [M]; groups are in their order.
        size: M.
        where: File and array, for messages.

    Raises:
        InputError: Other values, another count, an empty name or a single group.
    """
    if values.ndim != 1 or values.dtype.kind not in "Uiu":
        raise InputError(f"{values.dtype} of shape {values.shape}", where=where, accepted=_ACCEPTED)
    if len(values) != size:
        raise InputError(
            f"{len(values)} groups for {size} test samples", where=where, accepted=_ACCEPTED
        )
    found, ids = np.unique(values, return_inverse=True)
    names = tuple(map(str, found))
    for name in names:
        if not name.strip() or not is_text(name):
            raise InputError(f"the name {name!r}", where=where, accepted=_ACCEPTED)
    if len(names) < 2:
        raise InputError(f"a single group, {names[0]}", where=where, accepted=_ACCEPTED)
    return SampleGroups(torch.from_numpy(ids.reshape(-1).astype(np.int64)), names)


def class_groups(groups: Sequence[int], labels: Tensor) -> SampleGroups | None:
    """Super-classes as groups of samples; None where all classes have one.

    Args:
        groups: Super-class id of each of C classes.
        labels: int64 [M], classes of the samples.
    """
    found, places = np.unique(np.asarray(groups, dtype=np.int64), return_inverse=True)
    if len(found) < 2:
        return None
    of_class = torch.from_numpy(places.reshape(-1).astype(np.int64))
    return SampleGroups(of_class[labels.cpu()], tuple(f"super-class {one}" for one in found))
