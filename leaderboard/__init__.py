"""Leaderboards from records; called, ``prunebench.leaderboard(results)`` makes one."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """The package itself as a function: the name that users expect is taken by it."""

    def __call__(self, results: Any, protocol: Any = None, metric: str | None = None) -> Any:
        """As ``prunebench.api.results.leaderboard``."""
        return import_module("prunebench.api.results").leaderboard(results, protocol, metric)


sys.modules[__name__].__class__ = _Callable
