"""The verb that joins published boards into a site."""

from __future__ import annotations

import json
import sys

import click

from prunebench.errors import InputError


@click.command()
@click.argument("boards", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR", help="Folder of the site.")
@click.option("--title", default="Data pruning under label noise", show_default=True,
              help="Name of the site.")  # fmt: skip
@click.option("--docs", default=None, metavar="DIR",
              help="Guides in markdown (default: those of this checkout).")  # fmt: skip
@click.option(
    "--published",
    "papers",
    multiple=True,
    metavar="NAME|FILE",
    help="Printed numbers beside those that the package has, as for `reproduce`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.pass_context
def site(
    ctx: click.Context, /, boards: tuple[str, ...], out: str, title: str, docs: str | None,
    papers: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Join published boards into a site: search, findings, a page for each method and data set.

    BOARDS are folders that `leaderboard --publish` wrote, or folders of such folders.

    Example: prunebench site docs/leaderboards --out site
    """
    from prunebench.bench.cli.leaderboard import print_notes
    from prunebench.bench.cli.options import load_plugins
    from prunebench.bench.reports.site import GUIDES, board_folders, published_board, site_content
    from prunebench.leaderboard.published.papers import paper_names, read_paper
    from prunebench.leaderboard.site.folder import write_site
    from prunebench.leaderboard.site.pages import render_site
    from prunebench.untrusted import user_path

    load_plugins(ctx)
    place = user_path(out, "--out")
    folders = board_folders(user_path(text, "BOARDS") for text in boards)
    if any(place.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise InputError("lies in a board", where=f"--out {out}", accepted="a folder of its own")
    if not title.strip():
        raise InputError("is empty", where="--title", accepted="a name")
    guides = user_path(docs, "--docs") if docs is not None else GUIDES
    if docs is not None and not guides.is_dir():
        raise InputError("is no folder", where=f"--docs {docs}", accepted="a folder of guides")
    notes: list[str] = []
    if not guides.is_dir():
        notes.append("no guides: the pages of glossary and protocol are left out (--docs DIR)")
    content = site_content(
        title,
        [published_board(folder, notes) for folder in folders],
        guides if guides.is_dir() else None,
        [read_paper(name) for name in dict.fromkeys((*paper_names(), *papers))],
    )
    files = render_site(content)
    removed, left = write_site(place, files)
    print_notes(notes + left)
    index = place / "index.html"
    if as_json:
        print(json.dumps({"index": str(index), "boards": len(folders), "files": len(files),
                          "removed": removed}))  # fmt: skip
    else:
        print(index)
        print(f"wrote {len(files)} files of {len(folders)} boards", file=sys.stderr)
