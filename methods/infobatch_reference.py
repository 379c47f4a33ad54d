"""InfoBatch with the clean reference set in training: what the clean labels are worth to it as
samples."""

from __future__ import annotations

from prunebench.methods.base import Card, register_method
from prunebench.methods.infobatch import InfoBatch


@register_method("infobatch+reference", version=InfoBatch.version)
class InfoBatchReference(InfoBatch):
    """InfoBatch on the same number of samples, with the clean reference set added to the training
    split: the control beside methods that measure that set instead."""

    trains_reference = True
    fixed_scorer = True  # what it trains on is no reference of an alignment score
    clean_data = "reference set, trained on"
    card = Card(
        "InfoBatch with the reference",
        InfoBatch.card.paper,
        InfoBatch.card.repository,
        InfoBatch.card.bibtex_key,
        side=f"{InfoBatch.card.side}; the reference set among them",
    )
