"""Recipes as data: Table A, keys that stand, and the fields that change a run."""

import math
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from prunebench.bench.inputs.statistics import STATISTICS, with_statistics
from prunebench.bench.networks.build import build_model, check_model
from prunebench.bench.runs.rerun import _changed
from prunebench.bench.runs.resolve import build_spec
from prunebench.bench.spec.recipe import _LATER, NEEDED, SWITCHES, Recipe
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.train.budget import whole_batches
from prunebench.bench.train.schedules import schedule
from prunebench.bench.train.step import Stepper
from prunebench.bench.train.task import clock_of, load_task
from prunebench.errors import InputError
from prunebench.registry import DATASETS, MODELS, RECIPES
from prunebench.rng import Streams
from support.cells import small_cell
from support.runs import trainer_of

BASE = {"name": "x", "model": "mlp", "epochs": 2, "batch_size": 4, "lr": 0.1}


def trainer(method="full", **fields):
    return trainer_of(small_cell(method, **fields))


def test_table_a():
    """Values printed in the AlignPrune paper's Table A."""
    printed = {
        "cifar100n": ("resnet18", 200, 128, "lars", 5.2),
        "cifar10n": ("resnet18", 200, 128, "lars", 5.62),
        "webvision": ("inception_resnet_v2", 100, 32, "sgd", 0.02),
        "clothing1m": ("imagenet-resnet50", 10, 32, "sgd", 0.002),
    }
    for name, row in printed.items():
        r = get_recipe(name)
        assert (r.model, r.epochs, r.batch_size, r.optimizer, r.lr) == row
        assert (r.weight_decay, r.momentum) == (5e-4, 0.9)
        rate = schedule(r)
        if r.optimizer == "lars":
            assert rate(0.3)[0] == pytest.approx(r.lr)
            assert rate(1.0)[0] == pytest.approx(r.lr / 25e4)
            assert [rate(p)[1] for p in (0.0, 0.3, 1.0)] == pytest.approx([0.95, 0.85, 0.95])
        else:
            assert [rate(p)[0] for p in (0.0, 0.49, 0.5, 1.0)] == pytest.approx(
                [r.lr, r.lr, r.lr / 10, r.lr / 10]
            )
    assert get_recipe("clothing1m").weights == NEEDED


def test_momentum_stays_at_the_printed_value_on_request():
    fixed = get_recipe("cifar100n").model_copy(update={"cycle_momentum": False})
    assert {schedule(fixed)(p / 10)[1] for p in range(11)} == {0.9}


def test_news_follows_co_teaching_plus():
    rate = schedule(get_recipe("news"))
    assert rate(79.9 / 200) == (1e-3, 0.9)
    assert rate(80 / 200) == (pytest.approx(1e-3), 0.1)
    assert rate(140 / 200) == (pytest.approx(5e-4), 0.1)
    small = get_recipe("news-small")
    assert (small.epochs, small.milestones) == (10, (0.4,))


@pytest.mark.parametrize("entry", [e for e in RECIPES if "-bf16" not in e.name],
                         ids=lambda e: e.name)  # fmt: skip
def test_every_recipe_builds_and_says_who_it_is(entry):
    recipe = get_recipe(entry.name)
    assert recipe.name == entry.name
    if recipe.model.startswith(("deit", "inception")):
        pytest.importorskip("timm", reason="the extra timm is not installed")
    check_model(recipe)
    shape = {"news-mlp": (4800,), "embedding-bag": (50, 9)}.get(recipe.model, (3, 224, 224))
    with torch.device("meta"):
        model = build_model(recipe, shape, 10, Streams(0, "d", "n").get("init"))
    assert model.fc.out_features == 10
    rate = schedule(recipe)
    assert all(math.isfinite(v) for p in (0.0, 0.5, 1.0) for v in rate(p))
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_the_papers_recipes_exist_in_bf16_with_everything_else_the_same():
    paper = ("prunebench.bench.spec.recipes_alignprune", "prunebench.bench.spec.recipes_imagenet")
    entries = [e for e in RECIPES if e.module in paper and "-bf16" not in e.name]
    fp32 = [e.name for e in entries if get_recipe(e.name).precision == "fp32"]
    fp32.append("memorise-resnet18")
    assert {"cifar10n", "cifar100n", "webvision", "clothing1m", "news", "imagenet"} <= set(fp32)
    for name in fp32:
        plain, half = get_recipe(name), get_recipe(f"{name}-bf16")
        assert half.model_dump() == {
            **plain.model_dump(), "name": f"{name}-bf16", "precision": "bf16"
        }  # fmt: skip
    keys = {build_spec(dataset="digits", recipe=f"cifar10n{end}").key for end in ("", "-bf16")}
    assert len(keys) == 2
    assert {e.name for e in RECIPES if e.name.endswith("-bf16")} == {f"{n}-bf16" for n in fp32}


def test_every_data_set_has_its_recipe():
    names = set(RECIPES.names())
    assert {entry.target.recipe for entry in DATASETS} <= names


def test_keys_of_older_runs_stand():
    """Keys computed by the first release's code."""
    assert build_spec(dataset="digits").key == "885764dd82af8330"
    later = build_spec(
        dataset="synthetic", method="infobatch+align", ratio=0.5, noise="symmetric:0.4"
    )
    assert later.key == "6deb1f21a3faadde"


@pytest.mark.parametrize(
    ("method", "params", "key"),
    [
        ("infobatch", {}, "19cbc879f0d52fdd"),
        ("infobatch", {"clamp": 0.1, "legacy_anneal_weights": False}, "19cbc879f0d52fdd"),
        ("infobatch+align", {"r": 0.9}, "d4c6c4ed6e6250d9"),
        ("seta+align", {"align.scramble": "none", "align.finish": "all"}, "b90e8937a8a665df"),
    ],
)
def test_options_that_came_later_leave_keys_at_their_defaults(method, params, key):
    """Keys computed before the options were there."""
    common = {"dataset": "digits", "noise": "symmetric:0.5", "method": method, "ratio": 0.5}
    assert build_spec(**common, params=params).key == key


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("infobatch", {"clamp": 0.0}),
        ("infobatch", {"legacy_anneal_weights": True}),
        ("seta+align", {"align.scramble": "fixed"}),
        ("infobatch+align", {"align.finish": "high"}),
    ],
)
def test_options_that_came_later_enter_the_key_once_they_are_used(method, params):
    common = {"dataset": "digits", "noise": "symmetric:0.5", "method": method, "ratio": 0.5}
    plain, used = build_spec(**common), build_spec(**common, params=params)
    assert plain.key != used.key
    assert used.method.params == {**plain.method.params, **params}


@pytest.mark.parametrize(
    "changes",
    [
        {"drop_last": True},
        {"normalise": "imagenet"},
        {"compat": ["lr-per-epoch"]},
        {"weights": "a" * 64},
        {"schedule": "linear_tail", "milestones": [0.5], "tail_momentum": 0.1},
        {"schedule": "cosine", "lr_warmup": 0.1},
    ],
)
def test_later_fields_enter_the_content_once_they_are_used(changes):
    plain, changed = Recipe(**BASE), Recipe(**BASE, **changes)
    assert not set(_LATER) & set(plain.model_dump())
    assert set(changes) <= set(changed.model_dump(mode="json"))
    assert Recipe.model_validate(changed.model_dump(mode="json")) == changed


def test_command_of_a_record_names_fields_that_went_back_to_their_default():
    recorded = get_recipe("news").model_copy(update={"drop_last": False, "lr": 0.01})
    assert _changed(recorded.model_dump(mode="json")) == {"drop_last": False, "lr": 0.01}
    trained = get_recipe("clothing1m").model_copy(update={"weights": "a" * 64})
    assert _changed(trained.model_dump(mode="json")) == {"weights": "FILE"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "linear_tail"}, "one milestone"),
        ({"tail_momentum": 0.1}, "linear_tail"),
        ({"lr_warmup": 0.1}, "cosine"),
        ({"compat": ("seta-lr", "head-100")}, "alphabetical"),
        ({"compat": ("head-100", "head-100")}, "once"),
        ({"compat": ("lr-per-epoch", "seta-lr")}, "exclude"),
        ({"compat": ("warp",)}, "bn-split-2"),
        ({"normalise": "cifar"}, "cifar100-official"),
        ({"weights": "model.pt"}, "pattern"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        Recipe(**BASE, **changes)


@pytest.mark.parametrize(("n", "batch", "kept"), [(10, 4, 8), (8, 4, 8), (3, 4, 3), (0, 4, 0)])
def test_whole_batches(n, batch, kept):
    assert whole_batches(n, batch) == kept


@pytest.mark.parametrize("budget", ["samples", "epochs"])
def test_drop_last_trains_whole_batches_and_meets_the_budget(budget, monkeypatch):
    sizes = []
    train = Stepper.train

    def counted(self, batch, *rest):
        sizes.append(len(batch.x))
        train(self, batch, *rest)

    monkeypatch.setattr(Stepper, "train", counted)
    run = trainer("random-dynamic", budget=budget, recipe_params={"drop_last": True, "epochs": 3})
    run.fit()
    assert set(sizes[:-1]) == {64}
    assert run.ledger.trained == sum(sizes)
    if budget == "samples":
        assert run.ledger.trained == run.ledger.target
    else:
        assert sizes[-1] == 64


def test_the_dropped_tail_is_another_every_epoch():
    run = trainer(recipe_params={"drop_last": True, "epochs": 4}, budget="epochs")
    run.fit()
    visits = run.kept_visits
    assert visits.sum() == 4 * whole_batches(len(run.sample_ids), 64)
    assert visits.min() >= 2
    assert (visits == 3).sum() > len(run.sample_ids) % 64


def test_statistics_replace_the_data_sets_own():
    raw = load_task(small_cell().spec, {}).raw
    assert with_statistics(raw, "dataset") is raw
    with pytest.raises(InputError, match="3 channels"):
        with_statistics(raw, "imagenet")
    colour = DATASETS.get("synthetic").target().load()
    changed = with_statistics(colour, "cifar100-official")
    assert (changed.mean, changed.std) == ((0.5074, 0.4867, 0.4411), (0.2011, 0.1987, 0.2025))
    assert set(STATISTICS) == set(get_args(Recipe.model_fields["normalise"].annotation)) - {
        "train",
        "dataset",
    }


def test_the_trainer_normalises_by_the_recipe():
    fields = {"dataset": "synthetic", "recipe": "synthetic"}
    own = trainer(**fields)
    other = trainer(**fields, recipe_params={"normalise": "imagenet"})
    row = own.sample_ids[:1]
    pixels = own.setup.task.raw.train_x[row].float() / 255
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in STATISTICS["imagenet"])
    torch.testing.assert_close(
        other.inputs.unaugmented(row), (pixels - mean) / std, rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(own.inputs.unaugmented(row), other.inputs.unaugmented(row))
    assert not torch.allclose(own.test_inputs.unaugmented(row), other.test_inputs.unaugmented(row))


def test_the_guide_lists_every_recipe_network_switch_and_statistic():
    guide = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    for name in [*RECIPES.names(), *SWITCHES, *STATISTICS]:
        assert f"`{name}`" in guide, name
    for entry in MODELS:
        if entry.module.startswith("prunebench."):
            assert f"`{entry.name}`" in guide, entry.name


def test_the_recipe_for_memorising_under_lars_is_digits_but_for_the_optimizer():
    plain, lars = get_recipe("digits"), get_recipe("digits-lars")
    changed = {"name": "digits-lars", "optimizer": "lars", "lr": 8.0}
    assert lars == plain.model_copy(update=changed)
    assert lars.model_params["width"] == 8


@pytest.mark.parametrize(
    ("budget", "shorten", "epochs"),
    [("epochs", False, 10), ("epochs", True, 7), ("paper", False, 7), ("paper", True, 7),
     ("samples", True, None)],
)  # fmt: skip
def test_short_full_is_short_under_the_budget_of_epochs_on_request(budget, shorten, epochs):
    cell = small_cell(
        "short-full", ratio=0.3, budget=budget, recipe_params={"epochs": 10},
        params={"shorten": shorten},
    )  # fmt: skip
    assert clock_of(cell.spec, cell.pruner(), 100).epochs == epochs


@pytest.mark.parametrize("noise", ["clean", "symmetric:0.4"])
def test_a_linear_probe_comes_near_logistic_regression(noise):
    """Of the best strength of regularisation, on components that differ 60-fold in variance."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    fields = {"dataset_params": {"pca": 32}, "recipe_params": {"epochs": 20}}
    run = trainer(**fields, recipe="linear-probe", noise=noise)
    run.fit()
    task = run.setup.task
    scaler = StandardScaler().fit(task.raw.train_x)
    x, test = (scaler.transform(part) for part in (task.raw.train_x, task.raw.test_x))
    ids = task.train.sample_ids
    best = max(
        LogisticRegression(C=c, max_iter=200).fit(x[ids], task.train.labels)
        .score(test, task.raw.test_y) for c in (0.01, 0.1)
    )  # fmt: skip
    assert run.test_accuracy() > best - 0.04
