"""What a record says about a run beside its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunebench.bench.spec.run_spec import RunSpec
from prunebench.bench.train.distributed import world
from prunebench.datasets.task import Task
from prunebench.methods.compose import MethodInfo


def run_info(task: Task, method: MethodInfo, spec: RunSpec) -> dict[str, Any]:
    """Sizes, noise and kind of a run, for ``Record.info``.

    ``original_train_size`` and ``original_test_size`` are there where the data set is limited;
    they say that ids in the run's artifacts are those of the original split. Limited runs of
    earlier versions lack them: their ids count the limited rows.
    """
    found: dict[str, Any] = {
        "validation_size" if task.tuning else "test_size": len(task.test),
        "train_size": len(task.train),
        "num_classes": task.raw.num_classes,
        "reference_size": len(task.reference) if task.reference is not None else 0,
        "label_digest": task.label_digest,
        "kind": method.kind,
        "oracle": method.oracle,
        "data": task.raw.fingerprint,
    }
    if task.raw.clean_known:
        found["noise_rate"] = round(float(task.flipped.double().mean()), 6)
    if not world.current().alone:
        found["processes"] = world.current().size
    if task.raw.train_origin is not None:
        found["original_train_size"] = task.raw.train_origin.total
    if task.raw.test_origin is not None and not task.tuning:
        found["original_test_size"] = task.raw.test_origin.total
    if spec.reference.mode == "overlap":
        found["reference_overlaps"] = True
    return found


def labelled(info: Mapping[str, Any], label: str) -> dict[str, Any]:
    """What a record says of its run, with the name of its row; an empty name changes nothing."""
    return {**info, "label": label} if label else dict(info)
