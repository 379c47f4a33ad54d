"""What records say of where a run took place: precision on cards, and the digest of the code."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import prunebench
from prunebench.bench.results.environment import environment, source_digest
from prunebench.bench.spec.execution import ExecutionOptions
from prunebench.bench.train.setup import choose_algorithms

ROOT = Path(prunebench.__file__).parent


def test_a_change_in_any_file_of_the_package_changes_the_code_digest(tmp_path: Path) -> None:
    copy = tmp_path / "a"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__", "*.toml", "*.html"))
    # One file of each folder, so that no folder is passed over.
    files = sorted({path.parent: path for path in sorted(copy.rglob("*.py"))}.values())
    assert len(files) > 30
    found = {source_digest(copy)}
    assert found == {source_digest()}  # the installed package follows the links of a checkout
    for file in files:
        before = file.read_bytes()
        file.write_bytes(before + b"#")
        source_digest.cache_clear()
        found.add(source_digest(copy))
        file.write_bytes(before)
    assert len(found) == len(files) + 1


def test_a_file_that_moves_changes_the_code_digest(tmp_path: Path) -> None:
    for number, place in enumerate(("a", "a/b")):
        folder = tmp_path / str(number) / place
        folder.mkdir(parents=True)
        (folder / "c.py").write_text("x = 1")
    assert source_digest(tmp_path / "0") != source_digest(tmp_path / "1")


@pytest.fixture
def precision() -> Iterator[None]:
    """Leaves the settings of the process as torch has them."""
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.usefixtures("precision")
@pytest.mark.filterwarnings("error")
def test_every_run_on_a_card_has_tf32_convolutions_and_fp32_products_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    card, cpu = torch.device("cuda"), torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = True  # what a plug-in may do, by the old names
    torch.backends.cudnn.allow_tf32 = False
    assert environment(card, {})["tf32"] == "products"
    choose_algorithms(ExecutionOptions(), card)
    assert environment(card, {})["tf32"] == "convolutions"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # and by the new ones
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    assert environment(card, {})["tf32"] == "products"
    choose_algorithms(ExecutionOptions(), card)
    assert environment(card, {})["tf32"] == "convolutions"
    assert torch.backends.cudnn.allow_tf32  # the compiler reads the old names
    assert not torch.backends.cuda.matmul.allow_tf32
    assert "tf32" not in environment(cpu, {})


@pytest.mark.usefixtures("precision")
def test_no_run_computes_products_in_less_than_fp32() -> None:
    torch.set_float32_matmul_precision("medium")
    choose_algorithms(ExecutionOptions(), torch.device("cpu"))
    assert torch.get_float32_matmul_precision() == "highest"
