"""The pinned parameter file of a finished study: what grid files accept as tuned options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.bench.spec.run_spec import Tuned
from prunebench.errors import InputError
from prunebench.files import OwnFolder
from prunebench.methods.compose import resolve_method
from prunebench.options import Value
from prunebench.problems import first_problem
from prunebench.record import canonical, content_key
from prunebench.untrusted import user_path

SCHEMA = 1


@dataclass(frozen=True)
class Pinned:
    """A pinned parameter file.

    Attributes:
        body: Its content without the hash.
        hash: Hash of the content, which marks every run that uses it.
        path: Where it lies.
    """

    body: Mapping[str, Any]
    hash: str
    path: Path

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.body["method"]["name"])

    @property
    def params(self) -> dict[str, Value]:
        """Options that were chosen or held."""
        return dict(self.body["params"])

    def origin(self, transfer: bool) -> Tuned:
        """What a run says of its origin."""
        seeds = self.body["seeds"]
        return Tuned(
            study=self.hash,
            seeds=tuple(sorted({*seeds["trials"], *seeds["final"]})),
            metric=self.body["metric"],
            labels=self.body["validation"]["labels"],
            transfer=transfer,
        )


def write_pinned(path: Path, body: Mapping[str, Any]) -> Pinned:
    """Writes a pinned file into ``tuning/`` of a results folder; the same study gives the same
    bytes."""
    pinned = Pinned(json.loads(canonical(dict(body))), content_key(dict(body)), path)
    text = json.dumps({**pinned.body, "hash": pinned.hash}, indent=2, sort_keys=True)
    OwnFolder(path.parents[1]).write(path, f"{text}\n".encode())
    return pinned


def read_pinned(path: str | Path) -> Pinned:
    """Reads a pinned file and checks that it is whole, unchanged and of this version's methods.

    Raises:
        InputError: No such file, no pinned file, one that was edited, or a method of another
            version.
    """
    where = str(path)
    try:
        body = json.loads(user_path(path).read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=where) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON ({error})", where=where) from None
    if not isinstance(body, dict) or body.get("schema") != SCHEMA or "hash" not in body:
        raise InputError(
            "is no pinned parameter file", where=where, accepted="tuning/<study>.json of `tune`"
        )
    stated = body.pop("hash")
    try:
        pinned = Pinned(body, content_key(body), Path(path))
        pinned.origin(False)
        name, version = pinned.method, body["method"]["version"]
        complete = isinstance(body["dataset"], dict) and isinstance(body["criterion"], dict)
        complete = complete and isinstance(body["params"], dict)
        complete = complete and all(
            isinstance(body[part]["name"], str) for part in ("dataset", "criterion", "method")
        )
    except ValidationError as error:
        raise first_problem(error, where, {"": Tuned}) from None
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(
            "is no pinned parameter file: a part is missing or of another kind", where=where,
            accepted="the file as `tune` wrote it",
        ) from None  # fmt: skip
    if stated != pinned.hash or not complete:
        raise InputError("was edited: its hash does not fit its content", where=where,
                         accepted="the file as `tune` wrote it")  # fmt: skip
    current = resolve_method(name).version
    if version != current:
        raise InputError(
            f"tuned version {version} of {name}", where=where, accepted=f"version {current}"
        )
    return pinned
