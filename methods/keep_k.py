"""Selection shared by the static pruners: k of N by score, with a seeded order among ties."""

from __future__ import annotations

import torch
from torch import Tensor

from prunebench.errors import InputError
from prunebench.options import Option
from prunebench.rng import Stream

SIDES = ("low", "high", "window")

#: Option of every method that gives ``Subset.weights``; the harness leaves them out where it is
#: false, so that ``keep`` need not read it.
WEIGHTED = Option(True, "multiply losses by the weights; false trains the same set without them",
                  search=(True, False))  # fmt: skip

#: Scoring recipes as the official code has them, for ``proxy = "own"``; what is not named stays.
PRUNE4REL_PROXY = {"optimizer": "sgd", "lr": 0.02, "nesterov": True, "schedule": "cosine"}
DUAL_PROXY = {"optimizer": "sgd", "lr": 0.1, "nesterov": True, "schedule": "cosine"}


def real(x: Tensor) -> Tensor:
    """``x`` in a dtype to compute in: float64 and float32 as they are, all else float32."""
    return x if x.dtype in (torch.float64, torch.float32) else x.float()


def check_count(k: int, total: int) -> None:
    """Raises InputError unless 0 <= k <= total."""
    if not 0 <= k <= total:
        raise InputError(f"cannot keep {k} of {total} samples", where="k", accepted=f"0 to {total}")


def window_start(total: int, k: int) -> int:
    """First rank of the run of k ranks around the median: round-half-even of (total - k) / 2.

    Successive k move the start by 0 or 1, so these windows are nested in k.
    """
    return round((total - k) / 2)


def take(scores: Tensor, k: int, side: str, rng: Stream) -> tuple[Tensor, int]:
    """Keeps exactly k samples by (score, seeded random key).

    Undefined scores (NaN) survive: they come before every number on every side. The result is
    nested in k, since the key does not depend on it.

    Args:
        scores: [N], any real dtype.
        k: Number of samples to keep, 0..N.
        side: ``low``, ``high``, or ``window`` (the k ranks around the median of the numbers).
        rng: Stream of the tie key.

    Returns:
        Indices int64 [k], ascending, and the number of samples tied at the cut: those that share
        a score of which some are kept and some are not (0 where the score alone decides).

    Raises:
        InputError: ``k`` is outside 0..N or ``side`` is unknown.
    """
    total = len(scores)
    check_count(k, total)
    if side not in SIDES:
        raise InputError(f"unknown side {side!r}", where="side", accepted=", ".join(SIDES))
    order = rng.child("ties").permutation(total, scores.device)
    order = order[scores[order].argsort(stable=True, descending=side == "high")]
    missing = scores[order].isnan()
    order = torch.cat([order[missing], order[~missing]])
    undefined = min(int(missing.sum()), k)
    first = undefined
    if side == "window" and undefined < k:
        first += window_start(total - undefined, k - undefined)
    last = first + k - undefined
    kept = torch.cat([order[:undefined], order[first:last]])
    ranked = scores[order]
    cuts = ([first] if side == "window" else []) + [last]
    values = {ranked[cut].item() for cut in cuts if _splits(ranked, cut)}
    if k == 0 or k == total:
        values = set()
    tied = sum(int((scores == value).sum()) for value in values)
    if k and k < int(missing.sum()):
        tied = int(missing.sum())
    return kept.sort().values, tied


def _splits(ranked: Tensor, cut: int) -> bool:
    return 0 < cut < len(ranked) and bool(ranked[cut - 1] == ranked[cut])


def quotas(labels: Tensor, k: int, rng: Stream) -> dict[int, int]:
    """Per-class sizes in proportion to the classes, by largest remainder; they sum to k.

    Args:
        labels: int64 [N].
        k: 0..N.
        rng: Decides between equal remainders.

    Returns:
        Size for each class that occurs; never above the size of the class.
    """
    check_count(k, len(labels))
    classes, sizes = torch.unique(labels, return_counts=True)
    share = sizes * k
    total = max(len(labels), 1)
    size, remainder = share // total, share % total
    order = rng.child("quotas").permutation(len(classes), labels.device)
    order = order[remainder[order].argsort(stable=True, descending=True)]
    size[order[: k - int(size.sum())]] += 1
    return dict(zip(classes.tolist(), size.tolist(), strict=True))


def members_by_class(labels: Tensor, num_classes: int = 0) -> tuple[Tensor, ...]:
    """The samples of every class, ascending; classes without samples have none.

    Args:
        labels: int64 [N].
        num_classes: Classes there are at least.
    """
    sizes: list[int] = labels.bincount(minlength=num_classes).tolist()
    return torch.split(labels.argsort(stable=True), sizes)


def take_balanced(
    scores: Tensor, labels: Tensor, k: int, side: str, rng: Stream
) -> tuple[Tensor, int]:
    """``take`` within every class, with quotas that sum to exactly k.

    Official codes round each class's share alone, which misses k by a few samples. Largest
    remainders are not monotone in k, so the result is nested only up to one sample per class.

    Args:
        scores: [N].
        labels: int64 [N]; classes without samples are fine.
        k: Number of samples to keep, 0..N.
        side: As in ``take``.
        rng: Stream of the tie keys.

    Returns:
        Indices int64 [k], ascending, and the number of samples tied at their class's cut.

    Raises:
        InputError: As ``take``.
    """
    parts, tied = [labels.new_empty(0)], 0
    members = members_by_class(labels)
    for cls, size in quotas(labels, k, rng).items():
        kept, ties = take(scores[members[cls]], size, side, rng.child("class", cls))
        parts.append(members[cls][kept])
        tied += ties
    return torch.cat(parts).sort().values, tied
