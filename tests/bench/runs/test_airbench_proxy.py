"""airbench-proxy: a small network's run of its own, whose masks the main run replays."""

import shutil

import numpy as np
import pytest
import torch

import prunebench
from prunebench.bench.checks.run import run_check
from prunebench.bench.checks.subject import find
from prunebench.bench.estimates.summary import summarise
from prunebench.bench.grids.plan import plan_jobs
from prunebench.bench.networks.build import build_model
from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.scoring_runs import scoring_specs
from prunebench.bench.runs.worker_context import WorkerContext
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.step import Stepper
from prunebench.errors import InputError
from prunebench.methods.airbench_proxy import AirbenchProxy, hardest_in_batches
from prunebench.methods.base import EvidenceSpec, kept_count
from prunebench.rng import Stream, Streams
from support.cells import small_cell

EPOCHS, BATCH = 4, 16
TINY = {
    "dataset": "synthetic",
    "noise": "clean",
    "dataset_params": {"n": 215, "test": 40, "classes": 4, "superclasses": 2, "size": 8},
    "recipe_params": {"epochs": EPOCHS, "batch_size": BATCH, "model": "cnn",
                      "model_params": {"width": 4, "depth": 2}, "augment": "crop_flip"},
}  # fmt: skip


def cell(ratio=0.5, **params):
    return small_cell("airbench-proxy", ratio=ratio, params={"width": 4, **params}, **TINY)


@pytest.fixture
def runs(monkeypatch):
    """What every run trained: a list of steps for each, (positions, losses, inputs)."""
    noted, train = {}, Stepper.train

    def noting(self, batch, k, network=None):
        train(self, batch, k, network)
        losses = self.tables.loss[batch.positions].clone()
        noted.setdefault(self, []).append((batch.positions.clone(), losses, batch.x.clone()))

    monkeypatch.setattr(Stepper, "train", noting)
    return noted


@pytest.mark.parametrize("sizes", [[1024, 1024], [32, 32, 9], [7], [1, 1, 1]])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.99])
def test_the_hardest_of_every_batch(sizes, ratio):
    n, source = sum(sizes), torch.Generator().manual_seed(0)
    p = torch.rand(n, generator=source)
    batches = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    batches = batches[torch.randperm(n, generator=source)]
    mask = hardest_in_batches(p, batches, ratio, Stream(1))
    assert mask.sum() == max(1, kept_count(n, ratio))
    for number, size in enumerate(sizes):
        kept, left = p[mask & (batches == number)], p[~mask & (batches == number)]
        assert abs(len(kept) - (1 - ratio) * size) <= 1
        assert not len(kept) or not len(left) or kept.max() <= left.min()
        if size == 1024:
            assert len(kept) == kept_count(1024, ratio) or ratio not in (0.0, 0.5)


def test_equal_losses_are_kept_by_the_stream():
    batches = torch.arange(600) // 60
    masks = [hardest_in_batches(torch.ones(600), batches, 0.5, Stream(s)) for s in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert 100 < masks[0].view(10, 60)[:, :30].sum() < 200


def test_a_step_trains_the_hardest_of_a_batch_of_twice_the_size_on_the_same_views(runs, tmp_path):
    """As published: 512 of 1,024 make a step; here 16 of 32."""
    record, _ = run_cell(cell(batch=2 * BATCH), Store.open(tmp_path))
    assert record.status in ("done", "diverged"), record.reason  # the hardest alone teach little
    proxy, main = runs.values()
    n = record.ledger["num_samples"]
    assert (n % 2, len(proxy)) == (0, EPOCHS * -(-n // (2 * BATCH)))
    assert len(main) == len(proxy)  # the kept ones of each batch, and those of the last
    for (seen, losses, views), (trained, _, own) in zip(proxy, main, strict=True):
        assert torch.isin(trained, seen).all()
        assert len(trained) == kept_count(len(seen), 0.5)
        left = ~torch.isin(seen, trained)
        assert losses[~left].min() >= losses[left].max() - 1e-4
        places = (seen[None] == trained[:, None]).int().argmax(1)
        assert torch.equal(own, views[places])


def test_one_run_serves_all_ratios_and_is_charged_and_counted(tmp_path):
    cells = [cell(ratio) for ratio in (0.3, 0.7)]
    other = small_cell("small-loss", **TINY)
    planned = plan_jobs([*cells, other])
    assert len(planned.shared) == len(planned.added) == 2
    own, shared = (planned.cells[job.key].spec for job in planned.jobs[:2])
    assert (own.recipe.model, shared.recipe.model) == ("airbench-proxy", "cnn")
    assert own.recipe.model_params == {"width": 4}
    with pytest.raises(InputError, match="airbench-proxy always has a scoring run of its own"):
        plan_jobs([small_cell("airbench-proxy", proxy="own", **TINY)])

    def said(cells):
        timed = {}, 1.0
        return summarise(cells, tmp_path / "none", ExecutionOptions(), None, lambda *given: timed)

    serves = {
        run["key"]: (run["serves"], run["methods"]) for run in said([*cells, other])["scoring runs"]
    }
    assert serves == {own.key: (2, ["airbench-proxy"]), shared.key: (1, ["small-loss"])}
    record, _ = run_cell(cells[0], Store.open(tmp_path))
    ledger = record.ledger
    assert record.timing["choice_s"] > 0
    assert (ledger["trained"], ledger["scoring_forward"]) == (ledger["target"], 0)
    assert ledger["proxy_trained"] == EPOCHS * ledger["num_samples"]
    assert ledger["proxy_scoring"] == 0
    count = said(cells[:1])
    assert count["charged for scoring"] == ledger["proxy_trained"]
    assert count["samples"]["trained"] == ledger["proxy_trained"] + ledger["trained"]
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == [own.key]


def test_a_shorter_run_is_charged_less_and_its_masks_come_again(runs, tmp_path):
    record, _ = run_cell(cell(epochs=2), Store.open(tmp_path))
    assert record.ledger["proxy_trained"] == 2 * record.ledger["num_samples"]
    _, main = runs.values()
    per_epoch = len(main) // EPOCHS
    epochs = [
        torch.cat([step[0] for step in main[e * per_epoch : (e + 1) * per_epoch]]).sort().values
        for e in range(EPOCHS)
    ]
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[1], epochs[3])
    assert not torch.equal(epochs[0], epochs[1])


def test_a_stopped_run_goes_on_with_the_same_plans(runs, tmp_path):
    options = ExecutionOptions(checkpoint_s=0.0)
    store = Store.open(tmp_path / "a")

    def stop(share):
        if share > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(cell(), store, options, WorkerContext(report=stop))
    calm = Store.open(tmp_path / "b")
    for folder in ("records", "artifacts", "evidence"):  # the small network's run is over
        shutil.copytree(store.root / folder, calm.root / folder, dirs_exist_ok=True)
    runs.clear()
    again, _ = run_cell(cell(), store, options)
    whole, _ = run_cell(cell(), calm)
    rest, steps = runs.values()
    assert 0 < len(rest) <= len(steps) // 2
    assert again.ledger == whole.ledger
    assert again.metrics == whole.metrics
    for name in ("predictions.npz", "samples.npz"):
        assert again.artifacts[name] == whole.artifacts[name], name


def test_what_belongs_to_the_cells_network_is_not_the_small_ones():
    whole = cell(epochs=3, batch=64).spec
    odd = {"drop_last": True, "compat": ("head-100",), "weights": "0" * 64, "warmup": 4,
           "eval_every": 1, "lr": 0.02, "train": "head"}  # fmt: skip
    spec = whole.replace(recipe=whole.recipe.model_copy(update=odd))
    (scoring,) = scoring_specs(AirbenchProxy(epochs=3, batch=64), spec)
    recipe = scoring.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr) == (3, 64, 0.02)
    assert (recipe.drop_last, recipe.compat, recipe.weights) == (False, (), "")
    assert recipe.train == "all"
    assert (recipe.warmup, recipe.eval_every) == (None, 0)
    (longest,) = scoring_specs(AirbenchProxy(epochs=99), spec)
    assert longest.recipe.epochs == EPOCHS
    assert scoring_specs(AirbenchProxy(), spec.replace(ratio=0.0)) == []


@pytest.mark.parametrize(("shape", "features"), [((3, 32, 32), 256), ((1, 1, 5), 256),
                                                 ((20,), 64), ((40, 5), 64)])  # fmt: skip
def test_the_small_network_reads_images_vectors_and_texts(shape, features):
    fields = cell().spec.recipe.model_dump() | {"model": "airbench-proxy", "model_params": {}}
    recipe = type(cell().spec.recipe)(**fields)
    network = build_model(recipe, shape, 10, Streams(0, "a", "b").get("init"))
    text = len(shape) == 2
    batch = torch.ones(2, 5, dtype=torch.int32) if text else torch.zeros(2, *shape)
    f = network.features(batch)
    assert f.shape == (2, features)
    assert network.head(f).shape == (2, 10)
    widths = [len(p) for p in network.parameters() if p.dim() > 1][:3]
    assert widths == [40 if text else 32, 64, 64]


def test_vectors_in_whole_batches_end_at_the_budget(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)
    y = np.arange(90) % 3
    x[:, 0] += y
    done = prunebench.run(
        prunebench.task((x, y), (x[:30], y[:30])), method="airbench-proxy", ratio=0.5,
        recipe={"epochs": 2, "batch_size": 16, "drop_last": True}, out=tmp_path, mlflow=False,
        quiet=True,
    )  # fmt: skip
    ledger = done.record.ledger
    assert done.record.status in ("done", "diverged"), done.record.reason
    assert ledger["trained"] == ledger["target"]
    assert ledger["proxy_trained"] == 2 * ledger["num_samples"]


class Peeks(AirbenchProxy):
    name = "peeks"

    def prepare(self, evidence, ratio, rng):
        super().prepare(evidence, ratio, rng)
        self.masks |= evidence.labels != evidence.clean_labels


class Silent(AirbenchProxy):
    name = "silent"

    def needs(self, epochs, warmup):
        return EvidenceSpec(frozenset({"correct"}))


@pytest.mark.parametrize(("check", "method", "said"), [
    ("clean-labels", Peeks, "reads Evidence.clean_labels"),
    ("declared-inputs", Silent, "'p_target' was not declared"),
])  # fmt: skip
def test_what_a_method_prepares_from_is_checked(check, method, said):
    (subject,) = find(method)
    result = run_check(check, subject)
    assert result.status == "failed"
    assert said in result.detail
