"""Names of methods, and ranking by precomputed scores."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prunebench.errors import InputError
from prunebench.methods.base import Card, Plan, ScoreBasedPruner, register_method
from prunebench.methods.compose import list_methods, resolve_method
from prunebench.methods.precomputed import Scores, read_scores
from prunebench.registry import METHODS, Registry, UnknownName


def test_plain_names():
    info = resolve_method("infobatch")
    assert (info.name, info.version, info.kind) == ("infobatch", "1", "dynamic")
    assert not info.aligned
    assert info.clean_data == ""
    assert info.build({"r": 0.3}).params["r"] == 0.3
    assert resolve_method("divbs").kind == "batch"
    assert resolve_method("random-dynamic").zero_is_full


def test_align_composes_options_version_and_card():
    info = resolve_method("infobatch+align")
    assert (info.name, info.version, info.kind) == ("infobatch+align", "1+1", "dynamic")
    assert {"r", "delta", "align.window", "align.missing"} <= set(info.options)
    assert info.clean_data == "reference set"
    assert "AlignPrune" in info.card.title
    assert "reference" in info.card.cost
    pruner = info.build({"r": 0.3, "align.window": 9})
    assert pruner.name == "infobatch+align"
    assert pruner.params["r"] == 0.3
    assert pruner.params["align.window"] == 9
    assert pruner.params["align.missing"] == "paired"
    assert pruner.reference
    assert pruner.window == 9
    assert pruner.clean_data == "reference set"
    assert type(pruner).clean_data == ""
    base = resolve_method("infobatch").build({"r": 0.3})
    assert pruner.pruned_share(0.5) == base.pruned_share(0.5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("divbs", "selects by batch"), ("random-dynamic", "without scores")],
)
def test_align_is_refused_by_name(name, reason):
    with pytest.raises(InputError, match=f"score-based dynamic pruner; {name} .*{reason}"):
        resolve_method(f"{name}+align")


def test_unknown_names_give_the_nearest():
    with pytest.raises(UnknownName, match=r"'infobatsch'.*infobatch"):
        resolve_method("infobatsch")
    with pytest.raises(UnknownName, match=r"infobatch\+align"):
        resolve_method("infobach+align")
    with pytest.raises(UnknownName):
        resolve_method("infobatch+align+align")
    with pytest.raises(InputError, match="no argument"):
        resolve_method("infobatch:3")
    with pytest.raises(InputError, match=r"unknown option 'align\.windw'"):
        resolve_method("infobatch+align").build({"align.windw": 3})
    with pytest.raises(InputError, match=r"align\.window"):
        resolve_method("infobatch").build({"align.window": 3})


def test_listing_has_each_method_and_its_variants():
    names = [info.name for info in list_methods()]
    assert len(names) == len(set(names))
    for name in ("infobatch", "seta", "ies"):
        at = names.index(name)
        assert names[at + 1 : at + 3] == [f"{name}+align", f"{name}+bls"]
    assert "divbs" in names
    assert "divbs+align" not in names
    built_in = [i for i in list_methods() if i.target.__module__.startswith("prunebench.")]
    assert len(built_in) >= 24
    for info in built_in:
        assert info.card.title


def test_the_year_of_a_card_is_not_the_number_of_a_preprint():
    assert Card("a", "B et al., C, arXiv 1910.00762, 2019").published == 2019
    assert Card("a", "B et al., C, D 2024 (arXiv 2004.01234)").published == 2024
    assert Card("a", "B et al., C, arXiv 2004.01234").published is None


def test_third_party_methods_compose(monkeypatch):
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    @register_method("upper-half", version=3)
    class UpperHalf(ScoreBasedPruner):
        def prune(self, scores, progress, rng):
            return Plan(scores.argsort()[len(scores) // 2 :])

    info = resolve_method("upper-half+align")
    assert info.version == "3+1"
    assert "upper-half+align" in [m.name for m in list_methods()]
    assert isinstance(info.build(), UpperHalf)
    assert resolve_method("upper-half+bls").version == "3+1"
    assert isinstance(resolve_method("upper-half+bls").build(), UpperHalf)


def test_registry_takes_plus_but_no_final_suffix():
    registry = Registry("method", "prunebench.methods")
    registry.register("full+reference")(object())
    for bad in ("x+align", "x+bls", "a:b", "A", ""):
        with pytest.raises(InputError, match="malformed"):
            registry.register(bad)


def evidence(ids):
    labels = torch.zeros(len(ids), dtype=torch.int64)
    return SimpleNamespace(ids=torch.tensor(ids), labels=labels, original_size=5)


def test_scores_from_files(tmp_path, kit):
    values = np.array([0.5, 4.0, 1.0, 3.0, 2.0])
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", ids=np.array([4, 2, 0, 1, 3]), scores=values[[4, 2, 0, 1, 3]])
    lines = ["id,score", *(f"{i},{s}" for i, s in enumerate(values))]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    for suffix in ("npy", "npz", "csv"):
        path = tmp_path / f"a.{suffix}"
        ids, scores = read_scores(path, 5)
        assert ids.tolist() == [0, 1, 2, 3, 4]
        assert scores.tolist() == values.tolist()
        info = resolve_method(f"scores:{path}")
        assert info.name == "scores"
        assert info.fixed == {"path": str(path)}
        method = info.build({"side": "high"})
        # Positions 0..3 are the original samples 1, 2, 4, 3.
        subset = method.keep(evidence([1, 2, 4, 3]), 2, kit.stream())
        assert subset.indices.tolist() == [0, 3]
        assert subset.scores.tolist() == [4.0, 1.0, 2.0, 3.0]
        assert subset.info["tied_at_cut"] == 0
        low = info.build({"side": "low"}).keep(evidence([1, 2, 4, 3]), 2, kit.stream())
        assert low.indices.tolist() == [1, 2]
    first = Scores(path=str(tmp_path / "a.npy"))
    assert first.identity() != Scores(path=str(tmp_path / "a.csv")).identity()
    assert "path" not in first.portable()


def test_bad_score_files(tmp_path, kit):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("executed",))

    np.save(tmp_path / "pickled.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps([1]))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.save(tmp_path / "nan.npy", np.array([1.0, np.nan]))
    np.save(tmp_path / "flat.npy", np.ones((2, 2)))
    np.savez(tmp_path / "twice.npz", ids=np.array([1, 1]), scores=np.ones(2))
    np.savez(tmp_path / "lacks.npz", ids=np.array([1, 2]))
    (tmp_path / "columns.csv").write_text("a,b\n1,2\n")
    (tmp_path / "other.txt").write_text("1")
    names = ["pickled.npy", "raw.npy", "text.npy", "nan.npy", "flat.npy", "twice.npz", "lacks.npz",
             "columns.csv", "other.txt", "missing.npy"]  # fmt: skip
    for name in names:
        with pytest.raises(InputError, match=name) as caught:
            read_scores(tmp_path / name, 2)
        assert "\n" not in str(caught.value)
    np.savez(tmp_path / "short.npz", ids=np.arange(3), scores=np.arange(3.0))
    method = Scores(path=str(tmp_path / "short.npz"))
    with pytest.raises(InputError, match="1 of 3 training samples have no score"):
        method.keep(evidence([0, 2, 5]), 1, kit.stream())
    with pytest.raises(InputError, match="no such file"):
        Scores().keep(evidence([0]), 1, kit.stream())
