"""The reference set that a run measures: clean, noisy, impure, or guessed from evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench.datasets.task import Split, Task
from prunebench.errors import InputError, SkipCell
from prunebench.methods.base import Evidence, EvidenceSpec
from prunebench.methods.keep_k import take
from prunebench.methods.moderate import moderate_distances
from prunebench.methods.small_loss import loss_scores
from prunebench.rng import Streams

PSEUDO = ("small-loss", "moderate")


def reference_needs(params: Mapping[str, Any], warmup: int) -> EvidenceSpec:
    """What evidence the chosen kind of reference needs; pseudo-clean kinds score a snapshot."""
    if params.get("align.reference") in PSEUDO:
        return EvidenceSpec(snapshots=(warmup,))
    return EvidenceSpec()


def resolve_reference(
    task: Task,
    params: Mapping[str, Any],
    streams: Streams,
    evidence: Evidence | None,
    warmup: int,
) -> Split | None:
    """The split whose mean loss is tracked.

    ``clean`` is the task's held-out set; ``train`` a random part of the noisy training split
    (AlignPrune, Table 5); ``small-loss`` and ``moderate`` are the samples that these criteria
    would keep, with their noisy labels. ``align.impurity`` replaces that share of labels by wrong
    ones. A smaller size is a prefix of the larger one's draw.

    Raises:
        InputError: A size that the source cannot give.
        SkipCell: No clean reference was held out.
    """
    kind = params.get("align.reference", "clean")
    size = params.get("align.reference_size")
    if kind == "clean":
        if task.reference is None:
            raise SkipCell("no clean reference set: reference size is 0")
        source = task.reference
    elif kind == "train":
        source = task.train
        size = size or (len(task.reference) if task.reference is not None else len(task.train))
    else:
        assert evidence is not None
        size = size or (len(task.reference) if task.reference is not None else 0)
        source = _pseudo_clean(kind, task, evidence, int(size or 1), streams, warmup)
        size = None
    if size is not None:
        if not 1 <= size <= len(source):
            raise InputError(
                f"{size} is not accepted", where="align.reference_size",
                accepted=f"1 to {len(source)} for reference {kind!r}",
            )  # fmt: skip
        order = streams.get("reference-part").bits(source.sample_ids).argsort(stable=True)
        part = order[: int(size)].sort().values
        source = Split(source.sample_ids[part], source.labels[part])
    return _impure(source, float(params.get("align.impurity") or 0.0), task, streams)


def _pseudo_clean(
    kind: str, task: Task, evidence: Evidence, size: int, streams: Streams, warmup: int
) -> Split:
    snapshot = evidence.snapshot(warmup)
    if kind == "small-loss":
        scores, side = loss_scores(snapshot.logits, evidence.labels), "low"
    else:
        scores, side = moderate_distances(snapshot.features, evidence.labels), "window"
    kept = take(scores, size, side, streams.get("reference-ties"))[0]
    return Split(task.train.sample_ids[kept], task.train.labels[kept])


def _impure(source: Split, impurity: float, task: Task, streams: Streams) -> Split:
    if impurity == 0.0:
        return source
    wrong = streams.get("impurity").sample(len(source), round(impurity * len(source)))
    classes = task.raw.num_classes
    shift = streams.get("impurity").child("label").bits(source.sample_ids[wrong])
    labels = source.labels.clone()
    labels[wrong] = (labels[wrong] + 1 + (shift & 0x7FFFFFFF) % (classes - 1)) % classes
    return Split(source.sample_ids, labels)
