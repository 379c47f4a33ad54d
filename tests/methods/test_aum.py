"""Area under the margin against the official implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.aum import aum_scores, runner_up
from prunebench.methods.keep_k import take
from prunebench.rng import Stream

FILE = Path(__file__).parents[1] / "data" / "reference" / "static-2" / "aum_a.npz"


def test_against_official_numbers() -> None:
    with np.load(FILE, allow_pickle=False) as file:
        ref = {key: torch.from_numpy(file[key]) for key in file.files}
    logits, labels = ref["logits"], ref["labels"]
    of_label = labels[None, :, None].expand(len(logits), -1, 1)
    for values, official, factor in (
        (logits, ref["aum_logit_mean_E40"], 1), (logits.softmax(2), ref["ccs_sum_E40"], 40)
    ):  # fmt: skip
        target = values.gather(2, of_label).squeeze(2)
        other = torch.stack([runner_up(epoch, labels) for epoch in values])
        scores = aum_scores(target, other)
        np.testing.assert_allclose(factor * scores.numpy(), official.numpy(), 1e-4, 1e-5)
    lowest, tied = take(scores, 120, "low", Stream(0))
    assert tied == 0
    assert lowest.tolist() == sorted(ref["ccs_lowest_keep0.5"].tolist())
    last = aum_scores(target[-1:], other[-1:])
    np.testing.assert_allclose(last, ref["faulty_dualrepo_aum_last_epoch"], 1e-4, 1e-5)
    assert not torch.allclose(last, scores, atol=0.1)  # what an accumulator set to 0 leaves


def test_entries_may_be_negative_and_rows_undefined() -> None:
    values = torch.tensor([[-5.0, -2.0, -3.0], [-1.0, -7.0, -9.0]])
    assert runner_up(values, torch.tensor([0, 0])).tolist() == [-2.0, -7.0]
    target = torch.tensor([[0.5, 0.5], [torch.nan, 0.7]])
    found = aum_scores(target, torch.full((2, 2), 0.1))
    assert found.isnan().tolist() == [True, False]
    assert float(found[1]) == pytest.approx(0.5)
    with pytest.raises(InputError, match="shapes"):
        aum_scores(target, target[:1])
