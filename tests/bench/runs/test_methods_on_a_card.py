"""Every method and criterion on the pretended card: captured equals launched, nothing waits."""

import pytest

from prunebench.bench.results.store import Store
from prunebench.bench.runs.export import export_csv
from prunebench.methods.compose import list_methods
from support.card_cells import DATA, captured_equals_launched, trained


def _typical(info):
    """Static methods train a subset alike; a control, a random subset, weights and a scoring run
    stand for all of them where time is short."""
    return info.kind != "static" or info.name in ("full", "random", "craig", "cld")


#: All but those that need a file.
METHODS = [
    pytest.param(info.name, marks=[] if _typical(info) else pytest.mark.soak)
    for info in list_methods()
    if info.name not in ("scores", "ids")
]
CRITERIA = [("sop", "full"), ("sop", "random-dynamic"), ("sop", "seta"), ("sop", "ies"),
            ("sop", "divbs"), ("sop", "infobatch+align"), ("sop+", "random"),
            ("sop+", "infobatch+align"), ("sop+", "seta"), ("sop+", "divbs"),
            ("sop+", "prune4rel")]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_on_a_card(method, tmp_path):
    captured_equals_launched(tmp_path, method=method)


@pytest.mark.parametrize("method", ["scores", "ids"])
def test_a_method_that_reads_a_file_trains_on_a_card(method, tmp_path):
    file = tmp_path / "file.csv"
    if method == "scores":
        file.write_text("id,score\n" + "".join(f"{n},{n / 100}\n" for n in range(DATA["n"])))
    else:
        record, _, _ = trained(tmp_path, "off", method="random", recipe_params={"epochs": 1})
        file.write_text(export_csv(Store.open(tmp_path), record.key, "kept"))
    captured_equals_launched(tmp_path, method=f"{method}:{file}")


@pytest.mark.parametrize(("criterion", "method"), CRITERIA)
def test_a_criterion_with_parameters_trains_on_a_card(criterion, method, tmp_path):
    captured_equals_launched(tmp_path, method=method, criterion=criterion)
