"""Settings of all tests."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

# Two test processes on two cores: threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does

# A machine with a card may lack it: the tests marked ``cuda`` do without.
with suppress(ModuleNotFoundError):
    from hypothesis import settings

    # A busy machine is no failure: nothing here is timed.
    settings.register_profile("prunebench", deadline=None)
    settings.load_profile("prunebench")

# Started in the background of a script, Python inherits a SIGINT that is ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _plugins() -> Iterator[None]:
    """Plug-in files that a test loads, and the names they register, are gone after it."""
    from prunebench.registry import PLUGIN, REGISTRIES

    before = set(sys.modules)
    yield
    for name in [name for name in sys.modules if name.startswith(PLUGIN) and name not in before]:
        del sys.modules[name]
        for registry in REGISTRIES:
            registry.forget(name)


@pytest.fixture(autouse=True)
def _card(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test marked ``cuda`` has a card: a real one, or the pretended one, which must find nothing.

    What only a device can do is marked ``cuda(real=True)``.
    """
    mark = request.node.get_closest_marker("cuda")
    if mark is None:
        yield
        return
    import torch

    if torch.cuda.is_available():
        yield
        return
    if mark.kwargs.get("real"):
        pytest.skip("no CUDA device on this machine")
    from support.card_cells import findings, fresh_card

    with fresh_card() as card:
        yield
    assert findings(card) == []
