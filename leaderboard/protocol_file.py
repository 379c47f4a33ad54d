"""What a leaderboard compares and claims: declared before the results, hashed, and printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from prunebench.leaderboard.filters import Filters
from prunebench.leaderboard.headline import MetricName
from prunebench.problems import FILE_NAME, FILE_NAME_WORDS, first_problem
from prunebench.record import content_key
from prunebench.userfiles import read_toml

#: Shares of full training's final accuracy that runs are timed to, unless others are declared.
TARGETS = (0.95, 0.99)
#: Filters of later versions: left out of the content where they are not used, so that earlier
#: protocols keep their digests.
_LATER = (
    "dataset", "criterion", "recipe", "model", "budget", "where", "imbalance", "corrupt",
)  # fmt: skip
#: Other fields of later versions, likewise, with what they are where nobody sets them.
_USUAL: dict[str, Any] = {"metric": "accuracy", "target": list(TARGETS)}


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class ProtocolFile(Filters):
    """The protocol file of a leaderboard; its filters keep only some of the records.

    Attributes:
        name, version: Identity; a change of rules is a new version.
        alpha: Level of every family.
        margin: Points of accuracy that "lossless" may lose (non-inferiority).
        rope: Points within which two methods are practically equal.
        reference: Row that all differences, cell marks, wins and P(better) refer to; "lossless"
            and time ratios refer to full training whatever it is.
        diverged: Whether a diverged run counts with its final accuracy or as chance.
        metric: What the board is about: tests, ranks, marks and margins are of it.
        target: Shares of full training's final accuracy, ascending; the tables of samples to an
            accuracy say when runs reach them.
        rows: ``complete`` ranks only rows with every cell; ``intersect`` drops cells until every
            row is complete, and lists them.
        planned: Pairs (a, b) of row labels whose difference a - b belongs to the confirmatory
            family, beside every base method and its ``+align`` variant.
    """

    name: str = Field("default", pattern=FILE_NAME, description=FILE_NAME_WORDS)
    version: int = Field(1, ge=1)
    alpha: float = Field(0.05, gt=0, lt=0.5)
    margin: float = Field(0.5, gt=0, le=100)
    rope: float = Field(0.5, ge=0, le=100)
    reference: str = "full"
    diverged: Literal["value", "chance"] = "value"
    metric: MetricName = "accuracy"
    target: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(_listed),
        Field(min_length=1, max_length=5),
    ] = TARGETS  # fmt: skip
    rows: Literal["complete", "intersect"] = "complete"
    planned: tuple[tuple[str, str], ...] = ()

    @field_validator("target")
    @classmethod
    def _ascending(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(shares)))

    @field_validator("planned")
    @classmethod
    def _different(cls, pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        if any(a == b for a, b in pairs):
            raise ValueError("a planned pair names two different rows")
        if len({frozenset(pair) for pair in pairs}) < len(pairs):
            raise ValueError("a planned pair is listed twice")
        return pairs

    @property
    def content(self) -> dict[str, Any]:
        """The protocol as JSON values."""
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if (value is not None or name not in _LATER)
            and (name not in _USUAL or value != _USUAL[name])
        }

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical content."""
        return content_key(self.content)

    def narrowed(self, filters: Filters) -> ProtocolFile:
        """The same protocol with further filters; one that is given twice holds as given last."""
        where = {**(self.where or {}), **(filters.where or {})} or None
        given = {name: getattr(filters, name) for name in filters.given}
        return self.model_copy(update={**given, "where": where})


def read_protocol(path: Path) -> ProtocolFile:
    """Reads a protocol file (TOML).

    Raises:
        InputError: No such file, malformed TOML, or a field that is not accepted.
    """
    content = read_toml(path)
    try:
        return ProtocolFile.model_validate(content)
    except ValidationError as error:
        raise first_problem(error, str(path), {"": ProtocolFile}) from None
