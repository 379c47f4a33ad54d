"""Small published boards, and the pages of a site as links and anchors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

from prunebench.bench.reports.boards import make_board
from prunebench.leaderboard.bundle import pack
from prunebench.leaderboard.contributed import (
    HISTORY,
    SUPERSEDED,
    Contribution,
    History,
    Superseded,
)
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.leaderboard.render.json_export import board_json, dumps
from prunebench.record import Record
from support.pages import EVIL
from support.records import grid, record

#: A data set with markup in its name.
EVIL_DATA = "<i>x</i>"
MACHINES = ("AMD EPYC", "NVIDIA H100")
#: Days of 2026-05-04 and 2026-06-05 in seconds.
DAYS = (1777896000.0, 1780660800.0)


def publish(folder: Path, records: Iterable[Record], **protocol: object) -> Path:
    """A published board: packed records, and the JSON file that names its protocol."""
    found = list(records)
    folder.mkdir(parents=True)
    (folder / "records.jsonl.gz").write_bytes(pack(found))
    board = make_board(found, ProtocolFile.model_validate(protocol), align_shown=True)
    (folder / "leaderboard.json").write_text(dumps(board_json(board)), encoding="utf-8")
    return folder


def moved(records: Iterable[Record], place: int, kinds: Mapping[str, str]) -> list[Record]:
    """The same records with a day, a machine and the kinds of their methods."""
    return [
        Record(**{**{name: getattr(one, name) for name in Record.__dataclass_fields__},
                  "timing": {**one.timing, "finished": DAYS[place]},
                  "environment": {**one.environment, "device_class": MACHINES[place]},
                  "info": {**one.info, "noise_rate": 0.2,
                           "kind": kinds.get(one.spec["method"]["name"], "baseline")},
                  "digest": ""}).sealed()
        for one in records
    ]  # fmt: skip


def two_published_boards(folder: Path) -> Path:
    """``first`` (digits, 2026-05-04) and ``second`` (digits and a data set with a hostile name,
    2026-06-05), which has version 2 of ``infobatch``, and ``infobatch+align`` by submission."""
    kinds = {"el2n": "static", "infobatch": "dynamic", "infobatch+align": "dynamic",
             EVIL: "static"}  # fmt: skip
    first = grid(("full", "random", "infobatch", "el2n"), seeds=range(3), ratios=(0.3, 0.5))
    first += [record("seta", "clean", 0, accuracy=None, status="failed", reason="no memory")]
    publish(folder / "first", moved(first, 0, kinds))
    again = {"method": {"name": "infobatch", "version": "2", "params": {}}}
    other = {"dataset": {"name": EVIL_DATA, "version": "1", "params": {}, "identity": ""}}
    second = [record(m, "symmetric:0.4", s, accuracy=0.8 + s / 450)
              for m in ("full", EVIL) for s in range(3)]  # fmt: skip
    second += [record("infobatch", "symmetric:0.4", s, accuracy=0.9 + s / 450, spec=again)
               for s in range(3)]  # fmt: skip
    second += [record("infobatch+align", "symmetric:0.4", s, accuracy=0.91 + s / 450,
                      info={"clean_labels_used": "reference set"}) for s in range(3)]  # fmt: skip
    second += [record(m, "clean", s, accuracy=0.7 + s / 450, spec=other)
               for m in ("full", "el2n") for s in range(3)]  # fmt: skip
    moved_second = moved(second, 1, kinds)
    publish(folder / "second", moved_second)
    submit(folder / "second", "infobatch+align", moved_second)
    return folder


def submit(folder: Path, method: str, records: Iterable[Record]) -> None:
    """Names the runs of a method as a submission that took the place of an earlier version."""
    old = [record(method, "symmetric:0.4", s, accuracy=0.6, spec={
        "method": {"name": method, "version": "0", "params": {}}}) for s in range(3)]  # fmt: skip
    (folder / SUPERSEDED).mkdir()
    (folder / SUPERSEDED / "old.jsonl.gz").write_bytes(pack(old))
    keys = tuple(one.key for one in records if one.spec["method"]["name"] == method)
    history = History().with_one(Contribution(
        version=2, date=date(2026, 6, 7), submission="mine", by="Ada Lovelace",
        contact="ada@example.org", code="https://example.org/code", ran=date(2026, 6, 5),
        methods=(method,), keys=keys, hardware=(MACHINES[1],), checked="2 of 3 runs repeated",
        superseded=(Superseded(method=method, version="0", file=f"{SUPERSEDED}/old.jsonl.gz",
                               runs=3),),
    ))  # fmt: skip
    (folder / HISTORY).write_text(history.dumps(), encoding="utf-8")


class Links(HTMLParser):
    """Links, anchors and tags of one page."""

    def __init__(self, text: str) -> None:
        """Parses at once."""
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps what leads somewhere, and what can be led to."""
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.links += [values[name] for name in ("href", "src") if name in values]
        self.ids += [values["id"]] if "id" in values else []


def broken_links(root: Path) -> list[str]:
    """Links within a folder of pages that lead nowhere: no such file, or no such anchor."""
    pages = {path.resolve(): Links(path.read_text(encoding="utf-8"))
             for path in sorted(root.rglob("*.html"))}  # fmt: skip
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(link)
            if link.startswith(("https://", "http://", "data:")):
                continue
            there = (path.parent / unquote(target)).resolve() if target else path
            known = there.is_file() and there.is_relative_to(root.resolve())
            if not known or (anchor and "=" not in anchor and there in pages
                             and unquote(anchor) not in pages[there].ids):  # fmt: skip
                broken.append(f"{path.relative_to(root.resolve())}: {link}")
    return broken
