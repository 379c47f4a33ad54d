"""The words of texts: what counts as one, and their numbers, which depend on the texts alone."""

import json
import os
import subprocess
import sys

from prunebench.datasets import words as module
from prunebench.datasets.words import numbered, words_of

TEXTS = ["The cat, the CAT sat!", "A cat is in Zürich", "die Katze saß in Zu\u0308rich 2024",
         "it's an İstanbul straße", "a dog in the street"]  # fmt: skip


def test_words_are_distinct_lower_case_and_of_any_script() -> None:
    assert words_of("It's THE the Zoë_x 42, кот!") == ["it", "s", "the", "zoë_x", "42", "кот"]
    assert words_of("Zu\u0308rich ZÜRICH") == ["zürich"]
    assert words_of(" \n--- ") == []


def test_the_most_frequent_come_first_then_code_points() -> None:
    texts = ["b a", "a c", "c b a a a", "rare"]
    train, test, size = numbered(texts, ["new c rare b"])
    assert train.dtype == "int32"
    assert train.tolist() == [[2, 1, 0], [1, 3, 0], [3, 2, 1], [0, 0, 0]]
    assert test.tolist() == [[3, 2, 0]]
    assert size == 4
    train, _, size = numbered(texts, [], words=2, length=1)
    assert train.tolist() == [[2], [1], [2], [0]]
    assert size == 3
    assert numbered(texts, ["rare"], at_least=1)[1].tolist() == [[4, 0, 0]]


_CODE = """
import json, runpy, sys
module = runpy.run_path(sys.argv[1])  # without torch, which takes seconds to import
train, test, size = module["numbered"](*json.loads(input()), at_least=1)
print(json.dumps([train.tolist(), test.tolist(), size]))
"""


def test_numbers_are_the_same_in_a_process_of_another_locale_and_hash_seed() -> None:
    train, test, size = numbered(TEXTS, TEXTS[:2], at_least=1)
    other = {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Tokyo",
             "PYTHONHASHSEED": "7"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _CODE, module.__file__], input=json.dumps([TEXTS, TEXTS[:2]]),
        capture_output=True, text=True, check=True, env={**os.environ, **other},
    )  # fmt: skip
    assert json.loads(done.stdout) == [train.tolist(), test.tolist(), size]
