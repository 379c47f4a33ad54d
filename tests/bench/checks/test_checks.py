"""The conformance suite: right methods pass, and each violation fails its own check alone."""

import sys
import unittest

import numpy as np
import pytest
import torch

from prunebench.bench.checks import Report, Result, check_method, checks_for
from prunebench.bench.checks.guard import global_state
from prunebench.bench.checks.population import simulate_population
from prunebench.bench.checks.run import CHECKS, describe, run_check
from prunebench.bench.checks.simulate import choose
from prunebench.bench.checks.subject import find
from prunebench.errors import InputError
from prunebench.methods.base import Sampler, ScorePruner, Subset
from prunebench.methods.compose import list_methods
from prunebench.options import Option
from support.asking import Asking, Sharing
from support.broken import BROKEN, GOOD, cases, declared, good, inputs, results
from support.command import prunebench

torch.set_num_threads(1)

METHODS = sorted(info.name for info in list_methods() if info.target.__module__.startswith("prune"))
METHODS.remove("ids")  # keeps as many samples as its file names, and no other number
VARIANTS = [
    ("grand", {"repeats": 3}),
    ("forgetting", {"balance": False, "never_learned": "max"}),
    ("prune4rel", {"balance": False}),
    ("graph-cut", {"on": "features"}),
    ("gradmatch", {"target": "reference"}),
    ("glister", {"step": "sum", "balance": False}),
    ("moso", {"balance": True, "exact": False}),
    ("ssp", {"side": "easy"}),
    ("divbs", {"rule": "argmax"}),
    ("rs2", {"tail": "wrap"}),
    ("rs2", {"replacement": True, "balanced": True}),
    ("rcap", {"beta": 0.01, "saturation": "released", "rounding": "ceil", "clip": 5.0}),
    ("orderdp", {"pool": 0.6, "top": 0.5, "unseen_score": None}),
    ("selective-backprop", {"start": 0.5, "end": 0.9, "interrupt": 2}),
    ("infobatch", {"unseen_score": None, "exact_weights": True}),
    ("seta", {"orientation": "negated", "unseen_score": None}),
    ("ies", {"sticky_empty": True, "threshold": 0.5}),
    ("infobatch+align", {"align.warmup": "none", "align.missing": "carry"}),
    ("infobatch+align", {"align.reference": "small-loss", "align.reference_at": "epoch_start"}),
    ("seta+align", {"align.undefined": "minus_one", "align.correlation": "spearman"}),
]


@pytest.mark.parametrize("name", METHODS)
def test_built_in_methods_keep_their_contract(name, tmp_path):
    if name == "scores":
        np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=300))
        name = f"scores:{tmp_path / 's.npy'}"
    report = check_method(name)
    report.raise_for_failures()
    assert [r.check for r in report.results] == list(CHECKS)
    assert sum(r.status == "passed" for r in report.results) >= 14


@pytest.mark.parametrize(("name", "params"), VARIANTS, ids=lambda v: str(v).replace(" ", ""))
def test_built_in_methods_keep_their_contract_under_other_options(name, params):
    check_method(name, params).raise_for_failures()


@pytest.mark.parametrize("name", ["balanced", "strata", "beta"])
def test_built_in_samplers_keep_their_contract_with_scores_of_each_kind(name):
    report = check_method(name)
    report.raise_for_failures()
    pairs = {result.check.partition("/")[0] for result in report.results}
    assert pairs == {f"{score}@{name}" for score in ("el2n", "margin", "moderate", "aum")}


class LeavesOutUndefined(Sampler):
    """Takes a NaN for a low score."""

    options = {"power": Option(1.0, "nothing", low=0.5, high=2.0)}

    def keep(self, scored, k, rng):
        scores = scored.scores.nan_to_num(-torch.inf)
        order = rng.permutation(len(scores))
        return order[scores[order].argsort(stable=True, descending=True)][:k].sort().values, {}


def test_a_sampler_is_checked_by_class_and_by_file(tmp_path):
    failed = {result.check for result in check_method(LeavesOutUndefined).failures}
    assert failed == {f"{score}@LeavesOutUndefined/nan-scores"
                      for score in ("el2n", "margin", "moderate", "aum")}  # fmt: skip
    file = tmp_path / "one_of_two.py"
    file.write_text(SAMPLER_FILE)
    said = prunebench("check", file)
    assert said.code == 1
    assert "FAIL  moderate@one-of-two/exact-k" in said.out
    assert "FAIL  moderate@one-of-two/options" not in said.out


SAMPLER_FILE = """
from prunebench import Sampler, register_sampler


@register_sampler("one-of-two")
class OneOfTwo(Sampler):
    def keep(self, scored, k, rng):
        return rng.sample(len(scored), min(k, len(scored) // 2)), {}
"""


def test_a_score_that_is_left_out_where_it_is_undefined_fails():
    class Leaves(ScorePruner):
        def scores(self, evidence):
            return torch.arange(len(evidence.labels)).float()

        def keep(self, evidence, k, rng):
            scores = self.scores(evidence).nan_to_num(-1.0)
            return Subset(scores.argsort(descending=True)[:k], scores)

    assert "nan-scores" in {result.check for result in check_method(Leaves).failures}


@pytest.mark.parametrize("method", GOOD)
def test_a_method_that_is_not_registered_passes(method):
    report = check_method(method)
    report.raise_for_failures()
    assert report.ok
    assert report.name == method.__name__


@pytest.mark.parametrize(
    ("check", "method"),
    [(check, method) for check, methods in BROKEN.items() for method in methods],
    ids=lambda v: v if isinstance(v, str) else v.__name__,
)
def test_a_violation_fails_its_own_check_alone_with_one_line(check, method):
    report = check_method(method)
    assert {r.check: r.detail for r in report.failures}.keys() == {check}
    (failure,) = report.failures
    assert 15 < len(failure.detail) < 250
    assert "\n" not in failure.detail
    assert not report.ok
    with pytest.raises(AssertionError, match=f"{method.__name__}: {check}: "):
        report.raise_for_failures()


def test_every_check_has_a_pruner_that_breaks_it_and_a_contract_in_words():
    assert BROKEN.keys() == CHECKS.keys()
    for check in CHECKS:
        assert describe(check).endswith(".")


@pytest.mark.parametrize(
    ("method", "check", "words"),
    [
        (results.OneTooFew, "exact-k", "k = 84: expected 84 samples, got 83"),
        (results.Duplicates, "valid-indices", "hold a sample twice"),
        (results.NumpyRandom, "global-random-state", "numpy.random"),
        (inputs.ReadsCleanLabels, "clean-labels", "reads Evidence.clean_labels"),
        (inputs.LooksForTest, "clean-labels", "reads TrainView.test"),
        (inputs.Undeclared, "declared-inputs", "was not declared in needs()"),
        (inputs.RelabelsInPlace, "inputs-untouched", "labels was written to"),
        (cases.DropsNaN, "nan-scores", "40 of 40 samples whose score is NaN are left out"),
        (cases.FirstAmongTies, "ties", "0 of class 3 are chosen"),
        (cases.Starves, "budget", "budget unreachable"),
        (declared.LateSnapshot, "needs", "a recipe of 2 has 1..2"),
        (cases.StoresALambda, "state-round-trip", "state_dict()['rule'] is a function"),
    ],
)
def test_a_failure_says_what_was_expected_and_what_came(method, check, words):
    result = run_check(check, find(method)[0])
    assert result.status == "failed"
    assert words in result.detail


def test_a_dynamic_method_that_reads_undeclared_signals_is_named():
    details = {r.check: r.detail for r in check_method(inputs.UndeclaredSignal).failures}
    assert details["declared-inputs"] == "reads what it does not declare: margin"


def test_a_method_that_raises_fails_and_hides_nothing():
    class Raises(good.GoodStatic):
        def keep(self, evidence, k, rng):
            raise ZeroDivisionError("oops")

    report = check_method(Raises)
    details = {r.check: r.detail for r in report.failures}
    assert details["exact-k"] == "raises ZeroDivisionError: oops"
    assert "options" not in details


def test_checks_leave_the_global_generators_alone():
    before = global_state()
    check_method(good.GoodDynamic)
    for check in checks_for(results.TorchRandom):
        if check.check in ("deterministic", "ties", "budget", "zero-is-full"):
            check()
    assert global_state() == before


def test_checks_for_pytest_pass_fail_and_skip():
    whole = {c.check: c for c in checks_for(good.GoodStatic)}
    assert list(whole) == list(CHECKS)
    assert str(whole["ties"]) == "GoodStatic/ties"
    whole["ties"]()
    with pytest.raises(unittest.SkipTest, match="no state"):
        whole["state-round-trip"]()
    bad = {c.check: c for c in checks_for(cases.Forgetful)}
    with pytest.raises(AssertionError, match="Forgetful/state-round-trip: an uninterrupted run"):
        bad["state-round-trip"]()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no-such-method", "unknown method 'no-such-method'"),
        ("random+align", "align needs a score-based dynamic pruner"),
        ("nowhere.at_all:Thing", "cannot import 'nowhere.at_all'"),
        ("prunebench.methods.ies:ISE", "has no 'ISE'; accepted: IES (nearest of"),
        ("json:loads", "is no pruner"),
        ("missing.py", "no such file: missing.py"),
        ("scores", "needs an argument; accepted: scores:PATH"),
        (dict, "is no pruner"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(target, words):
    with pytest.raises(InputError) as caught:
        check_method(target)
    assert words in str(caught.value)


def test_an_option_that_does_not_exist_is_bad_input_and_no_failure():
    with pytest.raises(InputError, match="unknown option 'q'"):
        check_method("infobatch", {"q": 1})


PLUGIN = """
from prunebench.methods.base import StaticPruner, Subset, register_method

@register_method("first-{tag}")
class First(StaticPruner):
    def keep(self, evidence, k, rng):
        return Subset(evidence.ids.new_tensor(range(k)))

@register_method("drawn-{tag}")
class Drawn(StaticPruner):
    randomised = True
    def keep(self, evidence, k, rng):
        return Subset(rng.sample(len(evidence.labels), k))
"""


def test_a_file_is_checked_with_all_methods_it_registers(tmp_path, monkeypatch):
    monkeypatch.setattr("prunebench.registry.METHODS._entries", dict(_entries()))
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(tag="a"))
    report = check_method(path)
    assert report.name == str(path)
    assert {r.check.split("/")[0] for r in report.results} == {"first-a", "drawn-a"}
    assert {r.check for r in report.failures} == {"first-a/permutation", "first-a/ties"}
    (tmp_path / "none.py").write_text("x = 1")
    with pytest.raises(InputError, match="the file registers no method"):
        check_method(tmp_path / "none.py")


def _entries():
    from prunebench.registry import METHODS

    METHODS.load()
    return METHODS._entries


def test_a_report_with_skips_only_is_ok():
    report = Report("m", (Result("a", "skipped", "why"), Result("b", "passed")))
    assert report.ok
    report.raise_for_failures()


class TestCommandLine:
    def test_a_good_method(self):
        said = prunebench("check", "random", "--json")
        assert said.code == 0
        assert said.json["ok"] is True
        assert {r["check"] for r in said.json["results"]} == set(CHECKS)

    def test_lines_and_options(self):
        said = prunebench("check", "infobatch", "--param", "r=0.9")
        assert said.code == 0
        lines = said.out.splitlines()
        assert len(lines) == len(CHECKS) + 1
        assert lines[0].split() == ["ok", "options"]
        assert lines[-1].startswith("infobatch: 19 passed, 1 skipped in ")

    def test_a_broken_method_exits_1(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        (tmp_path / "half_done.py").write_text(PLUGIN.format(tag="b"))
        said = prunebench("check", "half_done:First")
        assert said.code == 1
        assert "FAIL  ties" in said.out
        assert "class 3" in said.out

    @pytest.mark.parametrize(
        "words",
        [["no-such"], ["random", "--param", "a=1"], ["gone.py"], ["random", "--param", "a"]],
    )
    def test_bad_input_exits_2_with_one_line(self, words):
        said = prunebench("check", *words)
        assert said.code == 2
        assert said.out == ""
        assert len(said.err.splitlines()) == 1


def test_batches_are_simulated_as_the_trainer_makes_them(monkeypatch):
    """Shares, batches without scores and mean losses of batches."""
    seen = []
    plan = Asking.plan

    def watched(self, progress, tables, rng):
        seen.append((tables.signal("batch_loss").clone(), tables.loss.clone()))
        return plan(self, progress, tables, rng)

    monkeypatch.setattr(Asking, "plan", watched)
    population = simulate_population()
    for kind in (Asking, Sharing):
        (subject,) = find(kind)
        choices = choose(subject, population)
    sizes = {(len(c.indices), len(c.pool)) for c in choices}
    assert {(kept, size) for kept, size in sizes if kept == size}
    assert {(kept, size) for kept, size in sizes if kept == size // 4}
    means, losses = seen[1]
    trained = torch.arange(len(means)) % 3 != 0
    assert torch.equal(means.isfinite(), trained)
    assert float(means[trained].mean()) == pytest.approx(float(losses[trained].mean()), rel=0.02)
    assert 1 < len(means[trained].unique()) < int(trained.sum()) / 20
