"""Every method and criterion on the pretended card: captured equals launched, nothing waits."""

import pytest

from prunebench.methods.compose import list_methods
from support.card_cells import captured_equals_launched

#: All but those that need a file of their own.
METHODS = [info.name for info in list_methods() if info.name not in ("scores", "ids")]
CRITERIA = ["full", "random", "random-dynamic", "infobatch+align", "seta", "ies", "divbs",
            "prune4rel"]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_on_a_card(method, tmp_path):
    captured_equals_launched(tmp_path, method=method)


@pytest.mark.parametrize("method", CRITERIA)
@pytest.mark.parametrize("criterion", ["sop", "sop+"])
def test_a_criterion_with_parameters_trains_on_a_card(criterion, method, tmp_path):
    captured_equals_launched(tmp_path, method=method, criterion=criterion)
