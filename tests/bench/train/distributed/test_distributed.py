"""Several processes on one run: its shares, its sums, and the run of one process."""

import pytest
import torch
from torch import nn

from prunebench.bench.runs import checkpoint
from prunebench.bench.train.distributed.gradients import Reducer
from prunebench.bench.train.distributed.world import World
from prunebench.methods.base import DynamicPruner, Plan
from prunebench.registry import CRITERIA
from support.cells import small_cell
from support.processes import together
from support.runs import Hooks
from support.runs import trainer_of as small_trainer
from support.trees import write_tree

GROUP = {"width": 8, "depth": 2, "norm": "group"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), train=30, test=10)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_interleave_each_batch_and_cover_it_once(size):
    bounds = [(0, 7), (7, 14), (14, 15)]
    parts = [World(rank, size).shares(bounds) for rank in range(size)]
    assert sorted(torch.cat([p for p, _ in parts]).tolist()) == list(range(15))
    for rank, (positions, local) in enumerate(parts):
        for (start, stop), (a, b) in zip(bounds, local, strict=True):
            assert positions[a:b].tolist() == list(range(start, stop))[rank::size]
    chosen = torch.tensor([0, 3, 4, 6])
    for rank, (positions, local) in enumerate(parts):
        here = positions[slice(*local[1])][World(rank, size).owned(chosen)]
        assert here.tolist() == [7 + c for c in chosen.tolist() if c % size == rank]
    rows = torch.arange(10)
    assert torch.equal(torch.cat([rows[World(r, size).part(10)] for r in range(size)]), rows)


def test_pieces_come_together_the_same_everywhere():
    def body(world):
        rows = torch.arange(7.0)[:, None] * torch.tensor([1.0, 10.0])
        few = rows[:1]
        table = torch.full((9,), -1.0)
        visited = torch.tensor([8, 2, 5, 0, 3])
        mine = visited[world.rank :: world.size]
        table[mine] = mine.float()
        table[8] = torch.nan if world.rank == 0 else -1.0
        wide = torch.full((9, 2), torch.nan)
        wide[mine] = torch.stack([mine, -mine], 1).float()
        world.merge({"a": table, "wide": wide}, visited, mine)
        return (
            torch.equal(world.gather_rows(rows[world.part(7)], 7), rows),
            torch.equal(world.gather_rows(few[world.part(1)], 1), few),
            torch.equal(world.gather_interleaved(rows[world.rank :: world.size], 7), rows),
            torch.equal(world.gather_interleaved(few[world.rank :: world.size], 1), few),
            [None if value != value else value for value in table.tolist()],
            wide[visited].tolist() == [[n, -n] for n in visited.tolist()]
            and int(wide.isnan().sum()) == 8,
        )

    merged = [0.0, -1.0, 2.0, 3.0, -1.0, 5.0, -1.0, -1.0, None]
    assert together(body, 3) == [(True, True, True, True, merged, True)] * 3


def test_disagreement_and_double_work_are_errors():
    def differ(world):
        world.agree("the plan of epoch 4", [torch.tensor([1, 2]), None, 7])
        world.agree("the plan of epoch 5", [torch.tensor([1, 2 + (world.rank == 1)])])

    for kind, text in together(differ, 3):
        assert kind == "Lost"
        assert "the plan of epoch 5 of process 1 differs from that of process 0" in text

    def double(world):
        world.merge({"a": torch.zeros(4)}, torch.tensor([1, 2]), torch.tensor([1, 2]))

    assert all("exactly once" in text for _, text in together(double))


def test_summed_gradients_are_those_of_the_whole_batch():
    def network():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
        net.register_buffer("mean", torch.zeros(2))
        net.register_buffer("count", torch.tensor(0))
        net.add_module("unused", nn.Linear(2, 2))
        return net

    x, y, w = torch.randn(5, 5), torch.tensor([0, 1, 2, 0, 1]), torch.linspace(0.5, 2, 5)

    def gradient(net, part, whole):
        net.zero_grad()
        if len(x[part]):
            losses = nn.functional.cross_entropy(net[:3](x[part]), y[part], reduction="none")
            ((losses * w[part]).sum() / whole).backward()
        return [None if p.grad is None else p.grad for p in net.parameters()]

    def body(world):
        net = network()
        reducer = Reducer(world, net, CRITERIA.get("ce").target())
        reducer.begin(0)
        found = []
        for whole in (5, 1):  # in the second batch the other process has nothing
            gradient(net, slice(world.rank, whole, world.size), whole)
            reducer.reduce()
            found.append([None if p.grad is None else p.grad.clone() for p in net.parameters()])
        net.mean += world.rank
        net.count += world.rank
        reducer.end_epoch()
        return found, net.mean.tolist(), int(net.count)

    for found, mean, count in together(body):
        for grads, whole in zip(found, (5, 1), strict=True):
            for got, wanted in zip(grads, gradient(network(), slice(0, whole), whole), strict=True):
                if wanted is None:
                    assert got is None  # weight decay must not touch what has no gradient
                else:
                    torch.testing.assert_close(got, wanted)
        assert (mean, count) == ([0.5, 0.5], 1)


def trainer_of(tree, method="infobatch+align", wrap=lambda pruner: pruner, callbacks=(), **fields):
    data = {"stream": "yes", "workers": 0, "size": 16, "augment": "crop_flip"}
    recipe = {"batch_size": 16, "model": "cnn", "model_params": GROUP, **fields.pop("recipe", {})}
    cell = small_cell(method, dataset=f"folder:{tree}", dataset_params=data, recipe_params=recipe,
                      noise="symmetric:0.2", **fields)  # fmt: skip
    return small_trainer(cell, wrap, callbacks=callbacks)


def flat(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


class Stop(Exception):
    pass


def test_a_checkpoint_of_process_0_resumes_all(tree, tmp_path):
    def body(world):
        def halt(trainer):
            if trainer.epoch == 3:
                if world.rank == 0:
                    checkpoint.save(trainer, tmp_path, "k")
                world.add(torch.zeros(1))  # the others must not look before it is there
                raise Stop

        whole = trainer_of(tree)
        whole.fit()
        broken = trainer_of(tree, callbacks=[Hooks(epoch_end=halt)])
        with pytest.raises(Stop):
            broken.fit()
        resumed = trainer_of(tree)
        restored = checkpoint.restore(resumed, tmp_path, "k")
        resumed.fit()
        same = torch.equal(flat(whole), flat(resumed)), whole.epoch_log == resumed.epoch_log
        return restored, same, whole.ledger == resumed.ledger, flat(whole), whole.epoch_log[-1]

    one, two = together(body)
    assert one[:3] == two[:3] == (True, (True, True), True)
    assert torch.equal(one[3], two[3])
    alone = trainer_of(tree)
    alone.fit()
    torch.testing.assert_close(one[3], flat(alone), rtol=0, atol=1e-4)
    assert one[4]["train_loss"] == pytest.approx(alone.epoch_log[-1]["train_loss"], abs=1e-4)


class Fickle(DynamicPruner):
    """Plans what its process likes."""

    name = "fickle"
    rank = 0

    def plan(self, progress, tables, rng):
        return Plan(torch.arange(20) + self.rank * progress.epoch)


def test_processes_that_plan_differently_stop(tree):
    def body(world):
        def wrap(_):
            pruner = Fickle()
            pruner.rank = world.rank
            return pruner

        trainer_of(tree, "random-dynamic", wrap=wrap).fit()

    for kind, text in together(body):
        assert kind == "Lost"
        assert "the plan of epoch 1 of process 1 differs" in text


def test_losses_that_do_not_split_are_refused_by_name(tree):
    for criterion in ("sop", "sop+"):
        found = together(lambda world, c=criterion: trainer_of(tree, "full", criterion=c))
        assert {kind for kind, _ in found} == {"InputError"}
        assert "criterion SOP" in found[0][1]
        assert "accepted: a per-sample loss such as ce, or a single process" in found[0][1]


def test_batch_statistics_are_averaged_after_each_epoch(tree):
    def body(world):
        trainer = trainer_of(tree, "full", recipe={"model_params": {"width": 4}, "epochs": 2})
        trainer.fit()
        return [b.double().tolist() for b in trainer.model.buffers()], trainer.test_accuracy()

    one, two = together(body)
    assert one == two
