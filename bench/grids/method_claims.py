"""What records say of their method, beside what running it here would say; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from prunebench.bench.reports.installed import counted, sources_of
from prunebench.bench.runs.scoring_runs import evidence_needs
from prunebench.bench.spec.run_spec import RunSpec, clean_labels
from prunebench.errors import InputError, shown, spelled
from prunebench.methods.compose import resolve_method
from prunebench.record import Record


def claim_faults(records: Sequence[Record]) -> list[str]:
    """Records that say of a method that is here what it is not: its kind, whether it is an oracle,
    and what clean labels it uses."""
    return counted((line, record.key) for record in records for line in _of_one(record))


def _of_one(record: Record) -> list[str]:
    if sources_of(record).get("method"):
        return []
    try:
        spec = RunSpec.model_validate(record.spec)
        info = resolve_method(spec.method.name)
    except (ValidationError, InputError):
        return []  # another reason of the records says so
    if info.target.argument:
        return []
    try:
        pruner = info.build(spec.method.params)
        reads = "reference set" * evidence_needs(pruner, spec).reads_reference
    except InputError as error:
        return [str(error)]
    used = clean_labels(pruner.clean_data or reads, spec.role, spec.validation.labels, spec.tuned)
    facts = {"clean_labels_used": used, "oracle": info.oracle, "kind": info.kind}
    return [f"{spelled(spec.method.name)}: {name} {shown(record.info.get(name))}; accepted: "
            f"{shown(value)}, as it is here"
            for name, value in facts.items() if record.info.get(name) != value]  # fmt: skip
