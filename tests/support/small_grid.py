"""A grid of six cells, a plug-in, and words of short runs, for tests of the command line."""

import shlex
from pathlib import Path

from prunebench.bench.results.store import Store

GRID = """
name = "small"
dataset = "digits"
noise = "symmetric:0.4"
method = ["full", "random", "small-loss"]
ratio = 0.5
seed = "0..1"
recipe_params = { epochs = 4 }
"""

PLUGIN = """
from prunebench.methods.base import DynamicPruner, Plan, register_method

@register_method("first-half")
class FirstHalf(DynamicPruner):
    def plan(self, progress, tables, rng):
        return Plan(self.everything().indices[: self.view.num_samples // 2])

@register_method("broken-promise")
class BrokenPromise(DynamicPruner):
    def plan(self, progress, tables, rng):
        raise RuntimeError("no plan today")
"""

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any((name + ".").startswith(heavy + ".") for heavy in {blocked!r}):
            raise RuntimeError(name + " was imported")

sys.meta_path.insert(0, Blocker())
from prunebench.bench.cli import main
main()
"""

ISSUE = shlex.split(
    "run --dataset digits --noise symmetric:0.4 --method infobatch+align --ratio 0.5 --seed 0"
)
SHORT = ("run", "--method", "random", "--ratio", "0.5", "--recipe-param", "epochs=2", "--no-mlflow")


def key_of(root: Path, method: str) -> str:
    """Key of the first record of a method."""
    records = Store(root).scan().records
    return next(r.key for r in records if r.spec["method"]["name"] == method)
