"""File names for any name, and relative links."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from prunebench.leaderboard.site.addresses import file_stem, relative


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_have_different_files(a, b):
    assert (file_stem(a).lower() == file_stem(b).lower()) == (a == b)


@given(st.text(min_size=1))
def test_a_file_name_leads_nowhere_else(name):
    assert re.fullmatch(r"[a-z0-9][a-z0-9.+@_~-]{0,99}", file_stem(name))
    assert not file_stem(name).endswith(".")


def test_names_of_methods_stay_readable():
    assert file_stem("el2n@strata") == "el2n@strata"
    assert file_stem("infobatch+align") == "infobatch+align"
    assert file_stem("Mine") != "mine"
    assert file_stem("index") != "index"
    assert file_stem("..").startswith("page~")


def test_links_are_relative_and_quoted():
    assert relative("index.html", "methods/a+b.html", "x y") == "methods/a%2Bb.html#x%20y"
    assert relative("boards/a/index.html", "index.html") == "../../index.html"
    assert relative("boards/a/index.html", "boards/a/records.html") == "records.html"
