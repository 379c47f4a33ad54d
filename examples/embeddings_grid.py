"""Pruning on top of embeddings: a linear probe, five methods, two noises, three seeds."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import prunebench as pb

digits = load_digits()
test = np.arange(len(digits.target)) % 4 == 0
pca = PCA(32).fit(digits.data[~test])
X, y = pca.transform(digits.data), digits.target  # put the embeddings of your encoder here
data = pb.task((X[~test], y[~test]), (X[test], y[test]), name="embeddings")

methods = ["full", "random", "el2n", "moderate", "infobatch"]
grid = {"dataset": data, "noise": ["clean", "symmetric:0.4"], "method": methods, "ratio": 0.5}
results = pb.grid(
    {**grid, "recipe": "linear-probe", "seed": "0..2"}, out="results/embeddings", mlflow=False
)
print(pb.leaderboard(results).markdown)
