"""Lists of texts as data of one's own: the file that they become, runs, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from prunebench.api.own_data import task
from prunebench.api.own_texts import are_texts
from prunebench.api.runs import run
from prunebench.api.selection import select
from prunebench.datasets.sources.text.text import Text
from prunebench.errors import InputError

TEXTS = [f"word{n % 5} class{n % 3} word{n % 7}\nline" for n in range(60)]
NAMES = [("yes", "no", "maybe")[n % 3] for n in range(60)]
TRAIN, TEST = (TEXTS[:45], NAMES[:45]), (TEXTS[45:], NAMES[45:])
FEW = {"epochs": 3, "batch_size": 8}


def test_every_form_of_texts_gives_the_same_file(tmp_path: Path) -> None:
    wanted = task(TRAIN, TEST, name="mine")
    assert repr(wanted) == "<OwnData mine: 60 texts>"
    for given in (np.array(TEXTS[:45]), pd.Series(TEXTS[:45]), tuple(TEXTS[:45])):
        assert task((given, NAMES[:45]), TEST, name="mine").data == wanted.data
    number = {"maybe": 0, "no": 1, "yes": 2}
    whole = torch.tensor([number[name] for name in NAMES])
    numbers = task((TEXTS[:45], whole[:45]), (TEXTS[45:], whole[45:].numpy()))
    raws = [Text(path=data.write(tmp_path).partition(":")[2]).load() for data in (wanted, numbers)]
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert torch.equal(getattr(raws[0], name), getattr(raws[1], name)), name
    assert [raw.class_names for raw in raws] == [("maybe", "no", "yes"), ("0", "1", "2")]


def test_labels_may_be_numbers_of_numpy_or_torch_in_a_list() -> None:
    numbers = [0, 1, 2] * 15
    wanted = task((TEXTS[:45], numbers), (TEXTS[45:], numbers[:15])).data
    for one in (np.int64, np.uint8, torch.tensor):
        given = task((TEXTS[:45], [one(n) for n in numbers]), (TEXTS[45:], numbers[:15]))
        assert given.data == wanted


class NotRead:
    """A column that is looked at one value at a time."""

    def __iter__(self) -> Iterator[str]:
        yield "first"
        raise AssertionError("a second value was read")

    def tolist(self) -> list[str]:
        raise AssertionError("the whole column was read")


def test_whether_samples_are_texts_is_seen_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert are_texts((NotRead(), []))
    assert are_texts((pd.Series(TEXTS[:3], index=[7, 8, 9]), NAMES[:3]))
    for wrong in (pd.Series([], dtype=object), [], 3, None):
        assert not are_texts((wrong, []))
    monkeypatch.setattr(torch.Tensor, "tolist", NotRead.tolist)
    monkeypatch.setattr(torch.Tensor, "__iter__", NotRead.tolist)
    assert not are_texts((torch.zeros(2, 3, 4, 4), torch.zeros(2)))


def test_texts_run_and_are_chosen_from(tmp_path: Path) -> None:
    data = task(TRAIN, TEST, noisy_labels=[*NAMES[1:6], *NAMES[5:45]], name="mine")
    done = run(data, noise="real", method="infobatch", ratio=0.5, recipe_params=FEW,
               reference_size=0, out=tmp_path, mlflow=False, quiet=True)  # fmt: skip
    assert done.record.info["data_name"] == "mine"
    assert done.record.spec["recipe"]["name"] == "text"
    chosen = select(TRAIN, method="el2n", ratio=0.4, recipe_params=FEW, out=tmp_path, quiet=True)
    assert len(chosen) == 27


@pytest.mark.parametrize(
    ("train", "test", "fields", "said"),
    [
        (TRAIN, ([1.0, 2.0], [0, 1]), {}, "task: test: no texts"),
        (([*TEXTS[:2], None], [0, 1, 0]), TEST, {}, "text None"),
        ((TEXTS[:2], [0, 1.5]), TEST, {}, "label 1.5"),
        ((TEXTS[:3], [0, 1]), TEST, {}, "2 of label for 3 texts"),
        (TRAIN, TEST, {"noisy_labels": [0]}, "1 of human for 45 texts"),
        ((TEXTS[:2], 5), TEST, {}, "task: train: 5 is no list; accepted: one for each text"),
        (TRAIN, TEST, {"noisy_labels": 5}, "task: train: 5 is no list"),
        ((TEXTS[:2], [np.True_, np.False_]), TEST, {}, "label True"),
        (TRAIN, TEST, {"groups": [0, 0, 1]}, "task: groups: texts do not take it"),
        (TRAIN, TEST, {"test_groups": [0, 1]}, "task: test_groups: texts do not take it"),
        (TRAIN, TEST, {"clean": False}, "task: clean: texts do not take it"),
    ],
)
def test_bad_texts_are_one_line(train: Any, test: Any, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        task(train, test, **fields)
