"""Wrong values for every field of every model: no word of a library in any line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError
from pydantic_core import _pydantic_core as core

from prunebench.bench.grids.grid_file import Block, Grid, expand, read_grid
from prunebench.bench.spec.recipe import Recipe
from prunebench.bench.spec.recipes import get_recipe
from prunebench.bench.spec.run_spec import HeldOut, Named, NoiseSetting, RunSpec, Tuned, Validation
from prunebench.errors import InputError
from prunebench.leaderboard.protocol_file import ProtocolFile
from prunebench.problems import first_problem
from prunebench.registry import METHODS, NameCollision, load_plugin
from prunebench.userfiles import read_toml
from support.cells import small_cell
from support.command import prunebench, refused

LEAK = re.compile(
    r"Input should|[Ff]ield required|Extra inputs|[Vv]alue error|Assertion failed|instance of|"
    r"valid (string|integer|number|list|dict|tuple|boolean|mapping)|pydantic|prunebench[._]\w|"
    r"Error\b|validation error|https?://|NoneType|<class|parse|frozen|\{[a-z_]+\}|annotation"
)
WRONG = (
    None, True, 0, -1, 1, 2**70, 1.5, -0.5, 1e300, math.nan, math.inf, "", "x", "0..2..4", "9..3",
    "a" * 300, b"bytes", [], [[]], ["x"], [-1], [1.5], [[["x"]]], [None], {}, {"x": {}}, {"x": 1},
    {"x": {"y": [[]]}}, {"x": {"y": {}}}, {1: 2}, {"size": -1}, {"mode": 3}, {"sizes": 1}, {1},
    date(2020, 1, 1),
)  # fmt: skip
GOOD: dict[type[BaseModel], dict[str, Any]] = {
    Grid: {"name": "g"},
    Block: {},
    ProtocolFile: {},
    Recipe: get_recipe("digits").model_dump(),
    RunSpec: dict(small_cell("full").spec.content),
    HeldOut: {},
    Named: {"name": "n", "version": "1"},
    NoiseSetting: {"name": "clean", "rule": "clean"},
    Validation: {},
    Tuned: {"study": "0" * 16, "seeds": [1]},
}


def _line(error: ValidationError, model: Any) -> str:
    line = str(first_problem(error, "FILE", {"": model}))
    assert line.startswith("FILE"), line
    assert not LEAK.search(line), line
    assert "\n" not in line
    return line


def _cases(good: Mapping[str, Any], model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    for name, info in model.model_fields.items():
        for value in WRONG:
            yield {**good, info.alias or name: value}
        yield {k: v for k, v in good.items() if k != (info.alias or name)}
        yield {**good, f"{name[:-1]}x": 1}


@pytest.mark.parametrize("model", GOOD, ids=lambda model: model.__name__)
def test_no_word_of_a_library_for_any_field(model: type[BaseModel]) -> None:
    lines = set()
    for case in _cases(GOOD[model], model):
        try:
            model.model_validate(case)
        except ValidationError as error:
            lines.add(_line(error, model))
    assert len(lines) > 3 * len(model.model_fields)
    for value in WRONG:
        try:
            model.model_validate(value)
        except ValidationError as error:
            _line(error, model)


def test_every_type_of_error_has_a_line() -> None:
    """Also those that no model of today can raise."""
    context = {"expected_plural": "s", "class": "X", "error": "E"}
    for known in core.list_all_errors():
        kind = known["type"]
        given = {n: v or context.get(n, v) for n, v in (known.get("example_context") or {}).items()}

        def fail(_: Any, kind: Any = kind, given: Any = given) -> Any:
            if kind in ("value_error", "assertion_error"):
                raise ValueError("our own") if kind == "value_error" else AssertionError("our own")
            raise PydanticKnownError(kind, {n: v if v is not None else 1 for n, v in given.items()})

        kept = Annotated[int, BeforeValidator(fail)]
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(kept).validate_python(3)
        line = _line(caught.value, int)
        assert line in ("FILE: field '' is missing", "FILE: unknown field ''") or line.startswith(
            "FILE: 3 is not accepted; accepted: "
        ), line


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("ratio = 1.0", "ratio.0: 1.0 is not accepted; accepted: less than 1"),
        ("ratio = true", "ratio.0: true is not accepted; accepted: a number"),
        ("method = 3", "method.0: 3 is not accepted; accepted: text"),
        ('budget = "step"', "budget: 'step' is not accepted; accepted: samples, paper, epochs"),
        ("reference = 5", "reference: 5 is not accepted; accepted: a table with size, mode"),
        ("[reference]\nsizes = 5", "reference: unknown field 'sizes'; accepted: size, mode"),
        ("[[block]]\nratos = 5", "block.0: unknown field 'ratos'; accepted: ratio (nearest"),
        ("seed = 1.5", "seed: 1.5 is not accepted; accepted: a whole number from 0, a list of"),
        ("[params.random]\nr = {}", "params.random.r: this is not accepted; accepted: text, a "
         "number, true or false, none, or a list of such values"),
        ("[recipe_params]\nlearning_rate = 1", "recipe_params: unknown field 'learning_rate'"),
        ("[recipe_params]\nepoch = 1", "unknown field 'epoch'; accepted: epochs (nearest of"),
        ("[recipe_params]\nnesterov = true\nmomentum = 0.0", "recipe_params: nesterov needs"),
        ("[recipe_params]\nweights = 'x'", "weights"),
        ("[noise_params]\nseed = -1", "noise_params.seed: -1 is not accepted; accepted: 0 or more"),
        ("[noise_params]\nsede = 1", "noise_params: unknown field 'sede'; accepted: seed, count"),
    ],
)  # fmt: skip
def test_lines_of_grids(tmp_path: Path, change: str, line: str) -> None:
    path = tmp_path / "g.toml"
    needed = {"ratio": "0.5", "name": '"g"', "dataset": '"digits"', "method": '["random"]'}
    head = [f"{n} = {v}" for n, v in needed.items() if not change.startswith(n)]
    path.write_text("\n".join([*head, change]))
    with pytest.raises(InputError) as caught:
        expand(*read_grid(path))
    assert line in str(caught.value)
    assert not LEAK.search(str(caught.value))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('name = "g"\nseed = [\nx', "FILE: line 3: malformed TOML: 'x'; accepted: lines such as"),
        ("name = g\n", "FILE: line 1: malformed TOML: 'name = g'"),
        ("name = 1\nname = 2", "FILE: line 2: malformed TOML: a name or table is given twice"),
        ("a = 1\n[a]\nb = 1\n[a]", "FILE: line 2: malformed TOML: a name or table is given twice"),
        ("[a]\n\n[a]\n", "FILE: line 3: malformed TOML: a name or table is given twice: '[a]'"),
        ("a = {b = 1, b = 2}\n", "FILE: line 1: malformed TOML: a name or table is given twice"),
        ("a = {b = 1}\n[a.c]\n", "FILE: line 2: malformed TOML: a name or table is given twice"),
        ("a = 1979-13-01\n", "FILE: line 1: malformed TOML: 'a = 1979-13-01'"),
        ("a = [1", "FILE: line 1: malformed TOML: 'a = [1'"),
        ("a = " + "9" * 5000, "FILE: a number is too long"),
    ],
)  # fmt: skip
def test_malformed_toml_is_said_in_our_words(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "g.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_toml(tmp_path / "g.toml", "FILE")
    assert str(caught.value).startswith(line)
    assert not re.search("[Cc]annot|Invalid|Expected|column|Exceeds", str(caught.value))


def test_nothing_far_off_is_suggested() -> None:
    said = prunebench("run", "--method", "knn", "--no-mlflow")
    refused(said, "unknown method 'knn'", "in all")
    assert "nearest" not in said.err


def test_plug_ins_are_named_by_their_files(tmp_path: Path) -> None:
    text = (
        "from prunebench.methods.base import DynamicPruner, register_method\n"
        "@register_method('{}')\nclass P(DynamicPruner):\n    def plan(self, *a): ...\n"
    )
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(text.format("taken"))
    second.write_text(text.format("taken"))
    load_plugin(first)
    try:
        with pytest.raises(NameCollision) as caught:
            load_plugin(second)
        assert str(caught.value) == f"{second}: method name 'taken' is taken by {first}"
        second.write_text(text.format("Bad Name"))
        with pytest.raises(InputError) as bad:
            load_plugin(second)
        assert not re.search(r"prunebench_plugin|Error", str(bad.value))
    finally:
        METHODS._entries.pop("taken", None)
