"""prunebench: a benchmark harness for data pruning under label noise.

Runs, grids and boards start from here (``run``, ``grid``, ``task``, ``load_results``,
``leaderboard``), and so does a training loop of your own (``Pruning``); methods, data sets,
networks, recipes and criteria of your own import what they need. A name is looked up when it is
first used, so that ``import prunebench`` needs no torch. docs/api.md lists these names and the
other public modules; everything else may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_MODULE_OF = {
    "BatchPruner": "methods.base",
    "Board": "api.results",
    "Card": "methods.base",
    "Criterion": "methods.base",
    "DataSource": "datasets",
    "DynamicPruner": "methods.base",
    "EvidenceSpec": "methods.base",
    "FeatureNet": "bench.networks.base",
    "InputError": "errors",
    "Network": "bench.networks.base",
    "Option": "options",
    "OwnData": "api.own_data",
    "Plan": "methods.base",
    "Pruning": "api.pruning",
    "RawData": "datasets",
    "Recipe": "bench.spec.recipe",
    "Results": "api.results",
    "Run": "api.results",
    "Sampler": "methods.base",
    "ScoreBasedPruner": "methods.base",
    "ScorePruner": "methods.base",
    "Scored": "methods.base",
    "Selection": "api.selection",
    "StaticPruner": "methods.base",
    "Subset": "methods.base",
    "find_label_issues": "api.selection",
    "grid": "api.runs",
    "irreducible_losses": "api.own_passes",
    "kept_count": "methods.base",
    "load_results": "api.results",
    "register_criterion": "methods.base",
    "register_dataset": "datasets",
    "register_method": "methods.base",
    "register_model": "bench.networks.base",
    "register_recipe": "bench.spec.recipe",
    "register_sampler": "methods.base",
    "run": "api.runs",
    "select": "api.selection",
    "task": "api.own_data",
}

if TYPE_CHECKING:
    from prunebench.api.own_data import OwnData, task
    from prunebench.api.own_passes import irreducible_losses
    from prunebench.api.pruning import Pruning
    from prunebench.api.results import Board, Results, Run, load_results
    from prunebench.api.runs import grid, run
    from prunebench.api.selection import Selection, find_label_issues, select
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
        Sampler,
        ScoreBasedPruner,
        Scored,
        ScorePruner,
        StaticPruner,
        Subset,
        kept_count,
        register_criterion,
        register_method,
        register_sampler,
    )
    from prunebench.options import Option
else:

    def __getattr__(name: str) -> object:
        if name == "leaderboard":  # a package that may be called
            return import_module(f"{__name__}.leaderboard")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "BatchPruner",
    "Board",
    "Card",
    "Criterion",
    "DataSource",
    "DynamicPruner",
    "EvidenceSpec",
    "FeatureNet",
    "InputError",
    "Network",
    "Option",
    "OwnData",
    "Plan",
    "Pruning",
    "RawData",
    "Recipe",
    "Results",
    "Run",
    "Sampler",
    "ScoreBasedPruner",
    "ScorePruner",
    "Scored",
    "Selection",
    "StaticPruner",
    "Subset",
    "find_label_issues",
    "grid",
    "irreducible_losses",
    "kept_count",
    "load_results",
    "register_criterion",
    "register_dataset",
    "register_method",
    "register_model",
    "register_recipe",
    "register_sampler",
    "run",
    "select",
    "task",
]
