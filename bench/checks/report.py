"""Results of checks: passed, failed with one clear line, or skipped with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "skipped"]


class Violation(AssertionError):
    """The method breaks its contract; the message is one line, what was expected and what came."""


class NotApplicable(Exception):
    """The check has nothing to test on this method; the message is the reason."""


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Attributes:
        check: Id of the check; ``METHOD/check`` where a file holds several methods.
        status: ``passed``, ``failed`` or ``skipped``.
        detail: One line: the violation, the reason of a skip, or a remark.
        seconds: Time it took; informative only.
    """

    check: str
    status: Status
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All results of one target.

    Attributes:
        name: The method, or the file that holds several.
        results: In the order of the checks.
    """

    name: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; skips are fine."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        """The failed results."""
        return tuple(result for result in self.results if result.status == "failed")

    @property
    def seconds(self) -> float:
        """Time of all checks together."""
        return sum(result.seconds for result in self.results)

    def raise_for_failures(self) -> None:
        """Does nothing where all is well.

        Raises:
            AssertionError: One line per failed check.
        """
        if self.failures:
            lines = [f"{self.name}: {r.check}: {r.detail}" for r in self.failures]
            raise AssertionError("\n".join(lines))
