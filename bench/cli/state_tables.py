"""How far the runs of a folder are, drawn for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from prunebench.bench.grids.progress import clock_text
from prunebench.bench.reports.grid_state import GridState, StateTable
from prunebench.errors import spelled
from prunebench.record import Record

#: Sign behind a number, and colour, by state; a bare number is what is done.
_SIGNS = {
    "done": ("", "default"), "running": ("r", "yellow"), "failed": ("f", "bold red"),
    "skipped": ("s", "dim"), "left": ("l", "dim"),
}  # fmt: skip
_WORDS = {"running": "running", "failed": "failed or killed", "skipped": "skipped", "left": "left"}
#: Blanks between columns; signs that a narrow terminal leaves for a name at least.
_GAP, _NAME = 2, 12


def headline(results: str, state: GridState, records: Iterable[Record], running: int) -> Text:
    """All counts in words, and the time left.

    Args:
        results: Name of the folder.
        state: Of its runs.
        records: For how many of them diverged or were killed.
        running: Processes at work, those on scoring runs among them.
    """
    counts, total = state.counts, sum(state.counts.values())
    parts = [f"{counts['done']} of {total} cells done"]
    parts += [f"{counts[name]} {word}" for name, word in _WORDS.items() if counts[name]]
    line = Text.assemble((spelled(results), "bold"), f": {', '.join(parts)}")
    if state.seconds_left is not None:
        # A record may claim any time; so many runs end together at best.
        at_once = max(1, min(running, counts["left"] + counts["running"]))
        time = clock_text(state.seconds_left / at_once)
        how = f"with {at_once} at once" if running else "one at a time, once started again"
        line.append(f"; about {time} to go {how}")
    diverged = sum(record.status == "diverged" for record in records)
    beside = [f"{diverged} of the done diverged"] if diverged else []
    beside += [f"{n} x {spelled(what)}" for what, n in sorted(state.beside.items())]
    if running > counts["running"]:
        beside.append(f"{running - counts['running']} running that no grid asked for by itself")
    return line.append(f"\nbeside: {', '.join(beside)}") if beside else line


def table_blocks(table: StateTable, width: int) -> Iterator[Table]:
    """The table, cut into several that repeat the names where the columns are too many.

    Args:
        table: Counts.
        width: Columns of the terminal.
    """
    names = [Text(spelled(label)) for label, _ in table.rows]
    widest = max(cell_len(name.plain) for name in names)
    heads = [_head(noise) for noise in table.noises]
    columns = [[_cell(cells[place]) for _, cells in table.rows] for place in range(len(heads))]
    least = [_least([head, *cells]) for head, cells in zip(heads, columns, strict=True)]
    room = width - sum(least) - _GAP * len(least)
    name_width = min(widest, room if room >= _NAME else max(_NAME, width // 4))
    start = 0
    while start < len(heads):
        end, used = start, name_width
        while end < len(heads) and (end == start or used + _GAP + least[end] <= width):
            used += _GAP + least[end]
            end += 1
        title = table.dataset + f", {table.criterion}" * (table.criterion != "ce")
        drawn = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0), pad_edge=False)
        drawn.add_column(Text(spelled(title)), min_width=name_width, max_width=name_width,
                         overflow="fold")  # fmt: skip
        spare = width - used
        for place in range(start, end):
            lines = [line for text in (heads[place], *columns[place]) for line in text.split()]
            more = min(spare, max(line.cell_len for line in lines) - least[place])
            spare -= more
            drawn.add_column(heads[place], justify="right", width=max(1, least[place] + more),
                             overflow="fold")  # fmt: skip
        for place, name in enumerate(names):
            drawn.add_row(name, *(column[place] for column in columns[start:end]))
        yield drawn
        start = end


def legend(state: GridState) -> Text:
    """What the signs of the tables mean, as far as they are there."""
    signs = [f"{_SIGNS[name][0]} {word}" for name, word in _WORDS.items() if state.counts[name]]
    return Text(", ".join(["a number: done", *signs]), "dim")


def _head(noise: str) -> Text:
    """A setting on several lines, the rate below the kind."""
    return Text(spelled(noise).replace(":", "\n", 1))


def _cell(counts: Mapping[str, int]) -> Text:
    """``4 1r 2l``; a dash where nobody asked for a run."""
    shown = [(f"{counts[name]}{sign}", style) for name, (sign, style) in _SIGNS.items()
             if counts.get(name)]  # fmt: skip
    if not shown:
        return Text("-", "dim")
    if len(shown) == 1 and counts.get("done"):
        return Text(shown[0][0], "green")
    return Text(" ").join(Text(*part) for part in shown)


def _least(texts: Iterable[Text]) -> int:
    """Width of the longest word."""
    return max(cell_len(word) for text in texts for word in text.plain.split())
