"""A tiny collection of posts in the form of 20 newsgroups."""

import gzip
import json
from pathlib import Path

import numpy as np

from prunebench.datasets.sources.news.files import GROUPS

PER_GROUP = {"train": 4, "test": 2}


def posts() -> list[dict[str, str]]:
    """Posts whose words tell the group; numbers do not sort as texts do."""
    rng = np.random.default_rng(0)
    rows = []
    for split, count in PER_GROUP.items():
        for g, group in enumerate(GROUPS):
            own = ["".join(chr(97 + k) for k in (g, i, g)) for i in range(6)]
            for i in range(count):
                words = (
                    [group.partition(".")[0]] * 60
                    + [own[k] for k in rng.integers(0, 6, 9)]
                    + ["the", split]
                )
                number = str(9 + i) + ("0" if split == "test" else "")
                text = f"Subject: {' '.join(words)}\nX-{i}"
                rows.append({"split": split, "group": group, "id": number, "text": text})
    return rows


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    return path
