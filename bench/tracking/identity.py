"""Which results folder a run of the mirror belongs to: a random name that the folder keeps."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.files import OwnFolder, read_at_most

FILE = "mlflow.json"
_SIZE_LIMIT = 1 << 16
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Identity:
    """The name of a results folder, and the names of those it was copied from.

    Attributes:
        name: 32 hex digits, tag ``results_id`` of its runs.
        former: Names of the folders that this one was copied from. Their runs belong to this
            folder in its own, copied ``mlflow.db`` only.
    """

    name: str
    former: frozenset[str] = frozenset()


def identity(results: Path) -> Identity:
    """The identity of a results folder, made and written where it has none.

    A moved folder keeps its name. A copy gets one of its own while the folder that it was copied
    from still exists. Callers hold the writer lock.

    Raises:
        InputError: Its file is a link.
        OSError: It cannot be written.
    """
    file, place = results / FILE, str(results.resolve())
    known = _read(file)
    if known is not None and known["place"] == place:
        return Identity(known["name"], frozenset(known["former"]))
    name, former = secrets.token_hex(16), []
    if known is not None:
        origin = _read(Path(known["place"]) / FILE)
        if origin is not None and origin["name"] == known["name"]:
            former = [*known["former"], known["name"]]
        else:
            name, former = known["name"], known["former"]
    text = json.dumps({"name": name, "place": place, "former": former}, indent=1)
    OwnFolder(results).write(file, f"{text}\n".encode())
    return Identity(name, frozenset(former))


def _read(file: Path) -> dict[str, Any] | None:
    """The content of an identity file; None where there is none that can be used."""
    try:
        found = json.loads(read_at_most(file, _SIZE_LIMIT))
        name, place, former = found["name"], found["place"], found["former"]
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return None
    named = isinstance(former, list) and all(
        isinstance(one, str) and _NAME.fullmatch(one) for one in (name, *former)
    )
    return found if named and isinstance(place, str) else None
