"""One run's result: a small JSON file with a digest over its content."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from prunebench.errors import InputError, visible
from prunebench.files import write_atomic

SCHEMA = 1
Status = Literal["done", "diverged", "failed", "killed", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)
FINAL = ("done", "diverged", "skipped")
#: Start of the identity of a data set whose random draws depend on samples and labels alone; the
#: digest that salts them follows, and after a colon one of what only the key depends on.
OWN_CONTENT = "content:"
#: No imbalance, or no corruption, as users name it.
NONE = "none"
#: Severity of a corruption that names leave out.
USUAL_SEVERITY = 3
#: Rule of label noise that puts images from outside into a task.
OPENSET = "openset"
#: Between the parts of a setting's name.
AND = " + "
#: Before the origin of images from outside, in the name of a label noise.
FROM = " from "
#: Entry of ``Record.info``: how a user calls the data set.
DATA_NAME = "data_name"


class RecordError(InputError):
    """A record that is torn, malformed or was edited."""


class NewerRecord(RecordError):
    """A whole record of a later format: nothing is wrong with it, and it is left alone."""


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN, floats as Python prints them.

    Raises:
        ValueError: The value holds NaN or an infinity, or is no JSON value.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_key(spec: dict[str, Any]) -> str:
    """The key of a specification: first 16 hex digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:16]


def setting_name(spec: Mapping[str, Any]) -> str:
    """Name of what a specification makes of the training split: the label noise, then the class
    imbalance and the corruption of images where there are any.

    Returns:
        ``symmetric:0.4``, ``clean + exp:50``, ``clean + gaussian-noise:0.3 severity 5``.
    """
    parts = [noise_name(spec["noise"])]
    if imbalance := spec.get("imbalance"):
        parts.append(imbalance["name"])
    if corrupt := spec.get("corrupt"):
        parts.append(corruption_name(corrupt))
    return AND.join(parts)


def noise_name(noise: Mapping[str, Any]) -> str:
    """Name of the label noise of a specification, with the origin of images from outside where
    that is not the default: ``openset:0.3 from synthetic``; a user's own data with the start of
    their digest."""
    name, outside = str(noise.get("name")), noise.get("outside")
    if outside is None:
        return name
    if not isinstance(outside, Mapping):
        return f"{name}{FROM}{outside}"
    identity = str(outside.get("identity") or "")
    own = identity.removeprefix(OWN_CONTENT)[:8] if identity.startswith(OWN_CONTENT) else ""
    return f"{name}{FROM}{outside.get('name')}" + f" {own}" * bool(own)


def corruption_name(corrupt: Mapping[str, Any]) -> str:
    """Name of a corruption of a specification, with its severity where that is not the usual."""
    name, severity = str(corrupt["name"]), corrupt.get("severity", USUAL_SEVERITY)
    return name if severity == USUAL_SEVERITY else f"{name} severity {severity}"


def first_difference(a: Any, b: Any) -> tuple[str, Any, Any] | None:
    """Path (``spec.noise.rate``) and values of the first difference inside nested mappings.

    Returns:
        The path and the values of a and b there, None for one that is missing; the path is empty
        where a and b themselves differ. None where they are equal.
    """
    if a == b:
        return None
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted(a.keys() | b.keys()):
            found = first_difference(a.get(name), b.get(name))
            if found is not None:
                return (f"{name}.{found[0]}" if found[0] else name), *found[1:]
    return "", a, b


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Record:
    """What one run was and gave. Kept under 4 kB; tables are artifacts named by digest.

    Attributes:
        key: Content key of ``spec``; also the file's name.
        spec: The full canonical specification.
        status: One of ``STATUSES``.
        reason: Why it was skipped, diverged, failed or killed; empty when done.
        metrics: Numbers by name; accuracies are shares in [0, 1].
        ledger: Counted costs: samples forwarded and back-propagated, steps, seconds excluded.
        artifacts: File name -> {"sha256", "bytes"} below ``artifacts/<key>/``.
        info: Facts about the run that are not numbers to compare (noise digest, ties at the cut).
        timing: Seconds, by name; never compared across devices.
        environment: Device, versions, threads.
        digest: SHA-256 of everything above in canonical form.
    """

    key: str
    spec: dict[str, Any]
    status: str
    reason: str = ""
    metrics: dict[str, float | None] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA
    digest: str = ""

    @property
    def dataset(self) -> str:
        """Name of the data set on boards: the user's own, else the registered one."""
        return str(self.info.get(DATA_NAME) or self.spec["dataset"]["name"])

    def body(self) -> dict[str, Any]:
        """Everything but the digest; the values are the record's own, not copies."""
        return {name: getattr(self, name) for name in _BODY}

    def sealed(self) -> Record:
        """The same record with its digest, non-finite metrics replaced by None and control signs
        of the reason spelled out."""
        metrics = {
            name: value if value is not None and math.isfinite(value) else None
            for name, value in self.metrics.items()
        }
        body = {**self.body(), "metrics": metrics, "reason": visible(self.reason)}
        return Record(**body, digest=_seal(body))

    def dumps(self) -> str:
        """The record as one line of canonical JSON."""
        return canonical({**self.body(), "digest": self.digest})

    def save(self, folder: Path) -> Path:
        """Writes ``<folder>/<key>.json`` atomically and returns its path."""
        path = folder / f"{self.key}.json"
        write_atomic(path, (self.sealed().dumps() + "\n").encode())
        return path


_NAMES = frozenset(f.name for f in fields(Record))
_BODY = tuple(f.name for f in fields(Record) if f.name != "digest")
_TYPES = {
    "key": str, "spec": dict, "status": str, "reason": str, "metrics": dict, "ledger": dict,
    "artifacts": dict, "info": dict, "timing": dict, "environment": dict, "schema": int,
    "digest": str,
}  # fmt: skip


#: Nesting that a record needs at most, with room; and numbers that fit into 64 bits.
_DEEPEST, _WIDEST = 32, 2**63
_NUMBERS: dict[str, set[type]] = {
    "metrics": {float, int, type(None)}, "ledger": {float, int}, "timing": {float, int},
}  # fmt: skip


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _seal(body: dict[str, Any]) -> str:
    return _digest(canonical(body))


def _wide(values: Iterable[Any]) -> bool:
    return any(type(value) is int and not -_WIDEST <= value < _WIDEST for value in values)


#: Nineteen digits may go beyond 64 bits.
_MANY_DIGITS = re.compile(r"\d{19}")


def any_wide(value: Any) -> bool:
    """Whether an integer anywhere takes more than 64 bits."""
    if isinstance(value, dict | list):
        return any(map(any_wide, value.values() if isinstance(value, dict) else value))
    return _wide((value,))


def _depth(value: Any, left: int = _DEEPEST) -> bool:
    """Whether nesting ends within some levels."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return left > 0 and all(_depth(item, left - 1) for item in items)
    return True


def _fault(body: dict[str, Any]) -> str:
    """Field whose values have a wrong type; empty where there is none."""
    for name, kinds in _NUMBERS.items():
        values = body[name].values()
        found = set(map(type, values))
        if not found <= kinds or (int in found and _wide(values)):
            return name
    for item, entry in body["artifacts"].items():
        if not (
            type(entry) is dict
            and type(entry.get("sha256")) is str
            and type(entry.get("bytes")) is int
        ):
            return f"artifacts.{item}"
    return ""


def _canonical(given: bytes, digest: str, body: str) -> bool:
    """Whether a record's text is its body's canonical one with the digest in its place; compared,
    for writing it anew takes as long as reading it."""
    mark = f'"digest":"{digest}",'.encode()
    before, _, after = given.partition(mark)
    return after.startswith(b'"environment":') and before + after == body.encode()


def _encodable(text: str) -> bool:
    if "\\ud" not in text:
        return True
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_newer(body: dict[str, Any]) -> bool:
    """Whether this is a whole record of a later format; a flipped bit makes none."""
    schema = body.get("schema")
    if type(schema) is not int or schema <= SCHEMA:
        return False
    try:
        return _seal({k: v for k, v in body.items() if k != "digest"}) == body.get("digest")
    except (ValueError, RecursionError):
        return False


def parse(data: bytes | str, where: str = "record") -> Record:
    """Reads a record and checks that it is whole and unchanged.

    Args:
        data: The file's content.
        where: Its path, for messages.

    Raises:
        NewerRecord: It is whole, in a format of the future.
        RecordError: Not JSON, fields missing or foreign, values of a wrong type, key or digest that
            does not match, or a text that is not the record's canonical one (a name that occurs
            twice, say).
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not a JSON record ({error})", where=where) from None
    if isinstance(body, dict) and _is_newer(body):
        raise NewerRecord(
            f"schema {body['schema']}, written by a newer prunebench", where=where,
            accepted=f"schema {SCHEMA}: upgrade prunebench, or use another results folder",
        )  # fmt: skip
    if not isinstance(body, dict) or body.keys() != _NAMES:
        raise RecordError("not a prunebench record (fields missing or foreign)", where=where)
    for name, kind in _TYPES.items():
        if type(body[name]) is not kind:
            raise RecordError(f"field {name!r} has a wrong type", where=where)
    if body["schema"] != SCHEMA:
        raise RecordError(f"schema {body['schema']}", where=where, accepted=f"schema {SCHEMA}")
    if body["status"] not in STATUSES:
        raise RecordError(f"status {body['status']!r}", where=where, accepted=", ".join(STATUSES))
    fault = _fault(body)
    if fault:
        raise RecordError(f"field {fault!r} has a wrong type", where=where)
    record = Record(**body)
    try:
        text = canonical(record.body())
        if text.count("[") + text.count("{") > _DEEPEST and not _depth(body):
            raise RecordError(f"nested deeper than {_DEEPEST} levels", where=where)
        if _MANY_DIGITS.search(text) and any_wide(body):
            raise RecordError("holds a number of more than 64 bits", where=where)
        digest, key = _digest(text), content_key(record.spec)
    except RecordError:
        raise
    except (ValueError, RecursionError):
        raise RecordError("holds numbers that are not finite", where=where) from None
    if digest != record.digest:
        raise RecordError("digest mismatch: the record was edited or torn", where=where)
    if key != record.key:
        raise RecordError(f"key {record.key} does not belong to its spec ({key})", where=where)
    given = (data.encode(errors="surrogatepass") if isinstance(data, str) else data).strip()
    if not _canonical(given, digest, text):
        raise RecordError("is not in canonical form: reformatted, or a name twice", where=where)
    if not _encodable(text):
        raise RecordError("holds text that is no Unicode", where=where)
    return record


def load(path: Path) -> Record:
    """Reads one record file.

    Raises:
        RecordError: See ``parse``; also when the file's name is not the record's key.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror})", where=str(path)) from None
    record = parse(data, str(path))
    if record.key != path.stem:
        raise RecordError(f"file name differs from key {record.key}", where=str(path))
    return record
