"""A run together with what opens it on this machine: what is planned, sent to a worker and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prunebench.bench.results.manifest import from_json, to_json
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.methods.base import EvidenceSpec, Pruner
from prunebench.methods.compose import resolve_method
from prunebench.record import DATA_NAME


@dataclass(frozen=True)
class Cell:
    """A run and what belongs to it here: paths stay out of the specification.

    Attributes:
        spec: The run.
        data: Options of the data set, paths included; as ``outside`` what opens the data set from
            which open-set noise takes its images.
        method_params: Options of the method that the key replaces by digests.
        weights: File of the initial weights, which the key names by its digest; empty for none.
        scoring_weights: Likewise of the specification's ``scoring_recipe``.
        title: Name of its data set on boards, which a user gave; empty for the registered one. The
            key knows nothing of it.
        label: Name of its row on boards; the key knows nothing of it. Empty for the method's.
        evidence: What the run records for the static methods that it serves.
        losses: Epochs whose per-sample losses are stored; empty stores all, None none.
    """

    spec: RunSpec
    data: Mapping[str, Any] = field(default_factory=dict)
    method_params: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    scoring_weights: str = ""
    title: str = ""
    label: str = ""
    evidence: EvidenceSpec = field(default_factory=EvidenceSpec)
    losses: frozenset[int] | None = None

    def pruner(self) -> Pruner:
        """The method with its options, paths included.

        Raises:
            InputError: An unknown method or option.
        """
        info = resolve_method(self.spec.method.name)
        return info.build({**self.spec.method.params, **self.method_params})

    def evidence_cell(self, run: RunSpec, need: EvidenceSpec) -> Cell:
        """The cell of a scoring run that serves this one."""
        weights = self.weights if self.spec.scoring_recipe is None else self.scoring_weights
        return Cell(run, self.data, weights=weights, title=self.title, evidence=need)

    @property
    def shown(self) -> str:
        """Short name for progress displays."""
        return f"{self.title or self.spec.dataset.name} {self.spec.label.partition(' ')[2]}"

    def with_names(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """``Record.info`` with the names of row and data set; without them nothing changes."""
        names = {"label": self.label, DATA_NAME: self.title}
        return {**info, **{name: text for name, text in names.items() if text}}

    def to_json(self) -> dict[str, Any]:
        """As plain values: the payload of a job."""
        return {
            "spec": self.spec.content,
            "data": dict(self.data),
            "method_params": dict(self.method_params),
            "weights": self.weights,
            "scoring_weights": self.scoring_weights,
            "label": self.label,
            "title": self.title,
            "evidence": None if self.evidence.empty else to_json(self.evidence),
            "losses": None if self.losses is None else sorted(self.losses),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        """Inverse of ``to_json``; of ``evidence`` it keeps what a recorder takes.

        Raises:
            KeyError, TypeError, ValueError: It is no such value.
        """
        evidence, losses = value["evidence"], value["losses"]
        return cls(
            RunSpec.model_validate(value["spec"]),
            value["data"],
            value["method_params"],
            value["weights"],
            value["scoring_weights"],
            value["title"],
            value["label"],
            EvidenceSpec() if evidence is None else from_json(evidence),
            None if losses is None else frozenset(losses),
        )
