"""A cell as it travels to a worker."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from prunebench.bench.runs.cell import Cell
from prunebench.methods.base import EvidenceSpec
from support.cells import small_cell

NEED = EvidenceSpec(frozenset({"p_target", "correct"}), (2, 4), (3,))


@pytest.mark.parametrize("losses", [None, frozenset(), frozenset({1, 3})])
@pytest.mark.parametrize("evidence", [EvidenceSpec(), NEED])
def test_a_cell_survives_a_message(losses: frozenset[int] | None, evidence: EvidenceSpec) -> None:
    cell = replace(small_cell("infobatch+align"), losses=losses, evidence=evidence)
    cell = replace(cell, method_params={"file": "a.csv"}, weights="w.safetensors", label="Mine")
    again = Cell.from_json(json.loads(json.dumps(cell.to_json())))
    assert again == cell
    assert again.spec.key == cell.spec.key
