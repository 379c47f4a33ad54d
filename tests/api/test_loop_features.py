"""What a loop of one's own may do around ``Pruning``: lower precision, compiled networks, pinned
memory, accumulated gradients, workers that outlive an epoch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from prunebench.api.pruning import Pruning

BATCH = 16


def data() -> TensorDataset:
    y = torch.arange(96) % 4
    noise = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(noise + 2 * torch.eye(4)[y], y)


def pruner(device: str = "cpu") -> Pruning:
    return Pruning(data(), "infobatch", epochs=5, ratio=0.4, seed=1, device=device)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4))


def fit(pruning: Pruning, net: nn.Module, model: Any = None, *, autocast: bool = False,
        **loading: Any) -> tuple[list[list[int]], set[float]]:  # fmt: skip
    """Trains to the end; returns the samples of every step, and the weighted losses over the
    plain ones."""
    loader = DataLoader(pruning.dataset, BATCH, sampler=pruning.sampler, **loading)
    place, steps, weights = next(net.parameters()).device, [], set()
    for _ in pruning.epochs():
        for x, y, sample in loader:
            net.zero_grad()
            with torch.autocast(place.type, torch.bfloat16, enabled=autocast):
                logits = (model or net)(x.to(place, non_blocking=True))
                losses = F.cross_entropy(logits, y.to(place), reduction="none")
                loss = pruning.loss(losses, sample)
            noted = pruning.tables.loss[sample.to(pruning.device)].to(place)
            assert torch.equal(noted, losses.detach().float())
            weights.add(round(float(loss.detach().float() / noted.mean()), 3))
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for p in net.parameters():
                    assert p.grad is not None
                    p -= 0.3 * p.grad
            steps.append(sample.tolist())
        pruning.end_epoch()
    return steps, weights


@pytest.fixture(scope="module")
def plain() -> tuple[list[list[int]], Tensor]:
    """The loop without any of it: its steps and its losses at the end."""
    pruning = pruner()
    steps, weights = fit(pruning, network())
    assert len(weights) > 1  # some samples count more than others
    return steps, pruning.tables.loss.clone()


def test_losses_of_lower_precision_are_noted_and_weighed(
    plain: tuple[list[list[int]], Tensor],
) -> None:
    pruning, net = pruner(), network()
    steps, weights = fit(pruning, net, autocast=True)
    assert len(weights) > 1
    assert sum(map(len, steps)) == sum(map(len, plain[0])) == pruning.trained
    assert {p.dtype for p in net.parameters()} == {pruning.tables.loss.dtype} == {torch.float32}
    rounded = plain[1].bfloat16().float()
    assert not torch.equal(pruning.tables.loss, plain[1])
    first = len(pruning.tables.loss) // BATCH
    assert steps[:first] == plain[0][:first]
    assert (pruning.tables.loss - rounded).abs().median() < 0.1


@pytest.mark.soak  # the imports of the compiler alone take ten seconds
@pytest.mark.parametrize("whole_step", [False, True])
def test_a_compiled_network_trains_the_same(
    whole_step: bool, plain: tuple[list[list[int]], Tensor]
) -> None:
    pruning, net = pruner(), network()
    if whole_step:
        pruning.loss = torch.compile(pruning.loss, backend="eager")  # type: ignore[method-assign]
    steps, _ = fit(pruning, net, torch.compile(net, backend="aot_eager"))
    assert steps == plain[0]
    torch.testing.assert_close(pruning.tables.loss, plain[1], rtol=1e-4, atol=1e-5)


@pytest.mark.cuda(real=True)
def test_pinned_batches_train_the_same(plain: tuple[list[list[int]], Tensor]) -> None:
    for device in ("cpu", "cuda"):
        pruning = pruner(device)
        steps, _ = fit(pruning, network().cuda(), pin_memory=True, num_workers=1)
        first = len(pruning.tables.loss) // BATCH
        assert steps[:first] == plain[0][:first]
        assert pruning.trained == sum(map(len, plain[0]))


@pytest.mark.cuda
def test_a_network_on_a_card_writes_into_tables_of_either_place() -> None:
    """A copy to the host that nobody waits for would be read before it has ended."""
    for device in ("cpu", "cuda"):
        pruning = pruner(device)
        steps, weights = fit(pruning, network().cuda())
        assert pruning.trained == sum(map(len, steps))
        assert len(weights) > 1


def test_persistent_workers_follow_plans_that_change(
    plain: tuple[list[list[int]], Tensor],
) -> None:
    pruning = pruner()
    steps, weights = fit(pruning, network(), num_workers=1, persistent_workers=True)
    assert steps == plain[0]
    assert torch.equal(pruning.tables.loss, plain[1])
    assert len(weights) > 1


def test_accumulated_gradients_are_those_of_the_large_batch() -> None:
    large, small = pruner(), pruner()
    nets = network(), network()
    changed = 0
    for _, _ in zip(large.epochs(), small.epochs(), strict=True):
        batches = [
            list(DataLoader(one.dataset, size, sampler=one.sampler))
            for one, size in ((large, BATCH), (small, BATCH // 4))
        ]
        for number, (x, y, sample) in enumerate(batches[0]):
            parts = batches[1][4 * number : 4 * number + 4]
            assert torch.cat([part[2] for part in parts]).tolist() == sample.tolist()
            for net in nets:
                net.zero_grad()
            whole = large.loss(F.cross_entropy(nets[0](x), y, reduction="none"), sample)
            whole.backward()  # type: ignore[no-untyped-call]
            summed = torch.zeros(())
            for inputs, labels, numbers in parts:
                losses = F.cross_entropy(nets[1](inputs), labels, reduction="none")
                part = small.loss(losses, numbers) * len(numbers) / len(sample)
                part.backward()  # type: ignore[no-untyped-call]
                summed += part.detach()
            torch.testing.assert_close(summed, whole.detach())
            changed += float(whole.detach()) != pytest.approx(
                float(large.tables.loss[sample].mean())
            )
            for one, two in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
                torch.testing.assert_close(one.grad, two.grad)
                with torch.no_grad():
                    one -= 0.3 * one.grad  # type: ignore[operator]
                    two.copy_(one)
        for one in (large, small):
            one.end_epoch()
        small.tables.loss.copy_(large.tables.loss)  # so that roundings have no part in the plan
    assert changed > 3
