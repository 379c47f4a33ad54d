"""Dynamic Alignment Score: correlation of a sample's loss curve with the reference's (AlignPrune).

Pearson is the published measure (Eqs. 2-5). High means that the loss falls as it does on clean
data; low means suspect.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["alignment"]

#: Samples worked on at a time: a float64 window of 25 losses then stays in a core's cache.
_CHUNK = 4096

CORRELATIONS = ("pearson", "spearman", "cosine")


def alignment(
    losses: Tensor,
    reference: Tensor,
    observed: Tensor | None = None,
    correlation: str = "pearson",
    min_observations: int = 2,
) -> Tensor:
    """Correlation of each column of losses with the reference curve.

    Args:
        losses: float [W, N], one row per point of the window.
        reference: float [W], or [W, N] where each entry has its own reference value.
        observed: bool [W, N]; entries that are False are ignored, whatever they hold.
        correlation: ``pearson``, ``spearman`` (average ranks over the observed entries) or
            ``cosine`` (no centring).
        min_observations: Fewest observed entries for a defined value.

    Returns:
        float64 [N] in [-1, 1]. NaN where undefined: too few observations, an observed value that
        is not finite, no variation in the column or in its reference (``cosine``: all zero).

    Raises:
        ValueError: Unknown correlation, or shapes that do not fit.
    """
    if correlation not in CORRELATIONS:
        raise ValueError(f"correlation {correlation!r} is not one of {', '.join(CORRELATIONS)}")
    if losses.dim() != 2 or len(reference) != len(losses) or reference.dim() not in (1, 2):
        raise ValueError("losses must be [W, N] and reference [W] or [W, N]")
    if reference.dim() == 2 and reference.shape != losses.shape:
        raise ValueError("a reference per entry must have the shape of losses")
    if observed is not None and (observed.shape != losses.shape or observed.dtype != torch.bool):
        raise ValueError("observed must be bool with the shape of losses")
    n = losses.shape[1]
    out = torch.full((n,), torch.nan, dtype=torch.float64, device=losses.device)
    if len(losses) < max(1, min_observations):
        return out
    step = _CHUNK if losses.device.type == "cpu" else max(n, 1)
    for start in range(0, n, step):
        part = slice(start, start + step)
        y = reference[:, None] if reference.dim() == 1 else reference[:, part]
        mask = None if observed is None else observed[:, part]
        out[part] = _columns(losses[:, part], y, mask, correlation, min_observations)
    return out


def _columns(
    losses: Tensor, reference: Tensor, observed: Tensor | None, correlation: str, fewest: int
) -> Tensor:
    x, y = losses.double(), reference.double()
    count = torch.full((1,), float(len(x)), dtype=torch.float64, device=x.device)
    weight: Tensor | None = None
    if observed is not None and not bool(observed.all()):
        weight, y = observed.double(), y.expand_as(x)
        count = weight.sum(0)
        # Zeroes bits, so that a NaN that nobody observed goes too; far faster than torch.where.
        bits = -observed.long()
        x, y = ((t.contiguous().view(torch.int64) & bits).view(torch.float64) for t in (x, y))
    if correlation == "spearman":
        x, y = _ranks(x, weight), _ranks(y, weight)
    level = torch.zeros((), dtype=torch.float64, device=x.device)
    a, b, low_a, low_b = x, y, level, level
    if correlation != "cosine":
        (a, low_a), (b, low_b) = _centre(x, weight, count), _centre(y, weight, count)
    ab, aa, bb = (a * b).sum(0), (a * a).sum(0), (b * b).sum(0)
    value = (ab / (aa.sqrt() * bb.sqrt())).clamp_(-1.0, 1.0)
    plain = (aa > low_a + 1e-200) & (aa < 1e200) & (bb > low_b + 1e-200) & (bb < 1e200)
    if not bool(plain.all()):
        # Columns that may be constant, or whose squares leave the range of float64.
        odd = (~plain).nonzero().squeeze(1)
        x, y, a, b = (t.expand(-1, len(value))[:, odd] for t in (x, y, a, b))
        part = None if observed is None or weight is None else observed[:, odd]
        value[odd] = _careful(x, y, a, b, part, correlation == "cosine")
    if weight is not None:
        value.masked_fill_(count < fewest, torch.nan)
    return value


def _centre(x: Tensor, weight: Tensor | None, count: Tensor) -> tuple[Tensor, Tensor]:
    """Deviations from the mean, and the sum of squares that rounding alone could leave."""
    mean = x.sum(0) / count
    deviation = x - mean
    if weight is not None:
        deviation *= weight
    return deviation, count**3 * (2 * torch.finfo(torch.float64).eps * mean).square()


def _careful(
    x: Tensor, y: Tensor, a: Tensor, b: Tensor, observed: Tensor | None, cosine: bool
) -> Tensor:
    """The same quotient with exact tests for variation, and scaled before squaring."""
    defined = torch.ones(x.shape[1], dtype=torch.bool, device=x.device)
    for t in (x, y):
        seen = torch.ones_like(t, dtype=torch.bool) if observed is None else observed
        low = t.masked_fill(~seen, torch.inf).amin(0)
        high = t.masked_fill(~seen, -torch.inf).amax(0)
        varies = (low != 0) | (high != 0) if cosine else low != high
        defined &= varies & low.isfinite() & high.isfinite()
    a, b = (t / t.abs().amax(0, keepdim=True) for t in (a, b))
    value = (a * b).sum(0) / ((a * a).sum(0).sqrt() * (b * b).sum(0).sqrt())
    return torch.where(defined, value.clamp(-1.0, 1.0), torch.nan)


def _ranks(x: Tensor, weight: Tensor | None) -> Tensor:
    """Average ranks within each column, over the observed entries; NaN spreads."""
    ranks = torch.empty_like(x)
    for row in range(len(x)):
        below, level = (x < x[row]).double(), (x == x[row]).double()
        if weight is not None:
            below, level = below * weight, level * weight
        ranks[row] = below.sum(0) + (level.sum(0) + 1) / 2
    ranks = torch.where(x.isfinite(), ranks, torch.nan)
    return ranks if weight is None else ranks * weight
