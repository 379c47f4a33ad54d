"""Vectors standardised by the training samples (``normalise = "train"``)."""

from dataclasses import replace

import pytest
import torch

from prunebench.bench.inputs.statistics import with_statistics
from prunebench.bench.inputs.view import Inputs, shared_inputs
from prunebench.datasets.source import RawData
from prunebench.errors import InputError

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor(
    [1.0, 30.0, 0.01, 0.0]
) + torch.tensor([0.0, -7.0, 3.0, 0.1])
Y = torch.zeros(50, dtype=torch.int64)
RAW = RawData(X, Y, X[:9] + 5, Y[:9], 1, ("a",), "vectors")
IDS = torch.arange(50)


def test_features_have_mean_0_and_deviation_1_and_a_constant_one_is_0():
    x = Inputs(X, with_statistics(RAW, "train")).unaugmented(IDS)
    assert bool((x.mean(0).abs() < 1e-4).all())
    assert bool((x[:, :3].std(0, correction=0) - 1).abs().max() < 1e-4)
    assert bool((x[:, 3].abs() < 1e-6).all())


def test_test_samples_play_no_part():
    other = replace(RAW, test_x=RAW.test_x * 100)
    assert with_statistics(other, "train").mean == with_statistics(RAW, "train").mean


def test_other_recipes_leave_vectors_as_they_are():
    assert with_statistics(RAW, "dataset") is RAW
    assert torch.equal(Inputs(X, RAW).unaugmented(IDS), X)


def test_a_shared_copy_serves_one_way_of_reading_it():
    plain, standardised = shared_inputs(X, RAW), shared_inputs(X, with_statistics(RAW, "train"))
    assert torch.equal(plain.unaugmented(IDS), X)
    assert not torch.equal(standardised.unaugmented(IDS), X)
    assert shared_inputs(X, with_statistics(RAW, "train")) is standardised


def test_images_keep_the_statistics_of_the_data_set():
    images = replace(RAW, train_x=torch.zeros(50, 1, 2, 2, dtype=torch.uint8), mean=(0.5,),
                     std=(0.5,))  # fmt: skip
    assert with_statistics(images, "train") is images


def test_numbers_of_words_have_no_statistics():
    with pytest.raises(InputError, match="recipe: normalise: 'train' standardises features"):
        with_statistics(replace(RAW, train_x=Y[:, None]), "train")
