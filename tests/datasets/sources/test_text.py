"""Texts of a user's own: equal in every kind of file, splits, learning, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from prunebench.bench.results.store import Store
from prunebench.bench.runs.execute import run_cell
from prunebench.bench.runs.resolve import build_spec, resolve_cell
from prunebench.datasets.source import RawData
from prunebench.datasets.sources.text.text import Text
from prunebench.errors import InputError
from support.origins import check_ids

Row = dict[str, Any]
NAMES = ("sport", "cooking", "law")


def corpus(n: int, seed: int) -> list[Row]:
    """Texts of common words with three words of their class; every seventh label that people gave
    is wrong."""
    dice = random.Random(seed)
    rows = []
    for number in range(n):
        label = number % len(NAMES)
        own = [f"{NAMES[label]}{dice.randrange(30)}" for _ in range(3)]
        common = [f"word{dice.randrange(80)}" for _ in range(12)]
        words = dice.sample(own + common, 15)
        people = (label + (number % 7 == 0)) % len(NAMES)
        rows.append({"text": f'{words[0].title()}, "{words[1]}"\n' + " ".join(words[2:]),
                     "label": NAMES[label], "people": NAMES[people]})  # fmt: skip
    return rows


TRAIN, TEST = corpus(240, 0), corpus(60, 1)
BOTH = [{**row, "split": split} for split, rows in (("train", TRAIN), ("test", TEST))
        for row in rows]  # fmt: skip


def write(file: Path, rows: list[Row]) -> Path:
    """By the ending of the name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if ".parquet" in file.name:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), file)
        return file
    if ".jsonl" in file.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        parts: list[str] = []
        out = csv.DictWriter(
            type("Lines", (), {"write": parts.append}), list(rows[0]),
            delimiter="\t" if ".tsv" in file.name else ",",
        )  # fmt: skip
        out.writeheader()
        out.writerows(rows)
        text = "".join(parts)
    data = text.encode()
    file.write_bytes(gzip.compress(data, mtime=0) if file.suffix.lower() == ".gz" else data)
    return file


def same(a: RawData, b: RawData) -> None:
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.equal(a.human[""], b.human[""])
    assert (a.class_names, a.vocabulary) == (b.class_names, b.vocabulary)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("texts")
    write(root / "all.csv", BOTH)
    return root


def test_every_kind_of_file_gives_the_same_data_and_draws(place: Path) -> None:
    plain = Text(path=str(place / "all.csv"), split="split", human="people")
    raw = plain.load()
    assert (raw.train_x.dtype, len(raw.train_x), len(raw.test_x)) == (torch.int32, 240, 60)
    assert raw.input_shape == (raw.vocabulary, raw.train_x.shape[1])
    assert raw.class_names == ("cooking", "law", "sport")
    assert raw.train_y[:3].tolist() == [2, 0, 1]
    assert (raw.human[""] != raw.train_y).sum() == len(range(0, 240, 7))
    assert plain.identity().startswith("content:")
    renamed = [{"y": r["label"], "s": r["split"], "x": r["text"], "p": r["people"]} for r in BOTH]
    columns = {"text": "x", "label": "y", "human": "p"}
    folder = place / "hub" / "data"
    write(folder / "train-00000-of-00002.parquet", [r for r in renamed if r["s"] == "train"][:99])
    write(folder / "train-00001-of-00002.parquet", [r for r in renamed if r["s"] == "train"][99:])
    write(folder / "test-00000-of-00001.parquet", [r for r in renamed if r["s"] == "test"])
    others = [
        Text(path=str(write(place / "b.jsonl.gz", BOTH)), split="split", human="people"),
        Text(path=str(write(place / "C.CSV.GZ", BOTH)), split="split", human="people"),
        Text(path=str(write(place / "d.parquet", renamed)), split="s", **columns),
        Text(path=str(place / "hub"), **columns),
        Text(path=str(write(place / "e.tsv", TRAIN)), test=str(write(place / "f.jsonl", TEST)),
             human="people"),
    ]  # fmt: skip
    for other in others:
        same(other.load(), raw)
        assert other.identity() == plain.identity()
        assert other.portable() == plain.portable()
    assert [source.title() for source in (plain, *others)] == ["all", "b", "C", "d", "hub", "e"]
    usual = [{"human" if k == "people" else k: v for k, v in row.items()} for row in BOTH]
    for name in ("g.csv", "g.parquet", "g.jsonl"):  # names that are looked for
        found = Text(path=str(write(place / name, usual)))
        same(found.load(), raw)
        assert found.variants() == ("",)
    assert Text(path=str(place / "all.csv")).variants() == ()
    fewer = Text(path=str(place / "all.csv"), split="split", human="people", limit=50, test_limit=9)
    check_ids(fewer.load(), raw)


def test_a_share_is_drawn_of_every_class(place: Path) -> None:
    file = write(place / "one.jsonl", [*TRAIN[:100], {"text": "lonely words", "label": "rare"}])
    raw = Text(path=str(file)).load()
    counts = {name: torch.bincount(y, minlength=4).tolist()
              for name, y in (("train", raw.train_y), ("test", raw.test_y))}  # fmt: skip
    assert raw.class_names == ("cooking", "law", "rare", "sport")
    assert counts == {"train": [26, 26, 1, 27], "test": [7, 7, 0, 7]}
    more = Text(path=str(file), test_share=0.5).load()
    assert len(more.test_y) == 17 + 17 + 17
    held = {tuple(row.tolist()) for row in raw.test_x}
    assert torch.equal(Text(path=str(file)).load().test_x, raw.test_x)
    assert len(held) == 21


def test_whole_numbers_are_classes_in_order_of_size(place: Path) -> None:
    rows = [{"text": f"some word{n % 3}", "label": (10, 2, -1)[n % 3]} for n in range(30)]
    for name in ("numbers.csv", "numbers.jsonl", "numbers.parquet"):
        raw = Text(path=str(write(place / name, rows))).load()
        assert raw.class_names == ("-1", "2", "10")


def test_options_of_the_words(place: Path) -> None:
    path = str(place / "all.csv")
    raw = Text(path=path, split="split", words=40, length=5).load()
    assert (raw.vocabulary, raw.input_shape) == (41, (41, 5))
    assert raw.train_x.max() == 40
    every = Text(path=path, split="split").load().vocabulary
    assert 100 < every <= 1 + 3 * 30 + 80
    assert 10 < Text(path=path, split="split", min_texts=30).load().vocabulary < every


def test_a_planted_corpus_is_learnt(place: Path, tmp_path: Path) -> None:
    fields = {"dataset": f"text:{place / 'all.csv'}", "dataset_params": {"split": "split"}}
    cell = resolve_cell(
        **fields, noise="symmetric:0.2", method="infobatch", ratio=0.5,
        recipe_params={"batch_size": 32}, reference={"size": 0},
    )  # fmt: skip
    assert cell.spec.recipe.name == "text"
    record, _ = run_cell(cell, Store.open(tmp_path / "r"))
    assert record.status == "done", record.reason
    assert record.metrics["test_accuracy"] > 0.9


def test_what_needs_images_or_vectors_is_refused(place: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"dataset": f"text:{place / 'all.csv'}"}
    store = Store.open(tmp_path / "r")
    for extra, said in (
        ({"noise": "instance:0.2"}, "numbers of words have no projection"),
        ({"corrupt": "occlusion:0.2"}, "images"),
        ({"recipe": "vectors"}, "cannot read the words of texts"),
        ({"recipe": "packed"}, "cnn cannot read samples"),
    ):
        with pytest.raises(InputError, match=said):
            run_cell(resolve_cell(**fields, **extra), store)
    with pytest.raises(InputError, match="no labels with real noise"):
        build_spec(**fields, noise="real")


GOOD = "text,label\nsome words,a\nother words,b\nmore words,a\nlast words,b\n"


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (GOOD.replace("text", "body"), {}, "columns text, label"),
        (GOOD, {"label": "klass"}, "columns text, klass"),
        (GOOD.replace("other words", ""), {}, "text, row 2: no text"),
        (GOOD.replace("other words", '"  "'), {}, "text, row 2: no text"),
        (GOOD.replace(",b", ","), {}, "label, row 2: no label"),
        (GOOD.replace(",b", ",NaN"), {}, "label, row 2: no label"),
        (GOOD.replace(",b", ",a"), {}, "a single class"),
        (GOOD + "one, two,a\n", {}, "line 6: 3 values"),
        (GOOD + "alone\n", {}, "line 6: no value for 'label'"),
        (GOOD + '"never closed,a\n', {}, "is no table"),
        (GOOD + "x" * 140_000 + ",a\n", {}, "131,072 characters"),
        ("", {}, "the first line names nothing"),
        ("text,label\n", {}, "no rows"),
        (GOOD, {"min_texts": 9}, "no word is in 9 training texts"),
        (GOOD, {"split": "label"}, "label, row 1: 'a'; accepted: train, test"),
        (GOOD, {"human": "label", "test_share": 0.01}, "no text is in the test split"),
        (GOOD, {"test": "nowhere.csv"}, "no such file: nowhere.csv"),
        (GOOD, {"test": "x.csv", "split": "label"}, "test and split given"),
        (GOOD.encode("utf-16-le"), {}, "is not text in UTF-8|names"),
        (GOOD.replace("some", "s\u00f6me").encode("latin-1"), {}, "is not text in UTF-8"),
    ],
)
def test_bad_tables_are_one_clear_line(
    tmp_path: Path, content: str | bytes, options: dict[str, Any], said: str
) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=said) as error:
        Text(path=str(file), **{"test_share": 0.5, **options}).load()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", b'{"text": "a b", "label": 0}\n{"text": 3, "label": 1}\n', "row 2: 3"),
        ("t.jsonl", b'{"text": "a b", "label": 0}\n{"text": "c", "label": 1.5}\n', "row 2: 1.5"),
        ("t.jsonl", b'{"text": "a b", "label": 0}\n{"text": "c", "label": NaN}\n', "no label"),
        ("t.jsonl", b'{"text": "a b", "label": true}\n', "row 1: True"),
        ("t.jsonl", b'{"text": "a b", "label": 0}\n{"text": "c"}\n', "line 2: no column 'label'"),
        ("t.jsonl", b"[1]\n", "line 1: no object"),
        (
            "t.jsonl",
            b'{"text": "a", "label": 0}\n{"text": "b", "label": 1, "split": "test"}\n',
            "split, row 1: no label",
        ),
        ("t.jsonl", b"{\n", "line 1: not JSON"),
        ("t.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("t.jsonl.gz", b"no gzip", "is damaged"),
        ("t.parquet", b"no parquet", "cannot be read"),
        ("t.pickle", b"x", "another kind"),
        ("t.gz", b"x", "another kind"),
    ],
)
def test_other_bad_files_are_one_clear_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        Text(path=str(tmp_path / name)).load()
    assert "\n" not in str(error.value)


def test_labels_that_no_training_text_has(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", TRAIN[:30])
    test = write(tmp_path / "test.jsonl", [*TEST[:5], {"text": "a b", "label": "chess"}])
    with pytest.raises(InputError, match=r"row 6: no training text has the label 'chess'.*law"):
        Text(path=str(train), test=str(test)).load()
    odd = [{**row, "people": "chess" if n == 4 else row["people"]} for n, row in enumerate(TRAIN)]
    with pytest.raises(InputError, match="people, row 5: no training text has"):
        Text(path=str(write(tmp_path / "odd.jsonl", odd)), human="people", test=str(train)).load()


def test_what_changes_the_samples_is_in_the_key_and_human_labels_follow_their_texts(
    tmp_path: Path,
) -> None:
    rows = [f"{'abc'[n % 3]} word,{n % 2},{(n // 4) % 2}\n" for n in range(40)]
    (tmp_path / "t.csv").write_text("text,label,human\n" + "".join(rows))
    whole, few = (Text(path=str(tmp_path / "t.csv"), limit=limit) for limit in (None, 7))
    assert whole.portable().keys() == {
        "words", "min_texts", "length", "limit", "test_limit", "asymmetric"
    }  # fmt: skip
    limited, origin = few.load(), few.load().train_origin
    assert origin is not None
    assert origin.ids.tolist() != list(range(7))
    assert torch.equal(limited.human[""], whole.load().human[""][origin.ids])
