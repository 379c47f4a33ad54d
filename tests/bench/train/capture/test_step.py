"""The captured step, rehearsed on the CPU: same results, fixed addresses, nothing read back."""

import gc
import weakref
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from prunebench.bench.runs import checkpoint
from prunebench.bench.train.capture import pool
from prunebench.bench.train.capture.graph import Rehearsal
from prunebench.bench.train.capture.pool import CapturedStepPool, not_captured_because
from prunebench.bench.train.stopping import Stopped
from prunebench.bench.train.trainer import Trainer
from prunebench.methods import divbs
from prunebench.methods.divbs import gradient_gram, pick_on_device
from support.captures import Ops, armed, launched
from support.runs import Hooks, everything, make, same

METHODS = ["full", "random-dynamic", "infobatch", "seta", "ies", "divbs", "infobatch+align"]


@pytest.fixture(autouse=True)
def own_captures():
    before = pool.use(CapturedStepPool())
    yield pool.current()
    pool.use(before)


@pytest.mark.parametrize("method", METHODS)
def test_captured_form_gives_the_bits_of_the_launched_one(method):
    replayed, eager = make(method), launched(method)
    replayed.fit()
    eager.fit()
    assert replayed.captured_step is not None
    assert replayed.not_captured_because == ""
    assert replayed.captured_step.capture.replays > 0
    assert same(replayed, eager)


@pytest.mark.parametrize("optimizer", ["sgd", "lars", "adam"])
def test_captured_form_follows_the_plain_cpu_path(optimizer):
    recipe = {"optimizer": optimizer, "lr": 0.01, "epochs": 2}
    replayed, plain = make("infobatch", recipe_params=recipe), make(
        "infobatch", graph="auto", recipe_params=recipe)  # fmt: skip
    replayed.fit()
    plain.fit()
    assert plain.captured_step is None
    for p, q in zip(replayed.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("criterion", ["sop", "sop+"])
def test_criteria_with_parameters_of_their_own_are_replayed(criterion):
    replayed, eager = make("infobatch", criterion=criterion), launched(
        "infobatch", criterion=criterion)  # fmt: skip
    replayed.fit()
    eager.fit()
    assert replayed.captured_step is not None
    assert same(replayed, eager)


class Reach(TorchDispatchMode):
    """Notes tensors that a step reads although it neither made them nor owns them for good."""

    def __init__(self, known) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.foreign: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # else torch imports the compiler

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        leaves, _ = tree_flatten((args, kwargs or {}))
        for value in leaves:
            tensor = isinstance(value, torch.Tensor) and value.numel()
            if tensor and value.untyped_storage().data_ptr() not in self.known:
                self.foreign[func.__name__] += 1
        made = func(*args, **(kwargs or {}))
        for value in tree_flatten(made)[0]:
            if isinstance(value, torch.Tensor):
                self.known.add(value.untyped_storage().data_ptr())
        return made


def fixed(run: Trainer) -> list[torch.Tensor]:
    """All tensors that a captured step may know."""
    graph, view = run.captured_step, run.inputs
    tensors = [*graph.state(), *graph.optimizer.tensors()]
    for owner in (graph.buffers, view):
        tensors += [v for v in vars(owner).values() if isinstance(v, torch.Tensor)]
    return [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]


CASES = [
    ("full", {"augment": "crop_flip"}, "ce"), ("full", {"augment": "resized_crop"}, "ce"),
    ("infobatch", {"optimizer": "lars"}, "ce"), ("full", {"optimizer": "adam"}, "ce"),
    ("divbs", {}, "ce"), ("full", {}, "sop+"), ("full", {"precision": "bf16"}, "ce"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "recipe", "criterion"), CASES)
def test_a_captured_step_knows_only_fixed_addresses_and_reads_nothing_back(
    method, recipe, criterion, monkeypatch
):
    # As on an accelerator; the choice on the host is for the CPU alone.
    monkeypatch.setattr(
        divbs, "select_diverse",
        lambda f, z, y, k, rule, rng: pick_on_device(gradient_gram(f, z, y), k, rule, rng),
    )  # fmt: skip
    run = armed(method, criterion=criterion, recipe_params=recipe)
    places = [tensor.data_ptr() for tensor in fixed(run)]
    run.captured_step.step()
    with Ops() as ops:
        run.captured_step.step()
    with Reach(fixed(run)) as reach:
        run.captured_step.step()
    assert sum(ops.seen.values()) > 50
    assert ops.reads == {}
    assert reach.foreign == {}
    assert [tensor.data_ptr() for tensor in fixed(run)] == places
    assert int(run.captured_step.buffers.step) == 3


def test_the_watch_finds_what_it_watches_for():
    fixed_value, other = torch.ones(3), torch.ones(3)
    with Ops() as ops, Reach([fixed_value]) as reach:
        total = (fixed_value * 2).sum()
        assert reach.foreign == {}
        float(total)
        torch.add(fixed_value, other)
    assert ops.reads == {"_local_scalar_dense": 1}
    assert reach.foreign == {"add.Tensor": 1}


def test_recording_leaves_no_trace():
    run = make("infobatch", criterion="sop")
    before = {k: v.clone() for k, v in everything(run).items()}
    run.captured_step, _ = pool.acquire_captured_step(run)
    after = everything(run)
    assert all(torch.equal(before[k].nan_to_num(-7), after[k].nan_to_num(-7)) for k in before)
    assert not any(bool(v.any()) for s in run.optimizer.state.values() for v in s.values())
    assert all(p.grad is None for p in run.model.parameters())


@pytest.mark.parametrize("criterion", ["ce", "sop"])
def test_a_later_run_takes_over_the_captured_step_and_gets_its_own_bits(criterion, own_captures):
    first = make("infobatch", criterion=criterion, seed=1)
    first.fit()
    step = first.captured_step
    first.close()
    second = make("random-dynamic", criterion=criterion, noise="symmetric:0.2")
    second.fit()
    assert second.captured_step is step
    assert (own_captures.recorded, own_captures.reused) == (1, 1)
    pool.use(CapturedStepPool())
    fresh = make("random-dynamic", criterion=criterion, noise="symmetric:0.2")
    fresh.fit()
    assert fresh.captured_step is not step
    assert same(second, fresh)
    assert [r["test_accuracy"] for r in second.epoch_log] == [
        r["test_accuracy"] for r in fresh.epoch_log
    ]


@pytest.mark.parametrize("change", [
    {"model_params": {"width": 8, "depth": 2}}, {"batch_size": 64}, {"optimizer": "lars"},
    {"weight_decay": 0.1}, {"augment": "crop_flip"}, {"precision": "bf16"},
])  # fmt: skip
def test_another_shape_is_captured_anew(change, own_captures):
    first = make("full")
    pool.acquire_captured_step(first)
    other = make("full", recipe_params=change)
    pool.acquire_captured_step(other)
    assert own_captures.recorded == 2
    assert pool.capture_key(first) != pool.capture_key(other)


@pytest.fixture
def _no_collection():
    """What is freed is freed because nobody has it any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def recorded(size: int) -> tuple[Trainer, list[weakref.ref]]:
    """A run with its step recorded, and what must not outlive it."""
    run = make("full", recipe_params={"batch_size": size, "epochs": 1})
    run.acquire_captured_step()
    step = run.captured_step
    return run, [weakref.ref(one) for one in (step, step.capture, step.buffers, run.model)]


def alive(found: list[list[weakref.ref]]) -> list[int]:
    """How many of each kind are."""
    return [sum(one() is not None for one in kind) for kind in zip(*found, strict=True)]


@pytest.mark.usefixtures("_no_collection")
def test_of_many_shapes_few_steps_stay_and_none_after_clearing(own_captures):
    found = []
    for size in (32, 40, 48, 56, 64, 72):
        run, parts = recorded(size)
        found.append(parts)
        run.close()
        assert run.captured_step is None
        del run
    assert len(own_captures._idle) == own_captures.keep == 2
    assert alive(found) == [2, 2, 2, 2]
    own_captures.clear()
    assert alive(found) == [0, 0, 0, 0]


@pytest.mark.usefixtures("_no_collection")
def test_a_step_that_is_given_up_frees_its_graph_and_buffers_though_somebody_has_it(own_captures):
    own_captures.keep = 1
    (one, parts), (two, _) = recorded(32), recorded(64)
    step = one.captured_step
    one.close()
    assert alive([parts]) == [1, 1, 1, 1]
    two.close()
    assert alive([parts]) == [1, 0, 0, 1]
    assert not vars(step)


@pytest.mark.usefixtures("_no_collection")
def test_a_second_step_of_one_shape_replaces_the_first(own_captures):
    (one, parts), (two, others) = recorded(32), recorded(32)
    one.close()
    two.close()
    assert alive([parts, others])[1:3] == [1, 1]
    assert own_captures.take(pool.capture_key(two)) is others[0]()


@pytest.mark.usefixtures("_no_collection")
def test_a_refused_step_leaves_nothing(monkeypatch):
    made: list[weakref.ref] = []

    def refusing() -> Refusing:
        capture = Refusing(RuntimeError)
        made.append(weakref.ref(capture))
        return capture

    monkeypatch.setattr(pool, "Rehearsal", refusing)
    run = make("full")
    run.acquire_captured_step()
    assert run.captured_step is None
    assert [capture() for capture in made] == [None]


@pytest.mark.parametrize("method", ["infobatch", "divbs"])
@pytest.mark.parametrize("where", [3, 9])
def test_a_run_stopped_between_replays_goes_on_bit_for_bit(method, where, tmp_path):
    asked = iter(range(1000))
    whole = make(method)
    broken = make(method, callbacks=[Hooks(step_end=lambda _: next(asked) == where)])
    whole.fit()
    with pytest.raises(Stopped):
        broken.fit()
    checkpoint.save(broken, tmp_path, "k")
    resumed = make(method)
    assert checkpoint.restore(resumed, tmp_path, "k")
    resumed.fit()
    assert resumed.captured_step.capture.replays > 0
    assert same(whole, resumed)


def test_only_whole_batches_are_replayed():
    run = make("full", recipe_params={"epochs": 1})
    run.fit()
    whole, tail = divmod(len(run.sample_ids), 128)
    assert tail
    assert run.captured_step.capture.replays == whole
    assert run.ledger.steps == whole + 1


@pytest.mark.parametrize(("fields", "reason"), [
    ({"graph": "off"}, "switched off"),
    ({"recipe_params": {"batch_size": 4096}}, "smaller than a batch"),
])  # fmt: skip
def test_what_is_not_captured_says_why(fields, reason):
    run = make("full", **{"graph": "rehearse", **fields})
    if fields.get("graph") == "off":
        assert reason in not_captured_because(run)
        return
    run.fit()
    assert run.captured_step is None
    assert reason in run.not_captured_because


def test_a_criterion_or_a_chooser_that_decides_on_the_host_is_launched():
    run = make("full")
    run.criterion.capturable = False
    assert "does not declare" in not_captured_because(run)
    run = make("divbs")
    run.setup.pruner.draws = None
    assert "chooses samples on the host" in not_captured_because(run)
    run.fit()
    assert run.ledger.trained == run.ledger.target


class Refusing(Rehearsal):
    """A capture that the device refuses."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def record(self, step, rewind):
        super().record(step, rewind)
        raise self.error("operation not permitted when stream is capturing")


def test_a_step_that_cannot_be_captured_is_launched_and_its_record_says_so(monkeypatch):
    monkeypatch.setattr(pool, "Rehearsal", lambda: Refusing(RuntimeError))
    refused, eager = make("infobatch"), launched("infobatch")
    refused.fit()
    eager.fit()
    assert refused.captured_step is None
    assert (
        "could not be captured: RuntimeError: operation not permitted"
        in refused.not_captured_because
    )
    assert same(refused, eager)


def test_a_lack_of_memory_while_recording_is_no_reason_to_launch(monkeypatch):
    monkeypatch.setattr(pool, "Rehearsal", lambda: Refusing(torch.OutOfMemoryError))
    with pytest.raises(torch.OutOfMemoryError):
        make("infobatch").fit()
