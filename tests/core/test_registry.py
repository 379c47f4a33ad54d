"""Names: found, suggested, never taken twice; broken plug-ins do not hide the others."""

import subprocess
import sys
import textwrap

import pytest

from prunebench.errors import InputError, nearest
from prunebench.registry import METHODS, NameCollision, Registry, UnknownName, load_plugin


def test_unknown_name_suggests_the_nearest():
    registry = Registry("method", "prunebench.datasets")
    registry.register("infobatch")(object())
    registry.register("forgetting")(object())
    with pytest.raises(UnknownName, match="accepted: infobatch, forgetting"):
        registry.get("infobacth")


def test_collision_is_an_error_and_keeps_the_first():
    registry = Registry("method", "prunebench.datasets")
    first = object()
    registry.register("mine")(first)
    registry.register("mine")(first)
    with pytest.raises(NameCollision, match="'mine' is taken"):
        registry.register("mine")(object())
    assert registry.get("mine").target is first


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a/b", "x:y"])
def test_malformed_names_are_refused(name: str):
    with pytest.raises(InputError, match="malformed"):
        Registry("method", "prunebench.datasets").register(name)


def test_nearest_is_one_line():
    assert "\n" not in nearest("zzz", [f"name{i}" for i in range(100)])


def test_entry_points_load_and_broken_ones_are_reported(tmp_path):
    """A real installed distribution with one good and one broken entry point."""
    (tmp_path / "good_plugin.py").write_text(
        textwrap.dedent("""
        from prunebench.registry import METHODS
        METHODS.register("from-entry-point")(object())
        """)
    )
    (tmp_path / "bad_plugin.py").write_text("raise RuntimeError('boom')\n")
    meta = tmp_path / "thirdparty-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(
        "[prunebench.methods]\na = bad_plugin\nb = good_plugin\n"
    )
    code = (
        "from prunebench.registry import METHODS\n"
        "names = METHODS.names()\n"
        "print('from-entry-point' in names, 'random' in names, METHODS.problems)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("True True [BrokenPlugin(source='a = bad_plugin'")
    assert "boom" in done.stdout


def test_plugin_file_errors_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_plugin(tmp_path / "absent.py")
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n")
    with pytest.raises(InputError, match="fails to import") as caught:
        load_plugin(broken)
    assert "\n" not in str(caught.value)
    clash = tmp_path / "clash.py"
    clash.write_text(
        "from prunebench.registry import METHODS\nMETHODS.register('random')(object())\n"
    )
    with pytest.raises(NameCollision, match="'random' is taken"):
        load_plugin(clash)


def test_a_plugin_that_fails_half_way_leaves_no_name(tmp_path):
    half = tmp_path / "half.py"
    half.write_text(
        "from prunebench.methods.base import StaticPruner, register_method\n"
        "@register_method('half-registered')\n"
        "class Half(StaticPruner):\n"
        "    def keep(self, evidence, k, rng): ...\n"
        "raise RuntimeError('late')\n"
    )
    with pytest.raises(InputError, match="late"):
        load_plugin(half)
    assert "half-registered" not in METHODS.names()
