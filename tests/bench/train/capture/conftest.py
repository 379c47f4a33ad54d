"""Networks of a test, registered while it runs."""

import pytest

from prunebench.bench.networks.base import FeatureNet
from prunebench.bench.networks.build import register_model
from prunebench.registry import MODELS


@pytest.fixture
def network():
    """Registers a network by the class of its body."""
    names = []

    def register(body):
        names.append(body.__name__.lower())
        register_model(names[-1])(
            lambda shape, num_classes: FeatureNet(body(shape), 16, num_classes)
        )
        return names[-1]

    yield register
    for name in names:
        MODELS._entries.pop(name, None)
