"""Figures of a board as SVG and PNG; needs matplotlib, the rest of the leaderboard does not."""

from prunebench.leaderboard.figures.all_figures import FIGURES, Gallery, gallery, with_published
from prunebench.leaderboard.figures.material import Material, artifact_reader
from prunebench.leaderboard.figures.style import Drawn, Omitted, available

__all__ = [
    "FIGURES",
    "Drawn",
    "Gallery",
    "Material",
    "Omitted",
    "artifact_reader",
    "available",
    "gallery",
    "with_published",
]
