"""Options of the alignment scorer that only a whole run shows."""

import torch

from prunebench.bench.train.sample_tables import SampleTables
from prunebench.methods.base import Progress, TrainView
from prunebench.methods.compose import resolve_method
from prunebench.rng import Stream


def trained(mean_over: str):
    """An aligned InfoBatch after six simulated epochs; the last one visits half."""
    n, epochs = 40, 12
    pruner = resolve_method("infobatch+align").build({"align.mean_over": mean_over, "r": 1.0})
    view = TrainView(n, 2, torch.zeros(n, dtype=torch.int64), epochs, 0.5, torch.device("cpu"))
    pruner.begin(view)
    tables = SampleTables(n, epochs, window=pruner.window)
    curve = torch.linspace(2.0, 0.5, epochs, dtype=torch.float64)
    slope = torch.linspace(1.0, -1.0, n)
    for epoch in range(6):
        visited = torch.arange(n) if epoch < 5 else torch.arange(0, 20)
        wiggle = Stream(epoch).uniform(n).float() * 0.5
        tables.loss[visited] = (slope * curve[epoch].float() + wiggle + 3.0)[visited]
        tables.close_epoch(visited, epoch)
        tables.reference_loss[epoch] = curve[epoch]
        progress = Progress(0.5, epoch + 1, 0, 100, 6.0, epochs)
        pruner.scorer.scores(tables, progress)
    return pruner, tables, progress


def test_the_mean_that_splits_can_be_that_of_the_samples_trained_last():
    pruner, tables, progress = trained("all")
    every = pruner.scorer.scores(tables, progress)
    assert pruner.scorer.split is None
    pruner, tables, progress = trained("trained")
    scores = pruner.scorer.scores(tables, progress)
    assert torch.equal(scores, every)
    torch.testing.assert_close(pruner.scorer.split, scores[:20].mean())
    assert pruner.scorer.split > every.mean()
    low_all = int((every < every.mean()).sum())
    plan = pruner.plan(progress, tables, Stream(1))
    low = int((scores < scores[:20].mean()).sum())
    assert low != low_all
    assert len(plan.indices) == 40 - low + low // 10


def test_trajectories_can_be_those_of_the_criterion():
    pruner = resolve_method("infobatch+align").build({"align.score_loss": "training"})
    assert pruner.history == "training"
    tables = SampleTables(3, 4, window=2, is_cross_entropy=False, history=pruner.history)
    tables.write(torch.arange(3), torch.tensor([5.0, 6.0, 7.0]), torch.zeros(3, 2),
                 torch.zeros(3, dtype=torch.int64))  # fmt: skip
    tables.close_epoch(torch.arange(3), 0)
    assert tables.losses[0].tolist() == [5.0, 6.0, 7.0]
    plain = SampleTables(3, 4, window=2, is_cross_entropy=False)
    plain.write(torch.arange(3), torch.tensor([5.0, 6.0, 7.0]), torch.zeros(3, 2),
                torch.zeros(3, dtype=torch.int64))  # fmt: skip
    plain.close_epoch(torch.arange(3), 0)
    torch.testing.assert_close(plain.losses[0], torch.full((3,), 2.0).log())
