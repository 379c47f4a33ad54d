"""The words of texts: what counts as one, and their numbers, which depend on the texts alone."""

import json
import os
import subprocess
import sys

from prunebench.datasets import words as module
from prunebench.datasets.words import numbered, numbering, words_of

TEXTS = ["The cat, the CAT sat!", "A cat is in Zürich", "die Katze saß in Zu\u0308rich 2024",
         "it's an İstanbul straße", "a dog in the street"]  # fmt: skip


def test_words_are_distinct_lower_case_and_of_any_script() -> None:
    assert words_of("It's THE the Zoë_x 42, кот!") == ["it", "s", "the", "zoë_x", "42", "кот"]
    assert words_of("Zu\u0308rich ZÜRICH") == ["zürich"]
    assert words_of(" \n--- ") == []


def test_the_most_frequent_come_first_then_code_points() -> None:
    texts = [["b", "a"], ["a", "c"], ["c", "b", "a"], ["rare"]]
    assert numbering(texts) == {"a": 1, "b": 2, "c": 3}
    assert numbering(texts, most=2) == {"a": 1, "b": 2}
    assert numbering(texts, at_least=1) == {"a": 1, "b": 2, "c": 3, "rare": 4}


def test_words_without_a_number_are_left_out() -> None:
    numbers = {"a": 1, "b": 2, "c": 3}
    found = numbered([["c", "rare", "a"], ["a", "b", "c"], []], numbers, 2)
    assert found.dtype == "int32"
    assert found.tolist() == [[3, 1], [1, 2], [0, 0]]


_CODE = """
import json, runpy, sys
module = runpy.run_path(sys.argv[1])  # without torch, which takes seconds to import
words = [module["words_of"](text) for text in json.loads(input())]
numbers = module["numbering"](words, at_least=1)
print(json.dumps([numbers, module["numbered"](words, numbers, 9).tolist()]))
"""


def test_numbers_are_the_same_in_a_process_of_another_locale_and_hash_seed() -> None:
    words = [words_of(text) for text in TEXTS]
    numbers = numbering(words, at_least=1)
    other = {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Tokyo",
             "PYTHONHASHSEED": "7"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _CODE, module.__file__], input=json.dumps(TEXTS),
        capture_output=True, text=True, check=True, env={**os.environ, **other},
    )  # fmt: skip
    found, rows = json.loads(done.stdout)
    assert list(found.items()) == list(numbers.items())
    assert rows == numbered(words, numbers, 9).tolist()
