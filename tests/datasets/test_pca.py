"""Principal components in place of pixels, from the training images alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prunebench.bench.runs.resolve import build_spec
from prunebench.datasets.pca import with_components
from prunebench.datasets.sources.digits import Digits
from prunebench.datasets.sources.idx import Mnist
from prunebench.errors import InputError


@pytest.fixture(scope="module")
def digits():
    return Digits().load()


def test_components_are_the_right_singular_vectors(digits):
    got = Digits(pca=8).load()
    train, test = (x.flatten(1).numpy() / 255.0 for x in (digits.train_x, digits.test_x))
    mean = train.mean(0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:8]
    for part, x in ((got.train_x, train), (got.test_x, test)):
        assert part.dtype == torch.float32
        np.testing.assert_allclose(part.abs().numpy(), np.abs((x - mean) @ axes.T), atol=1e-5)
    assert torch.equal(got.train_y, digits.train_y)
    assert (got.input_shape, got.mean, got.augment) == ((8,), (), "none")


def test_signs_are_fixed(digits):
    """The largest entry of an axis is positive. Where the images are mirrored in brightness the
    axes stay and the components turn."""
    x = with_components(digits, 12, "here")
    pixels = torch.eye(64, dtype=torch.uint8).mul(255).view(64, *digits.train_x.shape[1:])
    single = torch.cat([torch.zeros_like(pixels[:1]), pixels])
    projected = with_components(replace(digits, test_x=single), 12, "here").test_x
    axes = projected[1:] - projected[:1]
    assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0.1).all()
    mirrored = replace(digits, train_x=255 - digits.train_x, test_x=255 - digits.test_x)
    y = with_components(mirrored, 12, "here")
    np.testing.assert_allclose(x.train_x.numpy(), -y.train_x.numpy(), atol=1e-5)


def test_test_images_play_no_part(digits):
    other = with_components(replace(digits, test_x=digits.test_x[:5]), 4, "here")
    assert torch.equal(other.train_x, with_components(digits, 4, "here").train_x)


def test_a_component_that_does_not_vary_is_refused(digits):
    few = replace(digits, train_x=digits.train_x[:6])
    assert with_components(few, 5, "here").train_x.shape == (6, 5)
    with pytest.raises(InputError, match="here: 6 components; accepted: 1 to 5"):
        with_components(few, 6, "here")
    for wrong in (0, 2.5, "many"):
        with pytest.raises(InputError, match=r"digits\.pca"):
            Digits(pca=wrong)


def test_keys_without_components_stay(digits):
    assert Digits().portable() == {}
    assert Mnist().portable() == {"limit": None, "test_limit": None}
    assert Mnist(pca=9).portable() == {"limit": None, "test_limit": None, "pca": 9}
    assert build_spec(dataset="digits").key == build_spec(
        dataset="digits", dataset_params={"pca": None}).key  # fmt: skip
    assert Digits(pca=9).load().fingerprint != digits.fingerprint
    assert Mnist(pca=9, limit=100).outline().shape == (9,)
    assert not Mnist(pca=9).outline().images
    for source, raw in ((Digits(), digits), (Digits(pca=9), Digits(pca=9).load())):
        seen = source.outline()
        assert (seen.train, seen.test) == (len(raw.train_y), len(raw.test_y))
        assert (seen.shape, seen.classes) == (raw.input_shape, raw.num_classes)
        assert seen.images == raw.images


def test_default_recipe_of_components_is_a_linear_probe():
    assert build_spec(dataset="digits", dataset_params={"pca": 4}).recipe.name == "linear-probe"
    assert build_spec(dataset="digits").recipe.name == "digits"
