"""A pretended CUDA card, for machines without one: what would fail on a card fails here.

Tensors stay on the CPU. A storage that belongs to the card carries a mark, ``Tensor.device`` and
its like answer by that mark, and every ATen call is looked at, in backward passes too:

* an operation that mixes tensors of the card and of the host raises, as CUDA would;
* every wait of the host is noted, and raises under ``torch.cuda.set_sync_debug_mode("error")``;
* within ``torch.cuda.graph`` the calls are recorded and what cannot be captured raises; a replay
  makes these very calls on these very storages, whatever Python decided meanwhile;
* streams and events keep vector clocks: an access that nothing orders after another is a race;
* under ``torch.use_deterministic_algorithms`` what has no deterministic form on a card raises.

Kernels, their numerics and their speed, allocation, compilation and NCCL are not covered. Used as
a context manager, which puts everything back that it replaced::

    with pretended_card() as card:
        train_something(torch.device("cuda"))
    assert card.findings() == []
"""

from support.pretended_card.card import Card
from support.pretended_card.operations import DeviceMix
from support.pretended_card.patches import pretended_card

__all__ = ["Card", "DeviceMix", "pretended_card"]
