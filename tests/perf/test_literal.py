"""The literal forms are the other side of every claim on speed: they do the same as ours."""

import torch

from perf.benchmarks import literal
from prunebench.bench.train.optimizers import LARS
from prunebench.methods.base import Progress, TrainView
from prunebench.methods.ies import mastered
from prunebench.methods.seta import SeTa

CPU = torch.device("cpu")


def test_literal_seta_keeps_what_ours_keeps():
    scores = torch.randn(700, generator=torch.Generator().manual_seed(1)).exp()
    drawn = torch.arange(700)[torch.arange(700) % 10 != 3]

    class Drawn:
        def sample(self, n, k, device):
            assert (n, k) == (700, len(drawn))
            return drawn

    pruner = SeTa()
    pruner.begin(TrainView(700, 10, torch.zeros(700), 200, 0.5, CPU))
    pruner.calls = 1
    plan = pruner.prune(scores, Progress(0.1, 20, 0, 1, 180, 200), Drawn())
    assert sorted(literal.seta_plan(scores, 5, drawn)) == sorted(plan.indices.tolist())


def test_literal_ies_finds_the_same_samples():
    losses = torch.rand(6, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = literal.ies_mastered(dict(enumerate(losses.T.tolist())), 0.5)
    assert found == mastered(losses, 0.5).nonzero().squeeze(1).tolist()
    assert 0 < len(found) < 300


def test_literal_divbs_chooses_within_the_span():
    g = torch.Generator().manual_seed(0)
    f, z = torch.randn(16, 8, generator=g), torch.randn(16, 3, generator=g)
    picks = literal.divbs_picks(f, z, torch.randint(3, (16,), generator=g), 5)
    assert len(set(picks)) == 5


def test_literal_lars_moves_as_ours_does():
    g = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=g) for shape in ((4, 3), (4,), (2, 2, 3))]
    one, two = ([torch.nn.Parameter(v.clone()) for v in values] for _ in range(2))
    ours, theirs = LARS(one, 0.5, 0.9, 5e-4), literal.LiteralLARS(two, 0.5)
    for _ in range(3):
        for p, q in zip(one, two, strict=True):
            p.grad = torch.randn(p.shape, generator=g)
            q.grad = p.grad.clone()
        ours.step()
        theirs.step()
    for p, q in zip(one, two, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
    assert not torch.equal(one[0], values[0])
