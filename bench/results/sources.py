"""Which code runs here, as a digest; light enough for processes without torch."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import prunebench


@cache
def source_digest() -> str:
    """12 hex digits over the package's own source files; a warning when it differs, no key."""
    root = Path(prunebench.__file__).parent
    digest = hashlib.sha256()
    for folder in (root, *(root / name for name in ("bench", "methods", "datasets"))):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
