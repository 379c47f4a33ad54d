"""All pages of a site by path; the same content gives the same bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache, partial
from itertools import groupby
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from prunebench.leaderboard.board.labels import noise_order
from prunebench.leaderboard.board.model import Table
from prunebench.leaderboard.contributed import history_lines
from prunebench.leaderboard.number_text import number
from prunebench.leaderboard.render.about import FINDINGS
from prunebench.leaderboard.render.html.self_contained import (
    BOARD,
    SITE,
    assets,
    environment,
    policy,
)
from prunebench.leaderboard.site import addresses
from prunebench.leaderboard.site.addresses import (
    INDEX,
    NEWS,
    RUNS,
    TABLES,
    board_page,
    dataset_page,
    file_stem,
    method_page,
    relative,
    row_anchor,
)
from prunebench.leaderboard.site.entries import BoardEntry, board_entry
from prunebench.leaderboard.site.guides import Guide, render_guide
from prunebench.leaderboard.site.model import SiteContent
from prunebench.leaderboard.site.news import events
from prunebench.leaderboard.site.printed import printed_by_method
from prunebench.leaderboard.site.rows import RowEntry
from prunebench.leaderboard.site.search import kind_words, search_data

#: Guides that every page leads to, where they are there.
_LED_TO = {"glossary.md": "Glossary", "protocol.md": "Protocol", "statistics.md": "Statistics"}
#: Section of a method's guide that its page shows first.
SHIPPED = "As shipped and as published"
#: Rows that a data set's page shows of each table.
_BEST = 5


def render_site(content: SiteContent) -> dict[str, bytes]:
    """Every file of the site by its path from the site's root.

    Names, sentences and what guides say are escaped; each page forbids every request in its own
    policy, so that nothing a record or a guide holds can load or run anything.
    """
    return _Site(content).files()


class _Site:
    def __init__(self, content: SiteContent) -> None:
        self.content = content
        found = sorted(map(board_entry, content.boards), key=lambda entry: entry.name)
        self.entries = sorted(found, key=lambda entry: entry.date, reverse=True)
        self.by_method: dict[str, list[RowEntry]] = defaultdict(list)
        self.by_dataset: dict[str, list[BoardEntry]] = defaultdict(list)
        for entry in self.entries:
            for row in entry.rows:
                self.by_method[row.method].append(row)
            for dataset in entry.datasets:
                self.by_dataset[dataset].append(entry)
        every = [row for entry in self.entries for row in entry.rows]
        for name in {name for published in content.boards
                     for one in published.board.history.contributions for name in one.methods
                     if name not in self.by_method}:  # fmt: skip
            # A list of kept samples is handed in under the label of its row.
            self.by_method[name] = [row for row in every if row.label == name]
        self.methods = sorted({*content.methods, *self.by_method})
        self.datasets = sorted(self.by_dataset)
        self.printed = printed_by_method(content.papers, content.boards, every)
        shown = {about.guides[0]: name for name, about in sorted(content.methods.items(),
                 reverse=True) if about.guides}  # fmt: skip
        #: Guides that a method's page shows: that of the method of this name, else of the first.
        self.shown_by = {
            path: next((n for n in self.methods if path == f"methods/{n}.md"), name)
            for path, name in shown.items()
        }
        self.board_guides = {f"leaderboards/{entry.name}/README.md": board_page(entry.name)
                             for entry in self.entries}  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """Pages, and the files of boards."""
        pages = {INDEX: self._index(), NEWS: self._news()}
        for entry in self.entries:
            here = partial(board_page, entry.name)
            pages[here()] = self._board(entry)
            pages[here(RUNS)] = self._runs(entry)
        pages |= {method_page(name): self._method(name) for name in self.methods}
        pages |= {dataset_page(name): self._dataset(name) for name in self.datasets}
        for path in self.content.guides:
            if path not in self.shown_by:
                pages[self._place_of_guide(path)] = self._guide(path)
        found = {path: text.encode() for path, text in pages.items()}
        for entry in self.entries:
            for name, data in entry.published.files.items():
                found[board_page(entry.name, name)] = data
        return found

    def _page(self, template: str, here: str, title: str, **values: Any) -> str:
        """One page; ``link`` in its template leads from it to another one of the site."""
        led = [(words, self._place_of_guide(path)) for path, words in _LED_TO.items()
               if path in self.content.guides]  # fmt: skip
        own = assets(SITE)
        style, script = own("site.css"), assets(BOARD)("theme.js") + own("site.js")
        return _templates().get_template(template).render(
            here=here,
            title=title,
            site=self.content.title,
            link=partial(relative, here),
            at=addresses,
            led=led,
            style=Markup(style),
            script=Markup(script),
            policy=policy(style, script),
            kind_words=kind_words,
            known=self.content.methods,
            **values,
        )  # fmt: skip

    def _index(self) -> str:
        rows = [(name, self.content.methods.get(name), self.by_method.get(name, []))
                for name in self.methods]  # fmt: skip
        return self._page(
            "index.html", INDEX, self.content.title,
            entries=self.entries,
            data=search_data(self.entries, self.methods, self.content.methods),
            methods=rows,
            datasets=[(name, self.by_dataset[name]) for name in self.datasets],
            latest=events(self.content.boards)[:5],
        )  # fmt: skip

    def _news(self) -> str:
        found = [(date, list(own)) for date, own in
                 groupby(events(self.content.boards), key=lambda event: event.date)]  # fmt: skip
        return self._page("news.html", NEWS, "What is new", days=found)

    def _board(self, entry: BoardEntry) -> str:
        tables = [
            (design, ratio, list(rows))
            for (design, ratio), rows in groupby(
                entry.rows, key=lambda row: (row.design, row.ratio)
            )
        ]
        others = [name for name in sorted(entry.published.files) if name != TABLES]
        return self._page(
            "board.html", board_page(entry.name), entry.name, entry=entry, tables=tables,
            reference=entry.published.board.protocol.reference, files=others, found_title=FINDINGS,
            submissions=history_lines(entry.published.board.history),
        )  # fmt: skip

    def _runs(self, entry: BoardEntry) -> str:
        tables = [(table, _runs_of(table)) for table in entry.published.board.tables]
        return self._page(
            "records.html", board_page(entry.name, RUNS), f"{entry.name}: records",
            entry=entry, tables=tables,
        )  # fmt: skip

    def _method(self, name: str) -> str:
        about, here = self.content.methods.get(name), method_page(name)
        guides = [path for path in (about.guides if about else ()) if path in self.content.guides]
        guide = self._rendered(guides[0], here) if guides else None
        shipped = next((s for s in guide.sections if s[0] == SHIPPED), None) if guide else None
        rows = sorted(self.by_method.get(name, []), key=lambda row: not row.complete)
        return self._page(
            "method.html", here, name, name=name, about=about, rows=rows, guide=guide,
            guide_is_own=bool(guides) and self.shown_by.get(guides[0]) == name,
            sections=[s for s in guide.sections if s is not shipped] if guide else [],
            shipped=shipped, shipped_title=SHIPPED, printed=self.printed.get(name, []),
            guides=self._see_also(name, guides),
            submissions=[
                (entry.name, one) for entry in self.entries
                for one in reversed(entry.published.board.history.contributions)
                if name in one.methods
            ],
            kept=[row for row in rows if any(cell.kept is not None for cell in row.cells)],
            choices=any(row.choice != "-" for row in rows),
        )  # fmt: skip

    def _see_also(self, name: str, guides: Sequence[str]) -> list[tuple[str, str]]:
        """Guides on other pages: of the parts of a name, and of the method that it varies."""
        places = [(path, self._place_of_guide(path)) for path in guides]
        return [(path.rpartition("/")[2].removesuffix(".md"), place) for path, place in places
                if place != method_page(name)]  # fmt: skip

    def _dataset(self, name: str) -> str:
        here, boards = dataset_page(name), []
        noises = set()
        for entry in self.by_dataset[name]:
            own = [row for row in entry.rows if row.dataset == name]
            noises |= {cell.noise for row in own for cell in row.cells}
            tables = []
            for (design, ratio), rows in groupby(own, key=lambda row: (row.design, row.ratio)):
                ranked = [row for row in rows if row.rank != "-"]
                tables.append((design, ratio, ranked[:_BEST], len(ranked)))
            boards.append((entry, tables))
        return self._page(
            "dataset.html", here, name, name=name, about=self.content.datasets.get(name),
            boards=boards, noises=sorted(noises, key=noise_order),
            guide=self._place_of_guide("data.md") if "data.md" in self.content.guides else None,
        )  # fmt: skip

    def _guide(self, path: str) -> str:
        here = self._place_of_guide(path)
        guide = self._rendered(path, here)
        return self._page("guide.html", here, guide.title, guide=guide)

    def _rendered(self, path: str, here: str) -> Guide:
        return render_guide(self.content.guides[path], path, self._place, partial(relative, here))

    def _place(self, path: str) -> str | None:
        """Where a guide, or a board's page of the repository, lies on the site."""
        if path in self.content.guides:
            return self._place_of_guide(path)
        return self.board_guides.get(path)

    def _place_of_guide(self, path: str) -> str:
        """A method's guide is on the page of the method; others have pages of their own."""
        if path in self.shown_by:
            return method_page(self.shown_by[path])
        folder, _, name = path.rpartition("/")
        stem = file_stem(name.removesuffix(".md").lower())
        return f"guides/{folder + '-' if folder else ''}{stem}.html"


def _runs_of(table: Table) -> list[tuple[str, str, list[int], list[tuple[str, list[Any]]]]]:
    """Of each row: label, anchor, seeds, and by noise a run or None for each seed."""
    found = []
    for row in (*table.rows, *table.incomplete):
        runs = table.runs[row.label]
        seeds = sorted({seed for _, seed in runs})
        lines = [(noise, [runs.get((noise, seed)) for seed in seeds])
                 for noise in table.noises if any(own == noise for own, _ in runs)]  # fmt: skip
        anchor = row_anchor(table.dataset, table.ratio, row.label)
        found.append((row.label, anchor, seeds, lines))
    return found


@cache
def _templates() -> Environment:
    made = environment(SITE)
    made.filters["fixed"] = number
    return made
