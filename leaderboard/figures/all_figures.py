"""Every figure by name, and the files they become."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from prunebench.errors import InputError, nearest, visible
from prunebench.leaderboard.figures import (
    accuracy_by_cost,
    accuracy_by_option,
    accuracy_by_ratio,
    accuracy_by_samples,
    align_pairs,
    classes,
    critical_difference,
    detection,
    differences,
    loss_distribution,
    loss_trajectories,
    predictions,
    scores_by_samplers,
    seeds_needed,
    static_dynamic,
    transfer_leads,
    wins,
)
from prunebench.leaderboard.figures.fonts import fit_fonts
from prunebench.leaderboard.figures.material import Material
from prunebench.leaderboard.figures.style import Drawn, Omitted, figure_settings, picture
from prunebench.leaderboard.render.markdown import escape

FIGURES: dict[str, Callable[[Material], Iterator[Drawn | Omitted]]] = {
    "accuracy-by-ratio": accuracy_by_ratio.draw,
    "differences": differences.draw,
    "score-x-sampler": scores_by_samplers.draw,
    "predictions": predictions.draw,
    "critical-difference": critical_difference.draw,
    "wins": wins.draw,
    "accuracy-by-cost": accuracy_by_cost.computation,
    "accuracy-by-time": accuracy_by_cost.time,
    "accuracy-by-option": accuracy_by_option.draw,
    "accuracy-by-samples": accuracy_by_samples.draw,
    "static-against-dynamic": static_dynamic.draw,
    "pairs": align_pairs.draw,
    "transfer": transfer_leads.draw,
    "class-kept-share": classes.kept,
    "worst-class": classes.worst,
    "detection": detection.draw,
    "loss-distribution": loss_distribution.draw,
    "loss-trajectories": loss_trajectories.draw,
    "seeds-needed": seeds_needed.draw,
}
#: What each looks like, in the words that stand for the picture where it is not seen.
SHAPES: dict[str, str] = {
    "accuracy-by-ratio": "Lines over the share of training saved, a panel for each setting",
    "differences": "Heat map of rows by settings and ratios",
    "score-x-sampler": "Heat maps of scores by samplers, one for each setting and ratio",
    "predictions": "Predicted ranges as bars with means and intervals found",
    "critical-difference": "Rows on an axis of mean ranks",
    "wins": "Table of rows against highlighted rows, coloured by how often each beats the other",
    "accuracy-by-cost": "Points of accuracy over computation, a panel for each ratio",
    "accuracy-by-time": "Points of accuracy over training time, a panel for each ratio",
    "accuracy-by-option": "Accuracy over the values of an option, a panel for each setting",
    "accuracy-by-samples": "Lines of test accuracy over trained samples",
    "static-against-dynamic": "Strips of points for static and dynamic rows at each ratio",
    "pairs": "Mean effects of modules with intervals, a line for each pair of rows",
    "transfer": "Mean leads over random choice with intervals, by trained network",
    "class-kept-share": "Heat maps of rows by classes, one for each setting",
    "worst-class": "Means with intervals, a line for each row and a panel for each setting",
    "detection": "Lines over the epochs, a column for each setting",
    "loss-distribution": "Histograms of losses under clean and wrong labels",
    "loss-trajectories": "Lines of losses under clean and wrong labels over the epochs",
    "seeds-needed": "Numbers of seeds with upper ends, a line for each row",
}
FORMS = ("svg", "png")
#: Figures that need the artifacts of runs, which packed records do not hold.
OF_ARTIFACTS = ("accuracy-by-samples", "class-kept-share", "detection", "loss-distribution",
                "loss-trajectories")  # fmt: skip


@dataclass(frozen=True)
class Gallery:
    """Rendered figures.

    Attributes:
        files: Bytes by relative name below ``figures/``, the index included.
        omitted: What could not be made, and why.
        notes: What the reader should know about those that were.
    """

    files: dict[str, bytes]
    omitted: tuple[Omitted, ...]
    notes: tuple[str, ...] = ()


def gallery(
    material: Material, only: Collection[str] | None = None, forms: Collection[str] = FORMS
) -> Gallery:
    """Draws figures; the same material gives the same bytes.

    A figure that the data cannot give is left out, and the index says why.

    Args:
        material: Board and artifacts.
        only: Names of figures; None for all.
        forms: ``svg``, ``png`` or both.

    Raises:
        InputError: An unknown figure, or matplotlib is not installed.
    """
    for name in only or ():
        if name not in FIGURES:
            raise InputError(f"no figure {name!r}", where="figures",
                             accepted=nearest(name, FIGURES))  # fmt: skip
    files: dict[str, bytes] = {}
    lines = ["# Figures", ""]
    omitted: list[Omitted] = []
    unseen: set[str] = set()
    with figure_settings():
        for name, found in drawings(material, only):
            if isinstance(found, Omitted):
                omitted.append(found)
                continue
            unseen |= fit_fonts(found.figure)
            stem = _unused(found.stem, files)
            for form in forms:
                files[f"figures/{stem}.{form}"] = picture(found, form)
            lines += [f"## {escape(found.title)}", "",
                      f"![{_alt(name, found)}]({stem}.{_shown(forms)})", "",
                      *([escape(found.answer), ""] if found.answer else []),
                      escape(found.caption), ""]  # fmt: skip
            if found.data:
                files[f"figures/{stem}.csv"] = found.data.encode()
                lines += [f"Data: [{stem}.csv]({stem}.csv)", ""]
    if omitted:
        lines += ["## Left out", "", *(f"- `{o.stem}`: {o.reason}" for o in omitted), ""]
    files["figures/figures.md"] = ("\n".join(lines).rstrip() + "\n").encode()
    notes: tuple[str, ...] = ()
    if unseen:
        shown = visible("".join(sorted(unseen)[:20]))
        notes = (f"no font of this machine has {shown!r}: boxes are drawn instead; install one "
                 "that has them, such as Noto Sans CJK",)  # fmt: skip
    return Gallery(files, tuple(omitted), notes)


def drawings(
    material: Material, only: Collection[str] | None = None
) -> Iterator[tuple[str, Drawn | Omitted]]:
    """(name, figure) one after the other; to be called inside :func:`figure_settings`."""
    for name, draw in FIGURES.items():
        if only is not None and name not in only:
            continue
        try:
            for found in draw(material):
                yield name, found
        except InputError as error:  # a damaged artifact costs one figure, not the board
            yield name, Omitted(name, str(error))


def _unused(stem: str, files: Collection[str]) -> str:
    """A stem that no figure has yet: different names can be alike as parts of file names."""
    taken = {name.removeprefix("figures/").rpartition(".")[0] for name in files}
    tries = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 2)))
    return next(one for one in tries if one not in taken)


def _alt(name: str, found: Drawn) -> str:
    """What the picture shows, for who does not see it; the answer stands as text below it."""
    text = escape(f"{SHAPES[name]}: {found.title}")
    return text.replace("[", r"\[").replace("]", r"\]")


def _shown(forms: Collection[str]) -> str:
    """The form the index shows."""
    return "svg" if "svg" in forms else next(iter(forms))


def with_published(files: Mapping[str, bytes], published: Mapping[str, bytes]) -> dict[str, bytes]:
    """Adds the figures of artifacts that a publication has and that could not be drawn now.

    Args:
        files: As drawn, with their index.
        published: Those of the publication, with its index.
    """
    index = "figures/figures.md"
    kept = {name: data for name, data in published.items()
            if name != index and name not in files
            and name.removeprefix("figures/").startswith(OF_ARTIFACTS)}  # fmt: skip
    stems = {name.removeprefix("figures/").rpartition(".")[0] for name in kept}
    sections = published.get(index, b"").decode(errors="replace").split("\n## ")[1:]
    captions = [s.strip() for s in sections if any(f"]({stem}." in s for stem in stems)]
    head, mark, omitted = files[index].decode().partition("\n## Left out\n")
    lines = [line for line in omitted.splitlines()
             if not any(_left_out(line, stem) for stem in stems)]  # fmt: skip
    parts = [head.rstrip(), *(f"## {caption}" for caption in captions)]
    if any(lines):
        parts.append("\n".join([mark.strip(), "", *(line for line in lines if line)]))
    return {**files, **kept, index: ("\n\n".join(parts) + "\n").encode()}


def _left_out(line: str, stem: str) -> bool:
    """Whether a line of the index says that a figure, or all of its kind, could not be made."""
    name = line.removeprefix("- `").partition("`")[0]
    return stem == name or stem.startswith(f"{name}-")
