"""Every method and criterion on the pretended card: captured equals launched, nothing waits."""

import numpy as np
import pytest

from prunebench.methods.compose import list_methods
from support.card_cells import DATA, captured_equals_launched

#: What the files hold of the methods that need one.
FILES = {"scores": np.linspace(0, 1, DATA["n"]), "ids": np.arange(0, DATA["n"], 2)}
METHODS = [info.name for info in list_methods()]
CRITERIA = [("sop", "full"), ("sop", "random-dynamic"), ("sop", "seta"), ("sop", "ies"),
            ("sop", "divbs"), ("sop", "infobatch+align"), ("sop+", "random"),
            ("sop+", "infobatch+align"), ("sop+", "seta"), ("sop+", "divbs"),
            ("sop+", "prune4rel")]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_on_a_card(method, tmp_path):
    fields = {}
    if method in FILES:
        file = tmp_path / "file.npy"
        np.save(file, FILES[method])
        method, fields = f"{method}:{file}", {"ratio": 0.5}
    captured_equals_launched(tmp_path, method=method, **fields)


@pytest.mark.parametrize(("criterion", "method"), CRITERIA)
def test_a_criterion_with_parameters_trains_on_a_card(criterion, method, tmp_path):
    captured_equals_launched(tmp_path, method=method, criterion=criterion)
