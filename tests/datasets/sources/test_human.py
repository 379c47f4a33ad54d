"""Human labels: the safe route, every kind of damage, and the published figures."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunebench.datasets.noise.inject import inject, transition_counts
from prunebench.datasets.noise.rules import RULES
from prunebench.datasets.sources.cifar import human
from prunebench.datasets.sources.cifar.human import (
    CLEAN,
    LABEL_FILES,
    fetch_labels,
    find_labels,
    read_labels,
)
from prunebench.datasets.sources.cifar.tables import CIFAR10, CIFAR100
from prunebench.errors import InputError
from support.published import human_file, save_pt, served

#: Before the fixtures of this folder hide it.
PUBLISHED = os.environ.get("PRUNEBENCH_DATA")
N = 40
RNG = np.random.default_rng(0)
ARRAYS = {name: RNG.integers(0, 10, N) for name in LABEL_FILES["cifar10n"].arrays}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def use(monkeypatch: pytest.MonkeyPatch, path: Path, arrays: Any = ARRAYS, **changes: Any) -> None:
    """Writes a label file and makes it the published one."""
    table = human_file(path, arrays, "cifar10n", old_names=changes.pop("old_names", True))
    monkeypatch.setitem(human.LABEL_FILES, "cifar10n", replace(table, **changes))


@pytest.mark.parametrize("old_names", [True, False])
def test_reads_every_variant(tmp_path: Path, monkeypatch, old_names: bool) -> None:
    use(monkeypatch, tmp_path / "a.pt", old_names=old_names)
    found = read_labels("cifar10n", tmp_path / "a.pt")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == np.int64
        assert np.array_equal(found[name], array)


def test_the_cache_serves_the_second_time_and_is_checked(
    tmp_path: Path, monkeypatch, cache: Path
) -> None:
    use(monkeypatch, tmp_path / "a.pt")
    read_labels("cifar10n", tmp_path / "a.pt")
    (cached,) = cache.iterdir()
    with np.load(cached, allow_pickle=False) as content:
        assert {str(content[k].dtype) for k in content.files} == {"uint8"}
    reader = human._read_published
    calls: list[Path] = []
    monkeypatch.setattr(human, "_read_published", lambda path: calls.append(path) or reader(path))
    assert np.array_equal(read_labels("cifar10n", tmp_path / "a.pt")["worst"], ARRAYS["worst"])
    assert not calls
    for damage in (b"", b"PK\x03\x04", cached.read_bytes()[:-200]):
        cached.write_bytes(damage)
        read_labels("cifar10n", tmp_path / "a.pt")
        assert calls.pop()
    np.savez(cached, **{f"label_{n}": (a + 1) % 10 for n, a in ARRAYS.items()})
    again = read_labels("cifar10n", tmp_path / "a.pt")
    assert np.array_equal(again["worst"], ARRAYS["worst"])
    assert calls


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "file" / "below"))
    use(monkeypatch, tmp_path / "a.pt")
    assert len(read_labels("cifar10n", tmp_path / "a.pt")["worst"]) == N


def refusal(tmp_path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_labels("cifar10n", tmp_path / "a.pt")
    assert "\n" not in str(caught.value)
    assert "a.pt" in str(caught.value)
    return str(caught.value)


def changed(name: str, array: Any) -> dict[str, Any]:
    return {**ARRAYS, name: array}


def test_another_file_is_never_opened(tmp_path: Path, monkeypatch) -> None:
    use(monkeypatch, tmp_path / "a.pt", digest="sha256:" + "0" * 64)
    monkeypatch.setattr(human, "_read_published", lambda path: pytest.fail("opened"))
    assert "the published file, sha256 0000" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (changed("worst", np.where(np.arange(N) == 3, 10, 1)), "worse_label: label 10 at image 3"),
        (changed("worst", np.full(N, -1)), "label -1 at image 0"),
        (changed("worst", ARRAYS["worst"].astype(np.int32)), "cannot be read"),
        (changed("worst", np.float64(ARRAYS["worst"])), "cannot be read"),
        (changed("worst", ARRAYS["worst"][:-1]), "worse_label: int64 of shape (39,)"),
    ],
)
def test_arrays_that_cannot_be_labels(tmp_path: Path, monkeypatch, arrays, said: str) -> None:
    use(monkeypatch, tmp_path / "a.pt", arrays, count=N)
    assert said in refusal(tmp_path)


def test_arrays_that_are_missing_or_not_the_published(tmp_path: Path, monkeypatch) -> None:
    fewer = {name: a for name, a in ARRAYS.items() if name != "worst"}
    use(monkeypatch, tmp_path / "a.pt", fewer)
    table = human.LABEL_FILES["cifar10n"]
    known = {**table.arrays, "worst": ("worse_label", "")}
    monkeypatch.setitem(human.LABEL_FILES, "cifar10n", replace(table, arrays=known))
    assert "worse_label: missing" in refusal(tmp_path)
    use(monkeypatch, tmp_path / "a.pt")
    table = human.LABEL_FILES["cifar10n"]
    known = {**table.arrays, "worst": ("worse_label", "0" * 64)}
    monkeypatch.setitem(human.LABEL_FILES, "cifar10n", replace(table, arrays=known))
    assert "the published labels, 0000" in refusal(tmp_path)


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [[1, 2], {"clean_label": Evil()}, b"no archive", b"pickle"])
def test_what_is_no_dict_of_arrays_runs_nothing(tmp_path: Path, monkeypatch, content: Any) -> None:
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, tmp_path / "a.pt")
    if content == b"pickle":
        (tmp_path / "a.pt").write_bytes(pickle.dumps({"clean_label": Evil()}))
    elif isinstance(content, bytes):
        (tmp_path / "a.pt").write_bytes(content)
    else:
        save_pt(tmp_path / "a.pt", content)
    table = human.LABEL_FILES["cifar10n"]
    digest = human.checksum(tmp_path / "a.pt")
    monkeypatch.setitem(human.LABEL_FILES, "cifar10n", replace(table, digest=f"sha256:{digest}"))
    refusal(tmp_path)
    assert not (tmp_path / "evil").exists()


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "root"))
    name = LABEL_FILES["cifar10n"].name
    places = [tmp_path / "near" / "cifar-n", tmp_path / "near", tmp_path / "root" / "cifar-n"]
    for place in reversed(places):
        place.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
        assert find_labels("cifar10n", None, [tmp_path / "near"]) == place / name
    for given in (tmp_path / "near", tmp_path / "near" / name):
        assert find_labels("cifar10n", str(given), []) == tmp_path / "near" / name
    with pytest.raises(InputError, match=r"CIFAR-10_human.pt not found in .*gone"):
        find_labels("cifar10n", str(tmp_path / "gone"), [tmp_path / "near"])
    monkeypatch.setenv("PRUNEBENCH_DATA", str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"CIFAR-10_human.pt not found.*data prepare cifar10n"):
        find_labels("cifar10n", None, [])


def test_fetching_compares_the_checksum(tmp_path: Path, monkeypatch) -> None:
    use(monkeypatch, tmp_path / "site" / LABEL_FILES["cifar10n"].name)
    table = human.LABEL_FILES["cifar10n"]
    with served(tmp_path / "site") as address:
        monkeypatch.setattr(human, "URL", address)
        path = fetch_labels("cifar10n", tmp_path / "got")
        assert len(read_labels("cifar10n", path)["worst"]) == N
        monkeypatch.setitem(human.LABEL_FILES, "cifar10n", replace(table, digest="sha256:00"))
        with pytest.raises(InputError, match="the published file"):
            fetch_labels("cifar10n", tmp_path / "other")


# What follows needs the published files.

AGGREGATE = """
.9430 .0056 .0146 .0004 .0008 .0002 .0004 .0002 .0318 .0030
.0104 .9480 .0002 .0004 .0000 .0000 .0000 .0002 .0046 .0362
.0160 .0124 .9310 .0064 .0084 .0056 .0068 .0016 .0088 .0030
.0198 .0172 .0438 .8252 .0064 .0574 .0088 .0016 .0098 .0100
.0182 .0164 .0376 .0150 .8312 .0208 .0048 .0376 .0112 .0072
.0104 .0076 .0214 .0516 .0042 .8920 .0014 .0040 .0038 .0036
.0128 .0108 .0266 .0200 .0086 .0052 .9002 .0000 .0108 .0050
.0062 .0026 .0054 .0046 .0100 .0114 .0000 .9552 .0034 .0012
.0104 .0080 .0008 .0006 .0002 .0000 .0006 .0000 .9738 .0056
.0156 .0732 .0000 .0000 .0000 .0000 .0002 .0002 .0114 .8994
"""
WORST = """
.6502 .0656 .0718 .0192 .0194 .0228 .0188 .0166 .0846 .0310
.0430 .5922 .0152 .0264 .0174 .0154 .0136 .0136 .0158 .2474
.0554 .0366 .6320 .0458 .0594 .0476 .0498 .0332 .0236 .0166
.0396 .0344 .0792 .4872 .0426 .2056 .0470 .0238 .0212 .0194
.0394 .0326 .0700 .0402 .4882 .1064 .0390 .1516 .0210 .0116
.0330 .0282 .0528 .1830 .0404 .5802 .0274 .0294 .0122 .0134
.0380 .0382 .0840 .0758 .0508 .0576 .5936 .0286 .0204 .0130
.0398 .0280 .0242 .0220 .0512 .0618 .0230 .7216 .0174 .0110
.0818 .0728 .0218 .0144 .0210 .0186 .0164 .0218 .6834 .0480
.0416 .2820 .0174 .0206 .0176 .0176 .0120 .0144 .0262 .5506
"""


def published(dataset: str) -> dict[str, torch.Tensor]:
    if not PUBLISHED:
        pytest.skip("PRUNEBENCH_DATA is unset: no published label files")
    path = find_labels(dataset, None, [Path(PUBLISHED)])
    return {name: torch.from_numpy(y) for name, y in read_labels(dataset, path).items()}


def test_noise_of_cifar10n() -> None:
    found = published("cifar10n")
    clean = found.pop(CLEAN)
    wrong = {name: int((labels != clean).sum()) for name, labels in found.items()}
    assert wrong == {"aggregate": 4505, "worst": 20104, "random1": 8617, "random2": 9061,
                     "random3": 8820}  # fmt: skip
    for name, text in (("aggregate", AGGREGATE), ("worst", WORST)):
        wanted = torch.tensor([float(x) for x in text.split()], dtype=torch.float64).view(10, 10)
        counts = transition_counts(clean, found[name], 10).double()
        torch.testing.assert_close(counts / 5000, wanted, rtol=0, atol=5.1e-5)
    random = torch.stack([found[f"random{k}"] for k in (1, 2, 3)])
    assert torch.equal(found["worst"] != clean, (random != clean).any(0))


def test_noise_of_cifar100n() -> None:
    found = published("cifar100n")
    clean, noisy = found[CLEAN], found[""]
    wrong = noisy != clean
    assert int(wrong.sum()) == 20100
    share = transition_counts(clean, noisy, 100).double() / 500
    rate = 1 - share.diagonal()
    assert (int(rate.argmin()), int(rate.argmax())) == (82, 4)
    assert (round(rate.min().item(), 3), round(rate.max().item(), 3)) == (0.080, 0.874)
    groups = torch.tensor(CIFAR100.coarse)
    within = groups[noisy[wrong]] == groups[clean[wrong]]
    assert round(within.double().mean().item(), 3) == 0.343
    assert round((groups[noisy] != groups[clean]).double().mean().item(), 5) == 0.26404
    off = share.clone().fill_diagonal_(0)
    pairs = [divmod(int(p), 100) for p in off.flatten().argsort(descending=True, stable=True)[:6]]
    assert set(pairs) == {(81, 13), (32, 46), (59, 52), (99, 78), (97, 34), (52, 96)}
    flips = {(81, 13): 0.326, (32, 46): 0.280, (59, 52): 0.250, (99, 78): 0.250,
             (97, 34): 0.232, (52, 96): 0.226}  # fmt: skip
    assert {pair: round(off[pair].item(), 3) for pair in pairs} == flips
    outnumbered = (off.max(1).values > share.diagonal()).nonzero().flatten()
    assert outnumbered.tolist() == [59, 74, 81]


@pytest.mark.parametrize("dataset", ["cifar10n", "cifar100n"])
def test_synthetic_noise_is_exact_in_every_class(dataset: str) -> None:
    clean = published(dataset)[CLEAN]
    family = CIFAR10 if dataset == "cifar10n" else CIFAR100
    classes, groups = len(family.class_names), family.coarse or None
    size = 50_000 // classes
    assert clean.bincount().tolist() == [size] * classes
    untouched = {"asym_pairs": {0, 1, 6, 7, 8}, "asym_digits": {0, 1, 4, 8, 9}}
    for name, rule in RULES.items():
        if rule.classes not in (0, classes) or (rule.grouped and groups is None):
            continue
        for rate in (0.2, 0.4999, 0.8):
            found = inject(clean, name, rate, classes, 5, groups=groups)
            wrong = clean[found.flipped].bincount(minlength=classes).tolist()
            exact = int(rate * size + 0.5)
            if name == "symmetric_incl":  # some draws are the true class
                assert all(0 < count <= exact for count in wrong)
                assert sum(wrong) < exact * classes
                continue
            skipped = untouched.get(name, set())
            assert wrong == [0 if c in skipped else exact for c in range(classes)]
            if rule.grouped:
                coarse = torch.tensor(groups)
                assert torch.equal(coarse[found.labels], coarse[clean])
