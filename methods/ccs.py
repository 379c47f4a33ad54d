"""CCS: the area under the margin, stratified after a cut-off."""

from __future__ import annotations

from dataclasses import replace

from prunebench.methods.aum import AUM
from prunebench.methods.base import EvidenceSpec, register_method
from prunebench.methods.strata import Strata


@register_method("ccs")
class CCS(AUM):
    """``aum@strata``: drops the samples of lowest margin, then draws over all others.

    The published cut-offs are for clean data; under label noise a value near the noise rate is
    worth trying.
    """

    score_of, sampler = "aum", "strata"
    randomised = True
    options = {**{n: o for n, o in AUM.options.items() if n != "side"}, **Strata.options}
    card = replace(
        Strata.card,
        title="CCS",
        cost="one whole full-data run; no extra pass",
        side="a draw over all margins but the lowest",
    )

    def needs(self, epochs: int, warmup: int) -> EvidenceSpec:
        """Margins, those of the cut-off included."""
        return self.own_sampler().needs(super().needs(epochs, warmup))
