"""Augmentation: right pixels, uniform draws, and nothing that depends on the company kept."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from prunebench.bench.inputs.strong import strong_view
from prunebench.bench.inputs.view import Inputs, draw_crop_flip
from prunebench.datasets.source import RawData
from prunebench.errors import SkipCell
from prunebench.rng import Stream


def raw_images(channels: int, height: int, width: int, n: int = 40) -> RawData:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=generator)
    y = torch.zeros(n, dtype=torch.int64)
    mean, std = (0.5, 0.4, 0.3)[:channels], (0.2, 0.25, 0.3)[:channels]
    return RawData(x, y, x, y, 2, ("a", "b"), "test", mean=mean, std=std, augment="crop_flip")


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 9, 12), (3, 3, 3)])
def test_pixels_equal_pil(shape):
    """The same draws through PIL: reflect-pad, crop, flip, normalise."""
    raw = raw_images(*shape)
    inputs = Inputs(raw.train_x, raw, augment="crop_flip", pad=4)
    ids = torch.arange(40)
    draws = draw_crop_flip(Stream(3), ids, inputs.pad)
    got = inputs.augmented(ids, draws)
    for i in range(40):
        image = raw.train_x[i].permute(1, 2, 0).numpy()
        planes = []
        for c in range(shape[0]):
            pil = Image.fromarray(np.ascontiguousarray(image[:, :, c]))
            pil = TF.pad(pil, [inputs.pad] * 4, padding_mode="reflect")
            pil = TF.crop(pil, int(draws.top[i]), int(draws.left[i]), shape[1], shape[2])
            pil = TF.hflip(pil) if draws.flip[i] else pil
            planes.append(torch.from_numpy(np.array(pil)))
        expected = TF.normalize(torch.stack(planes).float() / 255, list(raw.mean), list(raw.std))
        torch.testing.assert_close(got[i], expected, rtol=0, atol=2e-6)


def test_draws_are_uniform_and_independent():
    draws = draw_crop_flip(Stream(8), torch.arange(90_000), 4)
    cells = torch.bincount(draws.top * 18 + draws.left * 2 + draws.flip.long(), minlength=162)
    expected = 90_000 / 162
    chi2 = float(((cells - expected) ** 2 / expected).sum())
    assert cells.min() > 0
    assert 100 < chi2 < 240  # 161 degrees of freedom


def test_a_sample_keeps_its_augmentation_whatever_else_is_kept():
    raw = raw_images(3, 16, 16)
    inputs = Inputs(raw.train_x, raw, augment="crop_flip")
    every = inputs.augmented_batches(torch.arange(40), Stream(4)).batch(0, 40)
    some = torch.tensor([31, 2, 17])
    assert torch.equal(inputs.augmented_batches(some, Stream(4)).batch(0, 3), every[some])
    assert not torch.equal(inputs.augmented_batches(some, Stream(5)).batch(0, 3), every[some])


def test_vectors_and_unaugmented_images_pass():
    raw = raw_images(1, 8, 8)
    inputs = Inputs(raw.train_x, raw)
    clean = inputs.unaugmented(torch.arange(3))
    torch.testing.assert_close(clean, (raw.train_x[:3].float() / 255 - 0.5) / 0.2)
    assert torch.equal(inputs.augmented_batches(torch.arange(40), Stream(1)).batch(0, 3), clean)
    vectors = torch.randn(6, 5)
    y = torch.zeros(6, dtype=torch.int64)
    plain = RawData(vectors, y, vectors, y, 2, ("a", "b"), "v")
    assert torch.equal(Inputs(vectors, plain).unaugmented(torch.tensor([4, 1])), vectors[[4, 1]])


def test_strong_views_are_paired_by_sample_and_need_images():
    raw = raw_images(3, 16, 16)
    inputs = Inputs(raw.train_x, raw, augment="crop_flip")
    every = strong_view(inputs, torch.arange(40), Stream(2))
    some = strong_view(inputs, torch.tensor([31, 2]), Stream(2))
    torch.testing.assert_close(some, every[[31, 2]], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(every, inputs.unaugmented(torch.arange(40)))
    assert every.isfinite().all()
    vectors = torch.randn(6, 5)
    y = torch.zeros(6, dtype=torch.int64)
    plain = RawData(vectors, y, vectors, y, 2, ("a", "b"), "v")
    with pytest.raises(SkipCell, match="no strong view"):
        strong_view(Inputs(vectors, plain), torch.arange(3), Stream(2))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((3, 32, 32), 64), ((1, 28, 28), 83), ((3, 224, 224), 8), ((1, 2, 2), 2048)],
)
def test_batches_in_eval_mode_are_small_on_a_processor(shape, expected):
    raw = raw_images(*shape, n=2)
    assert Inputs(raw.train_x, raw).eval_batch == expected


@pytest.mark.parametrize(
    ("shape", "expected"), [((3, 32, 32), 2048), ((3, 224, 224), 167), ((1, 2200, 2200), 1)]
)
def test_batches_in_eval_mode_are_large_on_a_card(shape, expected):
    raw = raw_images(*shape, n=2)
    inputs = Inputs(raw.train_x, raw)
    inputs.device = torch.device("cuda")
    assert inputs.eval_batch == expected
