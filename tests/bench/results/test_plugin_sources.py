"""An edited plug-in is named wherever its old results are used, shown or mixed with new ones."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prunebench import origins
from prunebench.bench.results.plugin_sources import plugin_files, plugin_sources
from prunebench.bench.results.store import Store
from prunebench.bench.runs.rerun import command_of
from prunebench.leaderboard.board.mixed_sources import Part, mixed, mixed_lines, parts_of
from prunebench.leaderboard.bundle import unpack
from prunebench.record import Record
from prunebench.registry import REGISTRIES, load_plugin, plugin_module
from support.command import Said, prunebench

SOURCE = (Path(__file__).parents[2] / "plugin/drop_highest.py").read_text()
ADVICE = "raise version or rerun"
GRID = """
name = "edited"
dataset = "digits"
method = ["full", "drop-highest", "drop-highest+align"]
ratio = 0.5
noise = "symmetric:0.4"
recipe_params = { epochs = 1 }
"""

BOTH = """
from prunebench import DataSource, register_dataset, register_model

@register_model("scorer-for-test")
def scorer(shape, num_classes):
    return None

@register_dataset("outside-for-test")
class Outside(DataSource):
    options = {}
"""


def unload(*paths: Path) -> None:
    """Lets a file be loaded anew, as another process would."""
    for module in map(plugin_module, paths):
        sys.modules.pop(module, None)
        origins._KNOWN.pop(module, None)
        for registry in REGISTRIES:
            registry.forget(module)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plug-in file of the test's own; cells run in this process."""
    monkeypatch.setenv("PRUNEBENCH_INLINE", "1")
    path = tmp_path / "drop_highest.py"
    path.write_text(SOURCE)
    yield path
    unload(path)


def grid(plugin: Path, seeds: str) -> Said:
    folder = plugin.parent
    (folder / "g.toml").write_text(f'{GRID}seed = "{seeds}"\n')
    unload(plugin)
    return prunebench("--plugin", plugin, "grid", folder / "g.toml", "--out", folder / "r",
                      "--no-mlflow", "-w", "1", "--json", "-q")  # fmt: skip


def test_an_edited_plugin_is_told_by_grid_status_audit_and_board(plugin: Path) -> None:
    root = plugin.parent / "r"
    first = grid(plugin, "0..0")
    assert (first.code, first.err) == (0, "")
    records = {r.spec["method"]["name"]: r for r in Store(root).scan().records}
    assert "plugins" not in records["full"].environment
    named = records["drop-highest"].environment["plugins"]["method"]
    assert named.startswith("drop_highest.py ")
    assert records["drop-highest+align"].environment["plugins"]["method"] == named
    assert len(max(r.dumps() for r in records.values())) < 4096
    assert grid(plugin, "0..0").err == ""
    for said in (prunebench("--plugin", plugin, "status", root), prunebench("audit", root)):
        assert ADVICE not in said.out + said.err
    assert prunebench("leaderboard", root).code == 0
    assert ADVICE not in (root / "leaderboard/leaderboard.md").read_text()

    plugin.write_text(SOURCE.replace("stable=True", "stable=True, descending=True"))
    unload(plugin)
    dry = prunebench(
        "--plugin", plugin, "grid", plugin.parent / "g.toml", "--out", root, "--dry-run"
    )
    assert dry.err.count(ADVICE) == 1
    again = grid(plugin, "0..0")
    assert again.json["stood"] == 3
    assert again.err.count(ADVICE) == 1
    assert again.err.startswith("warning: method drop-highest (version 1): 2 runs by drop_highest")
    said = prunebench("--plugin", plugin, "status", root)
    assert ADVICE in said.out
    assert any(ADVICE in line for line in prunebench(
        "--plugin", plugin, "status", root, "--json").json["warnings"])  # fmt: skip

    more = grid(plugin, "0..1")  # the seed that is new mixes with the one that stood
    assert ADVICE in more.err
    found = prunebench("audit", root, "--json").json
    assert [f["level"] for f in found if ADVICE in f["detail"]] == ["warning"]
    assert prunebench("leaderboard", root).code == 0
    for name in ("md", "html", "tex", "json"):
        assert ADVICE in (root / f"leaderboard/leaderboard.{name}").read_text()
    unload(plugin)
    assert "several sources" in prunebench("--plugin", plugin, "status", root).out


def test_rerun_names_the_plugin_in_its_command(plugin: Path) -> None:
    """The very command works, where the plain one knows no such method."""
    root = plugin.parent / "r"
    words = ("run", "--method", "drop-highest", "--ratio", "0.5", "--recipe-param", "epochs=1",
             "--no-mlflow", "-q", "--out", root)  # fmt: skip
    made = prunebench("--plugin", plugin, *words, "--json")
    assert made.code == 0, made.err
    record = Store(root).get(made.json["key"])
    assert record is not None
    other = plugin.parent / "other.py"
    other.write_text("")
    unload(plugin)
    said = prunebench("--plugin", other, "--plugin", plugin, "rerun", record.key, "--out", root,
                      "--json", "-q")  # fmt: skip
    assert said.code == 0, said.err
    assert said.json["command"].startswith(f"prunebench --plugin {plugin} run --dataset digits")
    assert "--plugin" not in str(command_of(_full(record), [str(plugin)]))
    unload(other)


def _full(record: Record) -> Record:
    method = {**record.spec["method"], "name": "full", "params": {}}
    return dataclasses.replace(record, spec={**record.spec, "method": method, "ratio": 0.0})


def test_the_digest_is_of_what_was_loaded_and_what_it_imports_beside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    helper, path = tmp_path / "beside_for_test.py", tmp_path / "mine.py"
    helper.write_text("X = 1\n")
    path.write_text("import beside_for_test\n")
    seen = []
    for text in ("X = 1\n", "X = 2\n", "X = 1\n"):
        helper.write_text(text)
        unload(path)
        sys.modules.pop("beside_for_test", None)
        load_plugin(path)
        helper.write_text("X = 9\n")  # too late
        load_plugin(path)
        seen.append(origins.origin(plugin_module(path)))
    assert seen[0] == seen[2] != seen[1]
    assert all(one.startswith("mine.py ") for one in seen)
    unload(path)
    sys.modules.pop("beside_for_test", None)


def test_a_package_counts_with_all_its_files_and_our_own_modules_with_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package_for_test"
    (package / "deep").mkdir(parents=True)
    for name in ("__init__.py", "deep/__init__.py", "deep/method.py", "deep/unloaded.py"):
        (package / name).write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    import package_for_test.deep.method  # type: ignore[import-not-found]  # noqa: F401

    name = "package_for_test.deep.method"
    first = origins.origin(name)
    assert first.startswith("package_for_test ")
    (package / "deep/unloaded.py").write_text("X = 1\n")
    assert origins.origin(name) == first
    origins._KNOWN.pop(name)
    assert origins.origin(name) != first
    for loaded in (name, "package_for_test.deep", "package_for_test"):
        origins._KNOWN.pop(loaded, None)
        sys.modules.pop(loaded)
    assert origins.origin("prunebench.methods.infobatch") == ""
    assert origins.origin("no.such.module") == ""


def _made(seed: int, source: Any = None, version: str = "1") -> Record:
    bundle = Path(__file__).parents[3] / "docs/leaderboards/digits-all-methods/records.jsonl.gz"
    record = unpack(bundle)[0]
    method = {**record.spec["method"], "name": "mine", "version": version}
    told = {} if source is None else {"plugins": source}
    return dataclasses.replace(
        record,
        spec={**record.spec, "method": method, "seed": seed},
        environment={**record.environment, **told},
    )


def test_mixtures_go_by_name_and_version() -> None:
    a, b = {"method": "a.py 1"}, {"method": "a.py 2"}
    assert mixed([_made(0, a), _made(1, a), _made(2)]) == []
    assert mixed([_made(0, a), _made(1, b, "2"), _made(2, b, "2+1")]) == []
    found = mixed([_made(0, a), _made(1, b), _made(2)])
    assert found == [(Part("method", "mine", "1"), {"": 1, "a.py 1": 1, "a.py 2": 1})]
    (line,) = mixed_lines([_made(0, a), _made(1, b), _made(2)])
    assert line.startswith("method mine (version 1): ")
    assert "one not recorded" in line


@pytest.mark.parametrize(
    "told",
    [7, [], {"method": 10**9999}, {"method": {"a": 1}}, {"b": "x"}, {"method": "\x1b[2J" * 999}],
)
def test_foreign_records_cannot_break_a_line(told: Any) -> None:
    lines = mixed_lines([_made(0, told), _made(1, {"method": "a 1"}), _made(2, {"method": "b 2"})])
    assert len(lines) == 1
    assert "\x1b" not in lines[0]
    assert len(lines[0]) < 1000
    json.dumps(lines)


def test_a_sampler_of_a_plugin_is_a_part_of_its_own() -> None:
    spec = {"method": {"name": "mine@theirs", "version": "2@3"}, "recipe": {"model": "cnn"}}
    assert parts_of(spec) == {
        "method": Part("method", "mine", "2"),
        "sampler": Part("sampler", "theirs", "3"),
        "model": Part("model", "cnn"),
    }
    aligned = {"method": {"name": "mine+align", "version": "2+1"}}
    assert parts_of(aligned) == {"method": Part("method", "mine", "2")}


def test_networks_of_scoring_runs_and_outside_data_sets_are_parts(tmp_path: Path) -> None:
    path = tmp_path / "brings_both.py"
    path.write_text(BOTH)
    load_plugin(path)
    spec: dict[str, Any] = {
        "dataset": {"name": "digits", "version": "1"}, "recipe": {"model": "cnn"},
        "scoring_recipe": {"model": "scorer-for-test"},
        "noise": {"outside": {"name": "outside-for-test", "version": "1"}},
    }  # fmt: skip
    named = plugin_sources(spec)
    assert named.keys() == {"scoring model", "outside"}
    assert all(text.startswith("brings_both.py ") for text in named.values())
    assert plugin_files(spec, [path]) == [str(path)]
    parts = parts_of(spec)
    assert parts["scoring model"] == Part("model", "scorer-for-test")
    assert parts["outside"] == Part("dataset", "outside-for-test", "1")
    same = {**spec, "scoring_recipe": {"model": "cnn"}, "noise": {"outside": spec["dataset"]}}
    assert parts_of(same).keys() == {"dataset", "model"}
    assert parts_of({**spec, "scoring_recipe": 7, "noise": {"outside": "last:2"}}) == parts_of(same)
    unload(path)
