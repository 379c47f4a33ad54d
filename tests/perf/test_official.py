"""A user's clone of the official package, as ``PRUNEBENCH_OFFICIAL`` names it, beside our epoch."""

import os
import sys
from pathlib import Path

import pytest
import torch

from perf.benchmarks import ladder, official
from prunebench.errors import InputError
from support.suite import TINY, goals

CPU = torch.device("cpu")


# A clone with the public surface of the official package, sampler fault included.
CLONE = """
import torch
from torch.utils.data import Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

class InfoBatch(Dataset):
    def __init__(self, dataset, num_epochs, prune_ratio=0.5, delta=0.875):
        self.dataset, self.epochs, self.r = dataset, num_epochs, prune_ratio
        self.weights, self.pruned, self.updates = torch.ones(len(dataset)), 0, 0
    def __getitem__(self, i):
        return i, self.dataset[i]
    def __len__(self):
        return len(self.dataset)
    def prune(self):
        self.pruned += 1
        return list(range(len(self.dataset)))
    def update(self, values):
        self.updates += 1
        return (values * self.weights[self.active]).mean()
    @property
    def sampler(self):
        return IBSampler(self)

class IBSampler:
    def __init__(self, dataset):
        self.dataset = dataset
        self.reset()
    def reset(self):
        self.sample_indices = self.dataset.prune()
        self.iter_obj = iter(self.sample_indices)
    def __iter__(self):
        self.reset()
        return self
    def __next__(self):
        return next(self.iter_obj)
    def __len__(self):
        return len(self.sample_indices)

_plain = _BaseDataLoaderIter.__next__
def _hooked(self):
    data = _plain(self)
    if isinstance(self._dataset, InfoBatch):
        self._dataset.active, data = data
    return data
_BaseDataLoaderIter.__next__ = _hooked
"""


@pytest.fixture
def clone(tmp_path):
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    before = _BaseDataLoaderIter.__next__
    folder = tmp_path / "clone"
    (folder / "infobatch").mkdir(parents=True)
    (folder / "infobatch" / "__init__.py").write_text(CLONE)
    yield folder
    _BaseDataLoaderIter.__next__ = before
    sys.modules.pop("infobatch", None)


def test_a_clone_takes_part_with_the_shim_disclosed(clone):
    result = ladder.official(TINY, clone)
    assert [row.name for row in result.rows] == ["official InfoBatch", "plain loop", "ours"]
    assert result.value("official InfoBatch / ours") > 0
    assert any(official.SHIM in note for note in result.notes)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10))
    loop = official.OfficialLoop(clone, TINY.raw, model, CPU, 32, 64)
    assert loop.epoch() == 64  # without the shim an epoch never ends
    assert loop.data.updates == 2
    assert loop.epoch() == 64


@pytest.mark.parametrize(("files", "line"), [
    ({}, "no package infobatch there"),
    ({"infobatch/__init__.py": "import no_such_package_at_all"}, "does not import: ModuleNotFound"),
    ({"infobatch/__init__.py": "class InfoBatch: pass"}, "has no update and no sampler"),
])  # fmt: skip
def test_what_is_no_clone_is_refused_in_one_line(files, line, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=line) as caught:
        official.load(tmp_path)
    sys.modules.pop("infobatch", None)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in sys.path


def test_another_package_of_that_name_is_not_taken_for_the_clone(clone, monkeypatch):
    monkeypatch.setitem(sys.modules, "infobatch", torch)
    with pytest.raises(InputError, match="another package of that name"):
        official.load(clone)


@pytest.mark.perf
def test_the_users_clone_beside_ours():
    if "PRUNEBENCH_OFFICIAL" not in os.environ:
        pytest.skip("PRUNEBENCH_OFFICIAL names no clone of the InfoBatch repository")
    path = Path(os.environ["PRUNEBENCH_OFFICIAL"])
    assert goals(lambda settings: ladder.official(settings, path)) == {}
