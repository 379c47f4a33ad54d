"""Names of rows as they fit beside a picture or into a printed table."""

from __future__ import annotations

import re
from collections.abc import Collection

_REMARK = re.compile(r"(.+) \((.+)\)")


def shared_remark(labels: Collection[str]) -> str:
    """What all names with a remark in brackets have in it, as ``scored with resnet18``.

    Empty where fewer than two names have a remark, where the remarks share nothing, and where
    names without it would be the same as others.
    """
    found = [match for label in labels if (match := _REMARK.fullmatch(label))]
    if len(found) < 2:
        return ""
    parts = [match[2].split(", ") for match in found]
    shared = ", ".join(part for part in parts[0] if all(part in other for other in parts))
    short = {without(label, shared) for label in labels}
    return shared if len(short) == len(set(labels)) else ""


def without(label: str, shared: str) -> str:
    """A name without the parts of its remark that all remarks have."""
    match = _REMARK.fullmatch(label)
    left_out = shared.split(", ") if shared else []
    if match is None or not left_out:
        return label
    kept = ", ".join(part for part in match[2].split(", ") if part not in left_out)
    return f"{match[1]} ({kept})" if kept else match[1]


def short_names(labels: Collection[str], most: int) -> dict[str, str]:
    """Names of at most so many signs, by label; two rows have one name only where any cut that
    tells them apart would leave less than a third of the room for the beginning.

    Args:
        labels: Names of all rows.
        most: Most signs of a short name, ten at least.
    """
    shared = shared_remark(labels)
    names = {label: without(label, shared) for label in labels}
    found = {label: _cut(name, most, 0) for label, name in names.items()}
    for tail in range(2, most - most // 3, 2):
        groups: dict[str, list[str]] = {}
        for label, name in found.items():
            groups.setdefault(name, []).append(label)
        twins = [label for own in groups.values() if len(own) > 1 for label in own]
        if not twins:
            break
        for label in twins:
            found[label] = _cut(names[label], most, tail)
    return found


def _cut(name: str, most: int, tail: int) -> str:
    """The name, with a mark of omission before its last signs where it is too long."""
    if len(name) <= most:
        return name
    return f"{name[: most - 1 - tail].rstrip()}…{name[len(name) - tail :]}"
