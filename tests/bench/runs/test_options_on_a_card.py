"""Options, recipes, streamed data and lanes on the pretended card: captured equals launched."""

import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import cell_steps, run_cell
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train import stopping
from support.card_cells import (
    RESNET,
    captured_equals_launched,
    cell_of,
    files_of,
    findings,
    fresh_card,
    trained,
)
from support.runs import run_all
from support.trees import write_tree

DETERMINISTIC = {"execution": {"deterministic": True}}
#: Of a method: its name, its parameters, more of the cell.
PARAMS = [
    ("infobatch+align", {"align.missing": "mask", "align.window": 2}),
    ("infobatch+align", {"align.missing": "carry", "align.reference": "train"}),
    ("infobatch+align", {"align.missing": "unpaired", "align.reference": "small-loss"}),
    ("infobatch+align", {"align.reference_at": "epoch_start", "align.score_loss": "training"}),
    ("infobatch+align", {"align.stale": False, "align.mean_over": "trained"}),
    ("infobatch+align", {"align.scramble": "fixed", "legacy_anneal_weights": True}),
    ("seta+align", {"align.scramble": "each-epoch", "align.finish": "high", "delta": 0.5}),
    ("seta+align", {"align.correlation": "spearman", "align.min_obs": 2}),
    ("ies+align", {"align.correlation": "cosine", "align.threshold": 0.2}),
    ("ies", {"threshold": 1.0, "last": 2, "ma": 1}), ("ies", {"sticky_empty": True}),
    ("infobatch", {"exact_weights": True}), ("infobatch", {"rescale": False}),
    ("seta", {"grouping": "exact"}), ("seta", {"orientation": "negated", "unseen_score": None}),
    ("divbs", {"rule": "argmax"}),
    ("selective-backprop", {"start": 0.3, "end": 0.9, "interrupt": 3}),
    ("kakurenbo", {"fraction": 0.8, "threshold": 0.2}),
]  # fmt: skip
RECIPES = {
    "sgd": {"optimizer": "sgd", "nesterov": True}, "lars": {"optimizer": "lars", "lr": 0.5},
    "adam": {"optimizer": "adam", "lr": 0.01}, "adamw": {"optimizer": "adamw", "lr": 0.01},
    "no momentum": {"momentum": 0.0, "cycle_momentum": False, "schedule": "constant"},
    "tail": {"momentum": 0.0, "schedule": "linear_tail", "milestones": (0.5,),
             "tail_momentum": 0.3},
    "drop_last": {"drop_last": True}, "smoothing": {"label_smoothing": 0.1},
    "boxes": {"augment": "resized_crop"}, "plain": {"augment": "none"},
    "bf16": {"precision": "bf16"}, "lr": {"compat": ("lr-per-epoch",)},
    "resnet18": {**RESNET, "optimizer": "lars", "lr": 1.0, "precision": "bf16"},
    "group": {**RESNET, "model_params": {"width": 4, "norm": "group"}, "epochs": 1},
    "bn-split-2": {**RESNET, "compat": ("bn-split-2",), "epochs": 1},
}  # fmt: skip


@pytest.mark.parametrize(("method", "params"), PARAMS)
def test_parameters_of_methods(method, params, tmp_path):
    captured_equals_launched(tmp_path, method=method, params=params)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name, tmp_path):
    captured_equals_launched(tmp_path, method="infobatch", recipe_params=RECIPES[name])


@pytest.mark.parametrize(("method", "fields"), [
    ("infobatch", {"budget": "paper"}), ("infobatch", {"losses": frozenset()}),
    ("divbs", {"budget": "epochs", "recipe_params": {"precision": "bf16"}}),
    ("infobatch", {"criterion": "sop+", "recipe_params": {"precision": "bf16"}}),
])  # fmt: skip
def test_budgets_losses_and_half_precision(method, fields, tmp_path):
    captured_equals_launched(tmp_path, method=method, **fields)


def test_a_split_smaller_than_a_batch_is_launched(tmp_path):
    record, _, card = trained(tmp_path, "auto", recipe_params={"batch_size": 4096})
    assert "smaller than a batch" in record.info["steps"]
    assert findings(card) == []


@pytest.mark.parametrize("method", ["full", "random-dynamic", "infobatch+align", "seta", "ies",
                                    "divbs", "kakurenbo"])  # fmt: skip
def test_deterministic_runs(method, tmp_path):
    captured_equals_launched(tmp_path, method=method, **DETERMINISTIC)


@pytest.mark.parametrize(("criterion", "recipe"), [("sop", {}), ("sop+", {}), ("ce", RESNET)])
def test_deterministic_criteria_and_networks(criterion, recipe, tmp_path):
    captured_equals_launched(
        tmp_path, method="infobatch", criterion=criterion, recipe_params=recipe, **DETERMINISTIC
    )


@pytest.mark.parametrize(("method", "recipe", "fields"), [
    ("infobatch", {"optimizer": "adam", "lr": 0.01}, DETERMINISTIC),
    ("divbs", {"precision": "bf16", "model_params": {"hidden": 4}}, {}),
])  # fmt: skip
def test_the_words_of_texts(method, recipe, fields, tmp_path):
    rows = [f"word{n % 7} word{n % 3} class{n % 2} {n},{'ab'[n % 2]}\n" for n in range(120)]
    (tmp_path / "t.csv").write_text("".join(["text,label\n", *rows]), encoding="utf-8")
    captured_equals_launched(
        tmp_path, dataset=f"text:{tmp_path / 't.csv'}", dataset_params={}, method=method,
        recipe_params={"model": "embedding-bag", "model_params": {}, "augment": "dataset",
                       **recipe}, **fields,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), train=16, test=3, side=10)


@pytest.mark.parametrize(("workers", "method", "fields"), [
    (0, "full", {}), (2, "infobatch+align", {}), (0, "ies", {}), (0, "divbs", {}),
    (0, "prune4rel", {}), (0, "infobatch", {"criterion": "sop+"}),
    (0, "full", {"recipe_params": {"augment": "resized_crop", "epochs": 1}}),
])  # fmt: skip
def test_streamed_images(workers, method, fields, tree, tmp_path):
    captured_equals_launched(
        tmp_path, "images are streamed", method=method, dataset=f"folder:{tree}", recipe="packed",
        dataset_params={"stream": "yes", "size": 8, "workers": workers}, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    "method", ["infobatch", "divbs", "ies+align", "kakurenbo", "selective-backprop"]
)
def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(method, tmp_path, monkeypatch):
    whole, files, _ = trained(tmp_path / "whole", "auto", method=method)
    asked = iter(range(1000))
    monkeypatch.setattr(stopping, "asked", lambda: next(asked) == 8)
    with pytest.raises(stopping.Stopped):
        trained(tmp_path / "stopped", "auto", method=method)
    record, again, card = trained(tmp_path / "stopped", "auto", method=method)
    assert findings(card) == []
    assert (record.metrics, again) == (whole.metrics, files)


def test_cells_in_lanes_give_what_they_give_alone(tmp_path):
    methods = ["infobatch", "full", "divbs", "dual", "infobatch"]
    cells = [cell_of(method=method, seed=seed) for seed, method in enumerate(methods)]
    options = ExecutionOptions(devices=("cuda",), checkpoint_s=0.0, deterministic=True)
    context = WorkerContext(device="cuda")
    alone, together = (Store.open(tmp_path / name) for name in ("alone", "together"))
    with fresh_card() as card:
        for cell in cells:
            run_cell(cell, alone, options, context)
    assert findings(card) == []
    with fresh_card() as card:
        makers = [lambda cell=cell: cell_steps(cell, together, options, context) for cell in cells]
        records = [record for record, _ in run_all(makers, torch.device("cuda"), 3)]
    assert findings(card) == []
    assert len(card.streams) >= 4
    for record in records:
        other = alone.get(record.key)
        assert (record.metrics, record.info) == (other.metrics, other.info)
        assert files_of(together, record.key) == files_of(alone, record.key)
