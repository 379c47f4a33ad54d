"""Four methods on arrays and a network of your own, with three seeds; prints their board."""

import numpy as np
from torch import nn

import prunebench as pb

rng = np.random.default_rng(0)
y = np.arange(600) % 3
X = rng.normal(size=(600, 6)) + 3 * np.eye(6)[y]
data = pb.task((X[:500], y[:500]), (X[500:], y[500:]), name="mine")


def network(num_classes: int, in_shape: tuple[int, ...]) -> nn.Module:
    return nn.Sequential(nn.Linear(in_shape[0], 16), nn.ReLU(), nn.Linear(16, num_classes))


methods = ["full", "random", "infobatch", "infobatch+align"]
grid = {"dataset": data, "noise": "symmetric:0.2", "method": methods, "ratio": 0.5, "seed": "0..2"}
recipe = {"epochs": 4, "batch_size": 32}
results = pb.grid(
    {**grid, "recipe_params": recipe}, model=network, out="results/mine", mlflow=False
)
print(pb.leaderboard(results).markdown)
