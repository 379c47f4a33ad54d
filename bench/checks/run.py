"""Runs the checks on a method, for the command line and for a package's own pytest."""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prunebench.bench.checks import contract, declarations, training
from prunebench.bench.checks.report import NotApplicable, Report, Result, Status, Violation
from prunebench.bench.checks.subject import Subject, Target, find
from prunebench.bench.train.plan_checks import PlanError

Check = Callable[[Subject], str | None]

#: Every check by id, cheap and basic ones first.
CHECKS: dict[str, Check] = {
    "options": declarations.options,
    "unknown-option": declarations.unknown_option,
    "needs": declarations.needs,
    "valid-indices": contract.valid_indices,
    "exact-k": contract.exact_k,
    "weights": contract.weights,
    "deterministic": contract.deterministic,
    "global-random-state": contract.global_random_state,
    "clean-labels": contract.clean_labels,
    "declared-inputs": contract.declared_inputs,
    "inputs-untouched": contract.inputs_untouched,
    "permutation": contract.permutation,
    "state-round-trip": contract.state_round_trip,
    "nan-scores": contract.nan_scores,
    "ties": contract.ties,
    "empty-class": contract.empty_class,
    "short-recipe": contract.short_recipe,
    "zero-is-full": training.zero_is_full,
    "budget": training.budget,
    "odd-sizes": training.odd_sizes,
}


def describe(check: str) -> str:
    """The contract that a check tests, in one sentence."""
    return " ".join((CHECKS[check].__doc__ or "").split("\n\n")[0].split())


def run_check(check: str, subject: Subject) -> Result:
    """Runs one check; whatever the method raises becomes a result."""
    start = time.perf_counter()
    status: Status = "passed"
    try:
        detail = CHECKS[check](subject) or ""
    except NotApplicable as reason:
        status, detail = "skipped", str(reason)
    except Violation as violation:
        status, detail = "failed", str(violation)
    except PlanError as error:
        status, detail = "skipped", f"cannot run before its plans are valid ({error})"
    except Exception as error:
        status, detail = "failed", f"raises {type(error).__name__}: {error}"
    detail = " ".join(detail.split())
    return Result(check, status, detail, round(time.perf_counter() - start, 3))


def check_method(target: Target, params: Mapping[str, Any] | None = None) -> Report:
    """Runs every check on a method, in seconds and without data.

    Args:
        target: A registered name, ``base+align``, ``name:ARGUMENT``, ``module:Class``, a Pruner
            class, or ``file.py`` (all methods that it registers).
        params: Options of the method.

    Raises:
        InputError: The target does not exist or is no method.
    """
    subjects = find(target, params)
    if len(subjects) == 1:
        only = subjects[0]
        return Report(only.name, tuple(run_check(check, only) for check in CHECKS))
    results = [
        Result(f"{subject.name}/{r.check}", r.status, r.detail, r.seconds)
        for subject in subjects
        for r in (run_check(check, subject) for check in CHECKS)
    ]
    return Report(str(target), tuple(results))


@dataclass(frozen=True)
class BoundCheck:
    """One check of one method, ready to call; ``str`` gives an id for pytest."""

    check: str
    subject: Subject

    def __str__(self) -> str:
        return f"{self.subject.name}/{self.check}"

    def __call__(self) -> None:
        """Runs it.

        Raises:
            AssertionError: The method breaks the contract.
            unittest.SkipTest: The check does not apply; pytest reports it as skipped.
        """
        result = run_check(self.check, self.subject)
        if result.status == "skipped":
            raise unittest.SkipTest(result.detail)
        if result.status == "failed":
            raise AssertionError(f"{self}: {result.detail}")


def checks_for(target: Target, params: Mapping[str, Any] | None = None) -> list[BoundCheck]:
    """The checks as test cases.

    Example::

        @pytest.mark.parametrize("check", checks_for(MyPruner), ids=str)
        def test_contract(check):
            check()

    Args:
        target: As in ``check_method``; ``params`` likewise.
    """
    return [BoundCheck(check, subject) for subject in find(target, params) for check in CHECKS]
