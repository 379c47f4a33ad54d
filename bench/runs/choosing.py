"""What a scoring run says without another run: a static method's subset, and suspicious labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from prunebench.bench.results.store import Store
from prunebench.bench.runs.cell import Cell
from prunebench.bench.runs.evidence import RecordedEvidence
from prunebench.bench.runs.execute import cell_steps
from prunebench.bench.runs.scoring_runs import gather_evidence
from prunebench.bench.runs.self_supervised import Features, ssl_features
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.static_choice import choose_subset
from prunebench.bench.train.step import StepGenerator, run_to_end
from prunebench.bench.train.task import load_task, streams_of
from prunebench.bench.train.trainer import guarded
from prunebench.datasets.task import Task
from prunebench.errors import InputError
from prunebench.methods.base import Evidence, EvidenceSpec, StaticPruner, Subset, kept_count
from prunebench.methods.keep_k import take
from prunebench.record import Record
from prunebench.rng import Stream

#: How ``label_issues`` computes the quality of a label.
QUALITY = "mean probability of the label over the epochs"


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a static method keeps, by original id.

    Attributes:
        ids: int64 [k], ascending.
        weights: float32 [k] as the method gave them, in the order of ``ids``; None for 1.
        scores: float64 [rows of the original training split], NaN for samples that are held out;
            None where the method has none.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    scores: NDArray[np.float64] | None


def choose(
    cell: Cell,
    store: Store,
    options: ExecutionOptions,
    report: Callable[[float], None] = lambda share: None,
) -> Chosen:
    """What a cell's static method keeps; nothing is trained on it.

    Args:
        cell: Of a static method.
        store: The results folder; a scoring run that it holds is not repeated.
        options: How a scoring run is executed; on its first device.
        report: Takes the share of a choice that takes long; see ``choose_subset``.

    Raises:
        InputError: The method is not static.
    """
    pruner, spec = cell.pruner(), cell.spec
    if not isinstance(pruner, StaticPruner):
        raise InputError(f"{spec.method.name!r} chooses while it trains", where="method",
                         accepted="a static method (`prunebench methods`)")  # fmt: skip
    task, evidence = _evidence(cell, store, options, pruner)
    k = kept_count(len(task.train), spec.ratio)
    name = spec.method.name
    stream = streams_of(spec).get(f"keep:{name}")
    subset, _ = choose_subset(pruner, evidence, k, stream, name, report)
    ids, scores = evidence.ids.numpy(), None
    if subset.scores is not None:
        scores = np.full(evidence.original_size, np.nan)
        scores[ids] = subset.scores.double().numpy()
    kept = ids[subset.indices.numpy()]
    order = np.argsort(kept)
    weights = None if subset.weights is None else subset.weights.numpy()[order]
    return Chosen(kept[order], weights, scores)


def label_issues(cell: Cell, store: Store, options: ExecutionOptions) -> pd.DataFrame:
    """Ranks the labels of a cell's training split by how little a network trained on them comes
    to believe them.

    A network learns right labels before it fits wrong ones. The quality of a label is its mean
    softmax probability over the epochs (Swayamdipta et al., Dataset Cartography, EMNLP 2020); the
    suggestion is what the network predicts early, at the recipe's snapshot epoch.

    Args:
        cell: Gives data, noise, recipe and seed.
        store: The results folder; a run that it holds is not repeated.
        options: How a scoring run is executed; on its first device.

    Returns:
        A row a sample, the most suspicious first: ``id`` (row of the original training split),
        ``given_label`` and ``predicted_label`` (class names), ``label_quality`` in 0..1 (low is
        suspicious), ``is_label_issue`` (the two labels differ), ``score`` (how the quality was
        computed).
    """
    method = _Confidence()
    task, evidence = _evidence(cell, store, options, method)
    n, stream = len(task.train), streams_of(cell.spec).get("keep:issues")
    quality = method.keep(evidence, n, stream).scores
    assert quality is not None
    suggested = evidence.snapshot(evidence.warmup).logits.argmax(1).numpy()
    labels, names = task.train.labels.numpy(), np.array(task.raw.class_names, dtype=object)
    table = pd.DataFrame(
        {
            "id": evidence.ids.numpy(),
            "given_label": names[labels],
            "predicted_label": names[suggested],
            "label_quality": quality.numpy(),
            "is_label_issue": labels != suggested,
            "score": QUALITY,
        }
    )
    return table.sort_values(["label_quality", "id"], ignore_index=True)


class _Confidence(StaticPruner):
    """Ranks samples by the mean probability of their labels over the epochs."""

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Probabilities of the labels, and a snapshot."""
        return EvidenceSpec(frozenset({"p_target"}), (warmup,))

    def keep(self, evidence: Evidence, k: int, rng: Stream) -> Subset:
        """The k most probable labels."""
        quality = evidence.p_target.double().nanmean(0).clamp(0.0, 1.0)
        return Subset(take(quality, k, "high", rng)[0], quality)


def _evidence(
    cell: Cell, store: Store, options: ExecutionOptions, pruner: StaticPruner
) -> tuple[Task, RecordedEvidence]:
    """Finds or records what a method needs."""
    task = load_task(cell.spec, cell.data)
    context = WorkerContext(device=options.devices[0])
    device = torch.device(context.device)

    def record(scoring: RunSpec, need: EvidenceSpec) -> StepGenerator[Record]:
        one = cell.evidence_cell(scoring, need)
        return (yield from cell_steps(one, store, replace(options, retry_failed=True), context))[0]

    def embed(whole: Task) -> StepGenerator[Features]:
        return ssl_features(cell.spec, store, whole, device, options, lambda trained, total: None)

    with guarded(device):
        evidence, _ = run_to_end(gather_evidence(cell.spec, store, task, pruner, record, embed))
    return task, evidence
