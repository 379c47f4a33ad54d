"""What the guides show works: plug-ins, commands, and the fields that they explain."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import torch

from prunebench import registry
from prunebench.bench.checks import check_method
from prunebench.bench.cli import cli
from prunebench.bench.grids.grid_file import expand, read_grid
from prunebench.errors import InputError
from prunebench.leaderboard.protocol_file import read_protocol
from prunebench.methods import base
from prunebench.methods.base import BatchPruner, DynamicPruner, ScoreBasedPruner, StaticPruner
from prunebench.options import Option
from prunebench.rng import Stream
from support.command import prunebench

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "CONTRIBUTING.md"
PAGES = [ROOT / "README.md", GUIDE, *sorted((ROOT / "docs").glob("*.md"))]
SHORT = ["--recipe-param", "epochs=2", "--no-mlflow", "--quiet", "--json"]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def example(page: str, decorator: str) -> str:
    (found,) = [b for b in blocks(ROOT / page, "python") if f"\n@{decorator}(" in b]
    return found


METHODS = {
    re.findall(r'@register_method\("(.+?)"', block)[0]: block
    for page in (GUIDE, ROOT / "README.md")
    for block in blocks(page, "python")
    if "\n@register_method(" in block
}


@pytest.fixture(autouse=True)
def _own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example registers is gone after its test."""
    for each in registry.REGISTRIES:
        each.load()
        monkeypatch.setattr(each, "_entries", dict(each._entries))


@pytest.mark.parametrize("name", METHODS)
def test_the_methods_of_the_guides_keep_their_contract(name, tmp_path):
    (tmp_path / "mine.py").write_text(METHODS[name], encoding="utf-8")
    check_method(tmp_path / "mine.py").raise_for_failures()


def test_the_sampler_of_the_guide_keeps_its_contract_and_runs_with_a_score(tmp_path):
    (tmp_path / "mine.py").write_text(example("CONTRIBUTING.md", "register_sampler"), "utf-8")
    report = check_method(tmp_path / "mine.py")
    report.raise_for_failures()
    assert any(result.check == "el2n@spread/exact-k" for result in report.results)
    words = ["--method", "small-loss@spread", "--param", "spread.start=0.5", "--ratio", "0.5"]
    said = prunebench("--plugin", tmp_path / "mine.py", "run", *words, "--noise", "symmetric:0.4",
                      "--out", tmp_path / "results", *SHORT)  # fmt: skip
    assert said.code == 0, said.err
    assert said.json["spec"]["method"]["name"] == "small-loss@spread"
    assert said.json["spec"]["method"]["version"] == "1@1"
    assert said.json["environment"]["plugins"]["sampler"].startswith("mine.py ")


def test_there_is_a_method_of_each_kind(tmp_path):
    kinds = []
    for name, block in METHODS.items():
        (tmp_path / f"{name}.py").write_text(block, encoding="utf-8")
        registry.load_plugin(tmp_path / f"{name}.py")
        target = registry.METHODS.get(name).target
        kinds.append(
            next(
                kind
                for kind in (StaticPruner, ScoreBasedPruner, BatchPruner, DynamicPruner)
                if issubclass(target, kind)
            )
        )
    assert set(kinds) == {StaticPruner, ScoreBasedPruner, BatchPruner, DynamicPruner}


def test_the_data_set_of_the_guide_runs(tmp_path):
    (tmp_path / "mine.py").write_text(example("docs/data.md", "register_dataset"), encoding="utf-8")
    rng = np.random.default_rng(0)
    arrays = {
        f"{split}_{kind}": value
        for split, n in (("train", 80), ("test", 20))
        for kind, value in (
            ("x", rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)),
            ("y", np.arange(n) % 4),
        )
    }
    np.savez(tmp_path / "images.npz", **arrays)
    words = ["--plugin", tmp_path / "mine.py", "run", "--method", "infobatch", "--ratio", "0.5"]
    words += ["--noise", "symmetric:0.4", "--out", tmp_path / "results", *SHORT]
    said = prunebench(*words, "--dataset", f"mine:{tmp_path / 'images.npz'}")
    assert said.code == 0, said.err
    assert said.json["info"]["num_classes"] == 4
    assert str(tmp_path) not in str(said.json["spec"])
    said = prunebench(*words, "--dataset", f"mine:{tmp_path / 'none.npz'}")
    assert said.code == 2
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("decorator", "words"),
    [
        ("register_model", ["--recipe-param", "model=one-hidden",
                            "--recipe-param", 'model_params={"width":32}']),
        ("register_recipe", ["--recipe", "digits-adam"]),
    ],
)  # fmt: skip
def test_the_network_and_the_recipe_of_the_guide_run(decorator, words, tmp_path):
    (tmp_path / "mine.py").write_text(example("docs/recipes.md", decorator), encoding="utf-8")
    out = ["--out", tmp_path / "results"]
    said = prunebench("--plugin", tmp_path / "mine.py", "run", *words, *out, *SHORT)
    assert said.code == 0, said.err
    assert said.json["status"] == "done"
    recipe = said.json["spec"]["recipe"]
    assert recipe["model"] == "one-hidden" or recipe["name"] == "digits-adam"


def public(kind: type) -> set[str]:
    own = (vars(c) for c in kind.__mro__ if c.__module__.startswith("prunebench"))
    return {name for names in own for name in names if not name.startswith("_")}


def test_the_guide_explains_every_field_that_a_method_may_read_or_give():
    text = GUIDE.read_text(encoding="utf-8")
    said = {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", code)}
    said |= {word for block in blocks(GUIDE, "python") for word in re.findall(r"\w+", block)}
    fields: dict[str, set[str]] = {
        kind.__name__: public(kind)
        for kind in (base.Evidence, base.Tables, base.Progress, base.Batch, base.TrainView)
    }
    for kind in (base.Plan, base.Subset, base.Snapshot, base.StrongView, base.Card, Option):
        fields[kind.__name__] = {f.name for f in dataclasses.fields(kind)}
    fields["EvidenceSpec"] = {f.name for f in dataclasses.fields(base.EvidenceSpec)}
    fields["Scored"] = {f.name for f in dataclasses.fields(base.Scored)}
    fields["Sampler"] = public(base.Sampler) - {"name", "params"}
    fields["ScorePruner"] = set(vars(base.ScorePruner)) - {"keep", "keep_by", "kept_side"}
    fields["ScorePruner"] = {n for n in fields["ScorePruner"] if not n.startswith("_")}
    fields["Stream"] = public(Stream) - {"key", "bits"}
    fields["Pruner"] = {
        name
        for kind in (StaticPruner, DynamicPruner, BatchPruner)
        for name in public(kind)
        if name not in ("name", "kind", "params", "everything")
    }
    assert {k: v - said for k, v in fields.items() if v - said} == {}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of ours in the pages, in blocks and in tables."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        lines += [code.replace("\\|", "|") for code in re.findall(r"`([^`]+)`", prose)]
        for line in lines:
            words = re.sub(r"^(\$ )?(\w+=\S+ )*(\S*/)?", "", line.strip())
            if words.startswith("prunebench "):
                parts = shlex.split(words.replace("\n", " "), comments=True)[1:]
                yield page.name, parts[:-1] if parts[-1:] in (["..."], ["&"]) else parts


def test_commands_name_verbs_and_options_that_exist(monkeypatch):
    """Click reads every line of the pages to its end; nothing is run."""
    monkeypatch.setattr(click.Command, "invoke", lambda self, context: None)
    lines, problems = list(commands()), []
    for page, words in lines:
        try:
            cli.main([re.sub(r"\$\w+", "1", word) for word in words], standalone_mode=False)
        except (click.UsageError, InputError) as error:
            if len(words) > 1 or not isinstance(error, click.MissingParameter):
                problems.append((page, words, str(error)))  # `prunebench rerun` names the verb
    assert problems == []
    assert len(lines) > 100


def test_the_grids_of_the_guides_are_read(tmp_path):
    read = {}
    for page in ("README.md", "docs/grids.md"):
        block = next(b for b in blocks(ROOT / page, "toml") if b.count("=") > 5)
        (tmp_path / "mine.toml").write_text(block, encoding="utf-8")
        read[page] = read_grid(tmp_path / "mine.toml")
    assert len(expand(*read["README.md"])) == 66
    options = read["docs/grids.md"][0].params["infobatch+align"]
    assert options["align.window"] == [5, 10, 25]


def test_the_protocol_of_the_guide_is_read(tmp_path):
    (tmp_path / "p.toml").write_text(blocks(ROOT / "docs/results.md", "toml")[0], encoding="utf-8")
    protocol = read_protocol(tmp_path / "p.toml")
    assert protocol.planned == (("infobatch", "random-dynamic"),)
    assert protocol.where == {"recipe.epochs": (5,)}


def test_the_loop_of_the_guide_trains():
    text = (ROOT / "docs" / "own-loop.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(block, names)
    assert names["pruning"].trained == 5000
    x, y = names["clean_set"].tensors
    assert (names["model"](x).argmax(1) == y).float().mean() > 0.9


def test_the_guide_from_python_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(block, {"__name__": "guide"})
    assert "infobatch+align" in capsys.readouterr().out
