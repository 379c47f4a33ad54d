"""prunebench: a benchmark harness for data pruning under label noise.

Methods, data sets, networks, recipes and criteria of your own import what they need from here, and
so does a training loop of your own (``Pruning``). A name is looked up when it is first used, so
that ``import prunebench`` needs no torch. docs/api.md lists these names and the other public
modules; everything else may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_MODULE_OF = {
    "BatchPruner": "methods.base",
    "Card": "methods.base",
    "Criterion": "methods.base",
    "DataSource": "datasets",
    "DynamicPruner": "methods.base",
    "EvidenceSpec": "methods.base",
    "FeatureNet": "bench.networks.base",
    "InputError": "errors",
    "Network": "bench.networks.base",
    "Option": "options",
    "Plan": "methods.base",
    "Pruning": "api.pruning",
    "RawData": "datasets",
    "Recipe": "bench.spec.recipe",
    "ScoreBasedPruner": "methods.base",
    "StaticPruner": "methods.base",
    "Subset": "methods.base",
    "kept_count": "methods.base",
    "register_criterion": "methods.base",
    "register_dataset": "datasets",
    "register_method": "methods.base",
    "register_model": "bench.networks.base",
    "register_recipe": "bench.spec.recipe",
}

if TYPE_CHECKING:
    from prunebench.api.pruning import Pruning
    from prunebench.bench.networks.base import FeatureNet, Network, register_model
    from prunebench.bench.spec.recipe import Recipe, register_recipe
    from prunebench.datasets import DataSource, RawData, register_dataset
    from prunebench.errors import InputError
    from prunebench.methods.base import (
        BatchPruner,
        Card,
        Criterion,
        DynamicPruner,
        EvidenceSpec,
        Plan,
        ScoreBasedPruner,
        StaticPruner,
        Subset,
        kept_count,
        register_criterion,
        register_method,
    )
    from prunebench.options import Option
else:

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "BatchPruner",
    "Card",
    "Criterion",
    "DataSource",
    "DynamicPruner",
    "EvidenceSpec",
    "FeatureNet",
    "InputError",
    "Network",
    "Option",
    "Plan",
    "Pruning",
    "RawData",
    "Recipe",
    "ScoreBasedPruner",
    "StaticPruner",
    "Subset",
    "kept_count",
    "register_criterion",
    "register_dataset",
    "register_method",
    "register_model",
    "register_recipe",
]
