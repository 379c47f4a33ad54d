"""The pretended card finds what a card would refuse, and leaves torch as it was."""

import pickle
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

from prunebench.errors import InputError
from prunebench.methods.cross_entropy import CrossEntropy
from prunebench.methods.divbs import DivBS
from prunebench.methods.infobatch import InfoBatch
from support.card_cells import captured_equals_launched, findings, trained
from support.pretended_card import DeviceMix, pretended_card
from support.pretended_card.card import Stream
from support.pretended_card.patches import _replacements


@pytest.fixture
def card():
    with pretended_card() as card:
        yield card


def on_card(*shape):
    return torch.ones(*shape, device="cuda")


def test_tensors_say_where_they_are_and_results_follow_their_operands(card):
    x, host = on_card(3), torch.ones(3)
    assert (x.device, x.is_cuda, x.get_device()) == (torch.device("cuda:0"), True, 0)
    assert (host.device.type, host.is_cuda, host.get_device()) == ("cpu", False, -1)
    assert (x[1:] + 1).is_cuda
    assert x.cpu().device.type == "cpu"
    assert host.to("cuda").is_cuda
    assert host.cuda().half().is_cuda
    assert torch.empty_like(x, device="cpu").device.type == "cpu"
    assert torch.empty_like(host, device="cuda").is_cuda
    assert torch.tensor([1, 2], device="cuda").is_cuda
    assert torch.tensor([1, 2]).to(x).dtype == torch.float32
    assert not torch.arange(3).is_cuda
    assert torch.arange(3, device="cuda").is_cuda
    net = nn.Linear(3, 2).to("cuda")
    net(x).sum().backward()
    assert net.weight.grad.is_cuda
    assert card.findings() == []
    with pytest.raises(TypeError, match="numpy"):
        x.numpy()
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(1 << 40, device="cuda")


def test_a_thread_that_makes_tensors_on_the_host_moves_no_result_of_another(card):
    x, inside, done = on_card(3), threading.Event(), threading.Event()

    def make():
        with card.placed(False):
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=make)
    thread.start()
    inside.wait(10)
    there = (x + 1).is_cuda
    done.set()
    thread.join()
    assert there


@pytest.mark.parametrize("mix", [
    lambda x, host: x + host, lambda x, host: host[x.long()], lambda x, host: torch.cat([x, host]),
    lambda x, host: torch.where(host > 0, x, x), lambda x, host: x.masked_fill_(host > 0, 0),
    lambda x, host: nn.functional.linear(x, host[None]),
])  # fmt: skip
def test_mixed_devices_are_refused(mix, card):
    x, host = on_card(3), torch.ones(3)
    assert (x * torch.tensor(2.0)).is_cuda  # as torch allows
    assert card.findings() == []
    with pytest.raises(DeviceMix, match="same device"):
        mix(x, host)
    assert len(card.findings()) == 1


WAITS = {
    "item": lambda x: x.sum().item(), "bool": lambda x: bool(x[0]), "mask": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(), "host mask": lambda x: x[torch.ones(3) > 0],
    "cpu": lambda x: x.cpu(), "list": lambda x: x.tolist(), "send": lambda x: torch.ones(3).cuda(),
    "tensor": lambda x: torch.tensor([1], device="cuda"), "unique": lambda x: x.unique(),
    "copy": lambda x: x.copy_(torch.ones(3)), "if": lambda x: 1 if x.any() else 0,
    "all": lambda x: torch.cuda.synchronize(),
    "stream": lambda x: torch.cuda.Stream().synchronize(),
}  # fmt: skip
SILENT = {
    "fill": lambda x: x.__setitem__(x > 0, 0.0), "where": lambda x: torch.where(x > 0, x, 0.0),
    "places": lambda x: x[x.long()], "pinned": lambda x: x.copy_(torch.ones(3).pin_memory(), True),
}  # fmt: skip


@pytest.mark.parametrize("name", WAITS)
def test_waits_of_the_host_are_found(name, card):
    x = on_card(3)
    with card.during("step"):
        WAITS[name](x)
    assert all("wait in" in line for line in card.findings())
    assert card.findings()
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="synchronizing"):
        WAITS[name](x)


@pytest.mark.parametrize("name", SILENT)
def test_what_does_not_wait_is_no_finding(name, card):
    x = on_card(3)
    torch.cuda.set_sync_debug_mode("error")
    SILENT[name](x)
    assert card.findings() == []


def captured(body):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
        body()
    return graph


def test_a_replay_makes_the_recorded_calls_on_the_recorded_memory(card):
    x, total, calls = on_card(3), torch.zeros(3, device="cuda"), []

    def body():
        calls.append(len(calls))
        total.add_(x * 2 + calls[-1])

    graph = captured(body)
    total.zero_()
    x.fill_(5)
    for _ in range(2):
        graph.replay()
    assert calls == [0]
    assert total.tolist() == [20, 20, 20]
    assert card.replays == 2


def test_draws_follow_the_generators_of_the_card(card):
    def draw():
        return torch.rand(3, device="cuda").tolist()

    torch.manual_seed(3)
    host, first, second = torch.rand(3), draw(), draw()
    torch.manual_seed(3)
    lane, shared = torch.Generator("cuda"), torch.cuda.default_generators[0]
    before = shared.graphsafe_get_state()
    shared.graphsafe_set_state(lane.manual_seed(3))
    assert [draw(), draw()] == [first, second]
    shared.graphsafe_set_state(before)
    assert draw() == first
    assert torch.equal(torch.rand(3), host)
    out = []
    graph = captured(lambda: out.append(torch.rand(3, device="cuda")))
    torch.cuda.manual_seed(3)
    for expected in (first, second):
        graph.replay()
        assert out[0].tolist() == expected


@pytest.mark.parametrize("name", WAITS)
def test_what_cannot_be_captured_is_refused(name, card):
    x = on_card(3)
    with pytest.raises(RuntimeError, match="previous error during capture"):
        captured(lambda: WAITS[name](x))
    assert "stream is capturing" in card.findings()[0]


def test_the_default_stream_cannot_be_captured(card):
    graph = torch.cuda.graph(torch.cuda.CUDAGraph(), stream=torch.cuda.default_stream())
    with pytest.raises(RuntimeError, match="non-default stream"), graph:
        pass


def test_accesses_that_nothing_orders_are_races(card):
    x, side, event = on_card(3), torch.cuda.Stream(), torch.cuda.Event()
    with torch.cuda.stream(side):
        x + 1
    assert [key[0] for key in card.races] == ["read after write"]
    card.races.clear()
    x.add_(1)
    assert [key[0] for key in card.races] == ["write after read"]
    card.races.clear()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        x.add_(1)
    event.record(side)
    event.wait()
    x.add_(1)
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        x.add_(1)
    assert card.findings() == []


def test_memory_is_freed_after_its_last_use_on_another_stream(card):
    side = torch.cuda.Stream()
    for ordered in ("no", "stream", "host", "noted"):
        x = on_card(3)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            x + 1
        if ordered == "stream":
            torch.cuda.current_stream().wait_stream(side)
        elif ordered == "host":
            torch.cuda.synchronize()
        elif ordered == "noted":
            x.record_stream(side)
        del x
        races = [key[0] for key in card.races]
        assert races == (["freed while another stream uses it"] if ordered == "no" else [])
        card.races.clear()


def test_pinned_memory_is_read_after_its_event_only(card):
    x, host, event = on_card(()), torch.empty((), pin_memory=True), torch.cuda.Event()
    host.copy_(x, non_blocking=True)
    event.record()
    float(host)
    assert [key[0] for key in card.races] == ["read after write"]
    card.races.clear()
    assert not event.query()
    event.synchronize()
    assert event.query()
    float(host)
    assert card.findings() == []


READS = {
    "item": lambda host: host.item(),
    "tolist": lambda host: host.tolist(),
    "numpy": lambda host: host.numpy(),
    "an operator": lambda host: torch.zeros(()).copy_(host),
    "pickling": lambda host: pickle.dumps(host),
}  # fmt: skip


@pytest.mark.parametrize("name", READS)
def test_a_copy_to_the_host_that_nobody_waits_for_is_not_read(name, card):
    x = on_card(())
    READS[name](x.to("cpu"))
    assert card.findings() == []
    soon = x.to("cpu", non_blocking=True)
    torch.cuda.synchronize()
    READS[name](soon)
    assert card.findings() == []
    READS[name](x.to("cpu", non_blocking=True))
    assert [key[0] for key in card.races] == ["read after write"]


@pytest.mark.parametrize("name", ["pool", "cumsum", "median", "histc"])
def test_what_has_no_deterministic_form_is_refused_where_one_is_wanted(name, card):
    x = on_card(1, 1, 7, 7).requires_grad_()
    bodies = {
        "pool": lambda: nn.functional.adaptive_avg_pool2d(x, 2).sum().backward(),
        "cumsum": lambda: x.detach().cumsum(0), "median": lambda: x.detach().median(0),
        "histc": lambda: x.detach().histc(),
    }  # fmt: skip
    bodies[name]()
    torch.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        bodies[name]()


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_workspace_of_products_counts_at_the_first_one(when, card, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    x = on_card(2, 2)
    if when == "after":
        x @ x
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    if when == "before":
        x @ x
        assert card.findings() == []
        return
    with pytest.raises(RuntimeError, match="CUBLAS_WORKSPACE_CONFIG"):
        x @ x


def test_everything_is_put_back():
    with pretended_card() as card:
        places = [(owner, name) for owner, name, _ in _replacements(card)]
    before = {(id(o), n): vars(o).get(n) for o, n in places}
    with pretended_card():
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = True
        marked = on_card(2)
        assert torch.cuda.is_available()
    assert {(id(o), n): vars(o).get(n) for o, n in places} == before
    assert len(before) > 70
    assert marked.device.type == "cpu"
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    with pytest.raises(RuntimeError), pretended_card():
        raise RuntimeError
    assert torch.zeros(1).device.type == "cpu"


def planted(monkeypatch, owner, name, after):
    """Has a method of the project do something more with what it returns."""
    inner = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda self, *args: after(inner(self, *args)))


DEFECTS = {
    "a mask of the host": lambda losses: losses * (torch.arange(len(losses)) >= 0),
    "a value read back": lambda losses: losses * (losses.sum().item() ** 0),
    "a mask that selects": lambda losses: losses + losses[losses > 1e9].sum(),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_of_a_criterion_is_found(name, monkeypatch, tmp_path):
    fields = {"recipe_params": {"epochs": 1}}
    captured_equals_launched(tmp_path / "before", **fields)
    planted(monkeypatch, CrossEntropy, "per_sample", DEFECTS[name])
    for graph in ("auto", "off"):
        record, _, card = trained(tmp_path / graph, graph, **fields)
        assert findings(card)
        assert record.status == "failed" or record.info["steps"] != "captured"
    with pytest.raises(AssertionError):
        captured_equals_launched(tmp_path / "after", **fields)


def test_a_planted_operation_without_a_deterministic_form_is_found(monkeypatch, tmp_path):
    fields = {"recipe_params": {"epochs": 1}, "execution": {"deterministic": True}}
    captured_equals_launched(tmp_path / "before", **fields)
    planted(
        monkeypatch, CrossEntropy, "per_sample",
        lambda losses: losses + 0 * losses.detach().cumsum(0),
    )  # fmt: skip
    with pytest.raises(InputError, match="cumsum has no deterministic form on a card"):
        trained(tmp_path / "after", "off", **fields)


def test_a_mask_of_the_host_in_a_pruner_is_found(monkeypatch, tmp_path):
    def masked(plan):
        return replace(plan, indices=plan.indices * (torch.arange(len(plan.indices)) >= 0))

    planted(monkeypatch, InfoBatch, "prune", masked)
    record, _, card = trained(tmp_path, "auto", method="infobatch")
    assert record.status == "failed"
    assert "same device" in findings(card)[0]


def test_a_value_read_back_by_a_chooser_within_a_step_is_found(monkeypatch, tmp_path):
    planted(monkeypatch, DivBS, "select", lambda chosen: chosen[: len(chosen) + 0 * int(chosen[0])])
    _, _, card = trained(tmp_path, "off", method="divbs", recipe_params={"epochs": 1})
    assert "wait in ('step', 'aten._local_scalar_dense" in findings(card)[0]


def test_a_stream_that_waits_for_no_other_is_found(monkeypatch, tmp_path):
    fields = {"method": "infobatch", "recipe_params": {"epochs": 1}}
    _, _, card = trained(tmp_path / "a", "auto", **fields)
    assert findings(card) == []
    monkeypatch.setattr(Stream, "wait_stream", lambda self, other: None)
    _, _, card = trained(tmp_path / "b", "auto", **fields)
    assert any("race" in line for line in findings(card))


def test_what_python_decides_in_each_step_differs_when_captured(monkeypatch, tmp_path):
    steps = []

    def later(losses):
        steps.append(None)
        return losses * (1 + len(steps) % 3)

    planted(monkeypatch, CrossEntropy, "per_sample", later)
    with pytest.raises(AssertionError):
        captured_equals_launched(tmp_path, recipe_params={"epochs": 1})
