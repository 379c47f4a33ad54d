"""Where open-set noise takes its images from: from a user's words to a part of the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunebench.bench.spec.run_spec import Named
from prunebench.bench.train.task import OUTSIDE
from prunebench.datasets.noise.openset import parse_last
from prunebench.datasets.pca import PCA
from prunebench.datasets.source import DataSource, data_mark, identity_of, named_source
from prunebench.errors import InputError
from prunebench.options import Value
from prunebench.record import OPENSET

#: Option of data sets whose vectors have axes of their own.
(_COMPONENTS,) = PCA
_ACCEPTED = "last:K, or a data set (with outside.NAME its options)"


@dataclass(frozen=True)
class Outside:
    """Attributes:
    setting: As the key holds it; None for the default.
    opens: Options of the data set on this machine, paths included; None where there is none.
    """

    setting: str | Named | None = None
    opens: Mapping[str, Value] | None = None


def outside_source(params: Mapping[str, Any]) -> DataSource | None:
    """The data set that fields of a noise setting name; None for none.

    Raises:
        InputError: An unknown data set or option.
    """
    text = params.get(OUTSIDE)
    options = {k.removeprefix(f"{OUTSIDE}."): v for k, v in params.items() if k != OUTSIDE}
    if not isinstance(text, str) or parse_last(text) is not None:
        if options or (text is not None and not isinstance(text, str)):
            shown = f"{text!r}" if not options else f"options for {text!r}"
            raise InputError(shown, where=f"noise_params: {OUTSIDE}",
                             accepted=_ACCEPTED)  # fmt: skip
        return None
    try:
        return named_source(text, options)
    except InputError as error:
        raise InputError(error.what, where=f"noise_params: {OUTSIDE}: {error.where}".rstrip(": "),
                         accepted=error.accepted) from None  # fmt: skip


def resolve_outside(
    kind: str,
    params: Mapping[str, Any],
    dataset: Named,
    content: tuple[Mapping[str, Any], str] | None = None,
) -> Outside:
    """Resolves the fields ``outside`` and ``outside.NAME`` of a noise setting.

    Args:
        kind: Of the noise.
        params: These fields alone.
        dataset: The task's own data set.
        content: Options and content identity of the other one, where they are known.

    Raises:
        InputError: Another noise than ``openset``, an unknown data set, the task's own, or
            principal components of either.
    """
    if not params:
        return Outside()
    if kind != OPENSET:
        raise InputError(f"{OUTSIDE!r} with noise {kind}", where="noise_params",
                         accepted=f"with {OPENSET}:RATE")  # fmt: skip
    source = outside_source(params)
    if source is None:
        text = params.get(OUTSIDE)
        number = None if text is None else parse_last(str(text))
        return Outside(None if number is None else f"last:{number}")
    options, identity = content or (source.portable(), identity_of(source))
    named = Named(
        name=source.name, version=str(source.version), params=dict(options), identity=identity
    )
    if data_mark(named.model_dump()) == data_mark(dataset.model_dump()):  # whatever their limits
        raise InputError(f"{source.name} is the task's own data set",
                         where=f"noise_params: {OUTSIDE}",
                         accepted="last:K, or another data set")  # fmt: skip
    if any(_COMPONENTS in one.params for one in (named, dataset)):
        raise InputError(f"components of {source.name} and {dataset.name} have different axes",
                         where=f"noise_params: {OUTSIDE}",
                         accepted="last:K, or both without pca")  # fmt: skip
    return Outside(named, source.params)


def recorded_outside(setting: Any, given: Mapping[str, Any]) -> Mapping[str, Value] | None:
    """What opens the outside data set of a recorded run on this machine.

    Args:
        setting: ``spec.noise.outside``.
        given: What the user gave as ``--dataset-param outside=...`` and ``outside.NAME=...``, or
            the entry ``outside`` of ``Cell.data``.

    Returns:
        As ``Outside.opens``.

    Raises:
        InputError: A path is missing, or these are other data.
    """
    if not isinstance(setting, Named):
        if given:
            raise InputError("the run has no outside data set", where=f"--dataset-param {OUTSIDE}")
        return None
    opened = given.get(OUTSIDE)
    if isinstance(opened, Mapping):
        given = {f"{OUTSIDE}.{name}": value for name, value in opened.items()}
    where, text = f"--dataset-param {OUTSIDE}", str(given.get(OUTSIDE) or "")
    if text and text.partition(":")[0] != setting.name:
        raise InputError(f"{text!r}", where=where, accepted=f"{setting.name}, as recorded")
    own = {f"{OUTSIDE}.{name}": value for name, value in setting.params.items()}
    source = outside_source({**own, **given, OUTSIDE: text or setting.name})
    if source is None or identity_of(source) != setting.identity:
        raise InputError("these are other data than the record's", where=where)
    if str(source.version) != setting.version:
        raise InputError(f"{source.name} is version {source.version} here", where=where,
                         accepted=f"version {setting.version}, as recorded")  # fmt: skip
    return source.params
