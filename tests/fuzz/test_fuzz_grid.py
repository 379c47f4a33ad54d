"""Grid files of strangers: every file is refused in one line, or expands to valid cells."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.bench.grids.grid_file import PRESETS, expand, read_grid
from prunebench.bench.spec.run_spec import RunSpec
from prunebench.record import canonical, content_key
from support.fuzzing import EDGES, HOSTILE, answer, damaged, fuzz

_METHODS = ("full", "random", "infobatch", "infobatch+align", "small-loss", "short-full", "dual")
_NOISES = (
    "clean",
    "symmetric:0.4",
    "asymmetric:0.3",
    "pairflip:0.45",
    "real",
    "instance:0.4",
    "openset:0.2",
)
_OPTIONS = ("r", "delta", "window", "align.window", "k", "alpha", "seed", "path")


def toml(value: Any) -> str:
    """A TOML value; nothing in the package writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, int):
        digits = hex(value) if value > 10**30 else str(value)
        return digits
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True).replace("\\ud83d\\ude00", "\\U0001F600")
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml(str(k))} = {toml(v)}' for k, v in value.items())}}}"
    return str(value)


def _or_odd(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    odd = st.one_of(
        st.sampled_from(HOSTILE),
        st.sampled_from(EDGES),
        st.sampled_from((math.nan, math.inf, True, False, [], {}, [[]], "0..4", "4..0",
                         "0...4", "..", "0..99999999999", "1..", "-1..3", "0..4 ")),
        st.lists(st.sampled_from((*HOSTILE[:8], *EDGES[:4])), max_size=3),
        st.dictionaries(st.sampled_from(("a", "name", "size", "..")), st.sampled_from(EDGES),
                        max_size=2),
    )  # fmt: skip
    return st.integers(0, 7).flatmap(lambda n: odd if n == 0 else good)


def _some(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(values), st.lists(st.sampled_from(values), min_size=1,
                                                        max_size=3))  # fmt: skip


_NUMBERS = st.sampled_from((0.1, 0.5, 1, 2, 5, 0.875, "literal", True, [0.3, 0.5], [1, 2]))
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "dataset": _some(("digits", "synthetic")),
    "noise": _some(_NOISES),
    "imbalance": _some(("none", "exp:50", "step:2.5", "exp:0.5", "exp:", "epx:3", "exp:1e400")),
    "corrupt": _some(("none", "gaussian-noise:0.3", "jpeg:1", "fog:0", "fgo:0.2", "jpeg:")),
    "corrupt_params": st.dictionaries(st.sampled_from(("severity", "strength")),
                                      _or_odd(st.sampled_from((1, 3, 5, 6, "3", 2.5, True))),
                                      max_size=2),
    "method": _some(_METHODS),
    "ratio": _some((0.0, 0.3, 0.5, 0.9)),
    "seed": st.sampled_from((0, [0, 1], "0..4", "3", [5], "7..9")),
    "recipe": st.sampled_from(("digits", "synthetic", "mnist-small")),
    "criterion": _some(("ce", "sop", "sop+")),
    "budget": st.sampled_from(("samples", "paper", "epochs")),
    "budget_share": st.sampled_from((0.1, 0.3)),
    "params": st.dictionaries(st.sampled_from(_METHODS),
                              st.dictionaries(st.sampled_from(_OPTIONS), _or_odd(_NUMBERS),
                                              max_size=2), max_size=2),
    "dataset_params": st.dictionaries(st.sampled_from(("limit", "path", "n", "classes")),
                                      _or_odd(st.sampled_from((10, 200))), max_size=1),
    "recipe_params": st.dictionaries(
        st.sampled_from(("epochs", "lr", "batch_size", "model", "model_params", "weights",
                         "milestones", "name", "schedule", "compat")),
        _or_odd(st.sampled_from((2, 0.1, "cnn", {"width": 4}, [0.5], "cosine"))), max_size=2),
    "criterion_params": st.dictionaries(st.sampled_from(("ce", "sop")), st.dictionaries(
        st.sampled_from(("smoothing", "lr_u")), _or_odd(st.sampled_from((0.1, 1))), max_size=1),
        max_size=1),
    "noise_params": st.dictionaries(
        st.sampled_from(("seed", "count", "rule", "outside", "outside.n", "outside.")),
        _or_odd(st.sampled_from((0, 3, "bernoulli", "last:2", "digits", "digits:x", "arrays:x"))),
        max_size=2),
    "reference": st.dictionaries(st.sampled_from(("size", "mode")),
                                 _or_odd(st.sampled_from((0, 50, "overlap"))), max_size=2),
    "proxy": st.sampled_from(("shared", "own")),
    "tuned": st.sampled_from(("tuned.json", ["../x.json"])),
    "transfer": st.booleans() | st.lists(_or_odd(st.sampled_from(
        ("cnn", "mlp", "nothing", {"model": "mlp", "lr": 0.1}, {"model": "cnn", "model_params": 3},
         {"epochs": 2}, {"model": "mlp", "name": "x"}, {"model": "cnn", "nothing": 1}))),
        max_size=2),
    "scoring_recipe": st.sampled_from(("digits", "mnist", "nothing")),
    "scoring_params": st.dictionaries(
        st.sampled_from(("epochs", "model", "model_params", "weights", "warmup", "version")),
        _or_odd(st.sampled_from((2, "mlp", {"width": 4}, None))), max_size=2),
    "losses": st.sampled_from(([], [1, 2])),
    "about": st.sampled_from(HOSTILE[:3]),
}  # fmt: skip


@st.composite
def _table(draw: st.DrawFn, needed: tuple[str, ...]) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(_FIELDS)), max_size=5, unique=True))
    made = {name: draw(_or_odd(_FIELDS[name])) for name in dict.fromkeys((*needed, *names))}
    if draw(st.integers(0, 30)) == 0:
        made[draw(st.sampled_from(("noises", "methods", "x", "..", "out")))] = 1
    return made


@st.composite
def grids(draw: st.DrawFn) -> str:
    """A grid file that is nearly right."""
    top = {"name": draw(_or_odd(st.just("fuzz"))), **draw(_table(("dataset", "method", "ratio")))}
    lines = [f"{toml(name)} = {toml(value)}" for name, value in top.items()]
    for _ in range(draw(st.integers(0, 2))):
        block = draw(_table(()))
        lines += ["[[block]]", *(f"{toml(name)} = {toml(v)}" for name, v in block.items())]
    return "\n".join(lines)


def check(path: Path) -> int:
    """Reads and expands a file; what is accepted must hold. Returns the number of cells."""
    grid, _ = answer(lambda: read_grid(path))
    if grid is None:
        return 0
    assert Path("results") / grid[0].name == Path(f"results/{grid[0].name}")
    assert Path(grid[0].name).name == grid[0].name
    cells, _ = answer(lambda: expand(*grid))
    if cells is None:
        return 0
    assert cells, "a grid without cells is no answer"
    keys = set()
    for cell in cells[:200]:
        content = json.loads(canonical(cell.spec.content))
        again = RunSpec.model_validate(content)
        assert again == cell.spec
        assert content_key(content) == again.key == cell.spec.key
        assert 0 <= again.ratio < 1
        assert again.seed >= 0
        keys.add(again.key)
    assert len(keys) == len(cells[:200])
    return len(cells)


def test_nearly_right_grids(tmp_path: Path) -> None:
    path, counts = tmp_path / "near.toml", list[int]()

    @fuzz(400)
    @given(text=grids())
    def nearly_right(text: str) -> None:
        path.write_text(text, encoding="utf-8")
        counts.append(check(path))

    nearly_right()
    assert sum(n > 0 for n in counts) >= len(counts) // 20


_SHIPPED = sorted(p for p in PRESETS.glob("*.toml"))
_ALL = [p.read_bytes() for p in _SHIPPED]
_SMALL = [p.read_bytes() for p in _SHIPPED if p.stem in ("demo", "starter-digits", "noise-rules")]


@fuzz(200)
@given(data=st.data())
def test_damaged_shipped_grids(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "shipped.toml"
    content = data.draw(st.sampled_from(_ALL))
    path.write_bytes(data.draw(damaged(content)))
    answer(lambda: read_grid(path))
    path.write_bytes(data.draw(damaged(data.draw(st.sampled_from(_SMALL)))))
    check(path)


_HEAD = 'name = "g"\ndataset = "digits"\nmethod = "infobatch"\n'


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 20_000,
        "a = " + "9" * 5000,
        "a = " + "{b=" * 5000 + "1" + "}" * 5000,
        "a." * 5000 + "b = 1",
        "[" + "a." * 5000 + "b]",
        _HEAD + "seed = " + "9" * 400,
        _HEAD + 'seed = "0..99999"\nratio = [' + ", ".join(f"0.{n}" for n in range(100, 999)) + "]",
        _HEAD + "seed = [" + "[" * 90 + "]" * 90 + "]",
        _HEAD + "[params.infobatch]\nr = 1" + "0" * 400,
        _HEAD + "[params.infobatch]\nr = [0.5, 0x" + "f" * 400 + "]",
        _HEAD + "ratio = []",
        _HEAD + "[params.infobatch]\nr = []",
        _HEAD + "ratio = nan",
        _HEAD + "ratio = true",
        _HEAD + "ratio = false",
        _HEAD + 'ratio = "0.5"',
        _HEAD + "seed = true",
        _HEAD + "seed = 1.0",
        _HEAD + "losses = [-1]",
        _HEAD + 'transfer = "yes"',
        _HEAD + 'tuned = "../../../etc/passwd"',
        _HEAD + 'tuned = "a\\u0000b"',
        _HEAD + 'tuned = "' + "x" * 5000 + '"',
        _HEAD + "recipe_params = {weights = 'a\\u0000b'}".replace("'", '"'),
        _HEAD + "recipe_params = {weights = '" + "x" * 5000 + "'}",
        _HEAD.replace("digits", "packed:~nobody-here/x"),
        _HEAD.replace("digits", "packed:a\\u0000b"),
        _HEAD.replace("digits", "packed:" + "x" * 5000),
        _HEAD.replace("digits", "folder:" + "x" * 5000),
        _HEAD.replace("digits", "mnist:" + "x/" * 5000),
        _HEAD.replace("digits", "mnist:~nobody-here"),
        _HEAD.replace("digits", "cifar10:~nobody-here"),
        _HEAD.replace("digits", "cifar10n:a\\u0000b"),
        _HEAD.replace("digits", "webvision:" + "y" * 300),
        _HEAD.replace("digits", "news:~nobody-here"),
        _HEAD.replace("digits", "clothing1m:a\\u0000b"),
        _HEAD.replace("infobatch", "scores:a\\u0000b"),
        _HEAD.replace("infobatch", "scores:" + "x" * 5000),
        _HEAD.replace("infobatch", "scores:/dev/zero"),
        _HEAD.replace('"g"', '"../g"'),
        _HEAD.replace('"g"', '"g\\n"'),
        _HEAD.replace('"g"', '"."'),
        _HEAD + 'out = "/tmp/elsewhere"',
        'name = "g"\ndataset = []\nmethod = "full"',
        'name = "\\ud800"',
        _HEAD + "[[block]]\nname = 'other'",
        _HEAD + "[[block]]\nblock = [{}]",
    ],
)
def test_known_tricks_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trick.toml"
    path.write_text(text, encoding="utf-8")
    assert check(path) == 0


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "~nobody-here/g.toml", "/", "..", ""])
def test_names_of_grids(name: str) -> None:
    assert answer(lambda: read_grid(name))[0] is None
