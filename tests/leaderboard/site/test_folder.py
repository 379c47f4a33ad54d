"""The folder of a site: replaced as a whole, never at the cost of other files."""

from __future__ import annotations

import json

import pytest

from prunebench.errors import InputError
from prunebench.files import OwnFolder
from prunebench.leaderboard.site.folder import MANIFEST, write_site

FIRST = {"index.html": b"one", "methods/a.html": b"a", "boards/x/index.html": b"x"}
SECOND = {"index.html": b"two", "methods/b.html": b"b"}


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


def pages(folder):
    return {name: data for name, data in tree(folder).items() if name != MANIFEST}


def test_a_second_site_takes_the_place_of_the_first(tmp_path):
    out = tmp_path / "deep" / "site"
    assert write_site(out, FIRST) == (0, [])
    assert pages(out) == FIRST
    assert write_site(out, SECOND) == (2, [])
    assert pages(out) == SECOND
    assert not (out / "boards").exists()
    assert write_site(out, SECOND) == (0, [])
    assert set(json.loads((out / MANIFEST).read_text())["files"]) == set(SECOND)


def test_files_of_others_stay(tmp_path):
    write_site(tmp_path, FIRST)
    (tmp_path / "CNAME").write_text("example.org")
    (tmp_path / "boards/x/notes.txt").write_text("mine")
    (tmp_path / "methods/a.html").write_text("changed by hand")
    removed, notes = write_site(tmp_path, SECOND)
    assert removed == 1
    assert [line for line in notes if "a.html" in line] == notes
    assert pages(tmp_path) == {
        **SECOND, "CNAME": b"example.org", "boards/x/notes.txt": b"mine",
        "methods/a.html": b"changed by hand",
    }  # fmt: skip
    with pytest.raises(InputError, match="no site wrote it"):  # no longer a page of the site
        write_site(tmp_path, FIRST)


def test_what_a_killed_call_left_is_removed_by_the_next(tmp_path, monkeypatch):
    def killed(self, old, new):
        raise KeyboardInterrupt

    write_site(tmp_path, FIRST)
    with monkeypatch.context() as patch:
        patch.setattr(OwnFolder, "rename", killed)
        patch.setattr(OwnFolder, "remove", lambda self, path: None)
        with pytest.raises(KeyboardInterrupt):
            write_site(tmp_path, SECOND)
    assert len(list(tmp_path.glob(".site-*"))) == 1
    mine = [tmp_path / ".site-0123456789ab", tmp_path / ".site-notes"]
    for folder in mine:
        folder.mkdir()
        (folder / "mine.txt").write_text("x")
    write_site(tmp_path, SECOND)
    assert sorted(tmp_path.glob(".site-*")) == mine


def test_a_file_that_no_site_wrote_is_not_overwritten(tmp_path):
    (tmp_path / "index.html").write_text("my own page")
    with pytest.raises(InputError, match="in the way"):
        write_site(tmp_path, FIRST)
    assert tree(tmp_path) == {"index.html": b"my own page"}


def test_a_link_is_not_followed(tmp_path):
    out, away = tmp_path / "site", tmp_path / "away"
    out.mkdir(), away.mkdir()
    (out / "methods").symlink_to(away)
    with pytest.raises(InputError, match="link"):
        write_site(out, FIRST)
    assert tree(away) == {}
    assert "index.html" not in tree(out)


def test_a_list_of_files_that_names_others_removes_nothing_outside(tmp_path):
    out = tmp_path / "site"
    write_site(out, FIRST)
    (tmp_path / "precious").write_text("x")
    (tmp_path / "gone").mkdir()
    names = ["../precious", str(tmp_path / "precious"), "methods/../../precious"]
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (out / MANIFEST).write_text(json.dumps({"files": dict.fromkeys(names, digest)}))
    with pytest.raises(InputError, match="no site wrote it"):
        write_site(out, SECOND)
    (out / "index.html").unlink()
    write_site(out, SECOND)
    assert (tmp_path / "precious").read_text() == "x"


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', "[" * 10000])
def test_a_list_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="no list of a site's files"):
        write_site(tmp_path, FIRST)


def test_where_writing_fails_the_earlier_site_stands(tmp_path, monkeypatch):
    write_site(tmp_path, FIRST)
    before = tree(tmp_path)
    write = OwnFolder.write

    def full(self, path, data, staging=None):
        if path.name == "b.html":
            raise OSError(28, "No space left on device", str(path))
        write(self, path, data, staging)

    monkeypatch.setattr(OwnFolder, "write", full)
    with pytest.raises(InputError, match="No space left"):
        write_site(tmp_path, SECOND)
    assert tree(tmp_path) == before


def test_where_renaming_stops_the_next_run_knows_every_file(tmp_path, monkeypatch):
    write_site(tmp_path, FIRST)
    with monkeypatch.context() as patch:
        rename = OwnFolder.rename

        def stop(self, old, new):
            if new.name == "b.html":
                raise OSError(5, "Input/output error", str(new))
            rename(self, old, new)

        patch.setattr(OwnFolder, "rename", stop)
        with pytest.raises(InputError):
            write_site(tmp_path, SECOND)
    assert write_site(tmp_path, SECOND) == (2, [])
    assert pages(tmp_path) == SECOND
