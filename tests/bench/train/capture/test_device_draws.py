"""What a captured step draws and chooses on the device: the numbers of the host."""

import pytest
import torch

from prunebench.bench.train.capture.keyed_streams import ParentStream, signed_keys
from prunebench.methods.divbs import gradient_gram, pick_on_device, select_diverse
from prunebench.rng import Stream


def test_keys_on_the_device_draw_the_same_numbers():
    stream, ids = Stream(0xF123456789ABCDEF), torch.arange(1000)
    keys = torch.tensor(signed_keys(stream, ("a", "b")))
    parent = ParentStream(keys, ("a", "b"))
    for name in ("a", "b"):
        assert torch.equal(parent.child(name).bits(ids), stream.child(name).bits(ids))
        drawn = parent.child(name).uniform((3, 5))
        assert torch.equal(drawn, stream.child(name).uniform((3, 5)))
        assert torch.equal(parent.child(name).permutation(50), stream.child(name).permutation(50))
    child = parent.child("a")
    for wrong in (lambda: parent.child("c"), lambda: parent.bits(ids), lambda: child.numpy,
                  lambda: child.child("b")):  # fmt: skip
        with pytest.raises(TypeError):
            wrong()


@pytest.mark.parametrize("rule", ["argmax", "multinomial"])
@pytest.mark.parametrize(("width", "classes"), [(64, 10), (5, 2)])
def test_diverse_choices_on_the_device_are_those_of_the_host(rule, width, classes):
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        features, logits = (torch.randn(64, n, generator=g) for n in (width, classes))
        labels = torch.randint(0, classes, (64,), generator=g)
        there = pick_on_device(gradient_gram(features, logits, labels), 40, rule, Stream(seed))
        here = select_diverse(features, logits, labels, 40, rule, Stream(seed))
        assert torch.equal(there, here)
        assert len(there.unique()) == 40
