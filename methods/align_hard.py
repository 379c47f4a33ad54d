"""AlignPrune over InfoBatch with the low side dropped whole: a method of prunebench's own."""

from __future__ import annotations

from typing import Any

from prunebench.methods.align import ALIGN_OPTIONS, ALIGN_VERSION, Alignment
from prunebench.methods.base import Card, LastLoss, Scorer, register_method
from prunebench.methods.infobatch import InfoBatch

_INNER = InfoBatch.options
_OUTER = {name: option for name, option in ALIGN_OPTIONS.items() if name != "align.threshold"}


# The version rises with that of either part.
@register_method("align-hard", version=InfoBatch.version + ALIGN_VERSION - 1)
class AlignHard(InfoBatch):
    """``infobatch+align`` with r = 1 and clamp = 0: samples whose alignment score is below the mean
    are not trained until the last (1 - delta) of the epochs, which train everything.

    Not the published method: AlignPrune trains a weighted share of the low side in every epoch. A
    sample that is not trained keeps its score, so the low side stays out as long as the mean does
    not fall below it.
    """

    options = {
        "delta": _INNER["delta"],
        "unseen_score": _INNER["unseen_score"],
        **_OUTER,
    }
    card = Card(
        "Align-Hard",
        cost="one forward pass of the reference set per epoch",
        side="high, of the alignment score; ours: drops the low side whole; not the published "
        "method",
    )
    clean_data = "reference set"
    fixed_scorer = True
    full_at = {"delta": 0.0}
    r, clamp = 1.0, 0.0
    rescale = exact_weights = legacy_anneal_weights = False

    def __init__(self, scorer: Scorer | None = None, **params: Any) -> None:
        super().__init__(scorer, **params)
        if self.params["align.reference"] != "clean":
            self.clean_data = ""  # type: ignore[misc]

    def own_scorer(self) -> Scorer:
        """The alignment score."""
        given = {name: self.params[name] for name in _OUTER}
        return Alignment(LastLoss(self.unseen_score), **given)
