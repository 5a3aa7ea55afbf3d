"""Sibling words: one root in several forms, such as happy and unhappy, content and contented.

Siblings are kept on one side of a split; nothing else depends on them. Where a file does not
declare them, a rule groups them:

1. A stem is the word, lower-case, without one ending of `ENDINGS` (the longest that leaves three
   letters), then without a final e or y.
2. A prefix of `PREFIXES` is dropped where what remains has the stem of another word at hand, so
   that unhappy joins happy, while understanding stays whole.
3. Words of one stem are siblings; the shortest, then first in the alphabet, names them.
"""

from __future__ import annotations

from collections.abc import Iterable

ENDINGS = ("iastic", "ying", "less", "ied", "ful", "ing", "ous", "ive", "ed", "y", "e")
PREFIXES = ("over", "dis", "un")
_MIN_STEM = 3


def lemmas(words: Iterable[str]) -> dict[str, str]:
    """The lemma of each word, by the rule above; a word without siblings is its own."""
    own = {word: stem(word) for word in words}
    known = set(own.values())
    groups: dict[str, list[str]] = {}
    for word, its_stem in own.items():
        groups.setdefault(_root(word, its_stem, known), []).append(word)
    return {word: min(group, key=_plainest) for group in groups.values() for word in group}


def stem(word: str) -> str:
    """A word without its ending."""
    stemmed = word.lower()
    for ending in ENDINGS:
        if stemmed.endswith(ending) and len(stemmed) - len(ending) >= _MIN_STEM:
            stemmed = stemmed[: -len(ending)]
            break
    while len(stemmed) > _MIN_STEM and stemmed[-1] in "ey":
        stemmed = stemmed[:-1]
    return stemmed


def _root(word: str, its_stem: str, known: set[str]) -> str:
    for prefix in PREFIXES:
        rest = stem(word.lower().removeprefix(prefix))
        if word.lower().startswith(prefix) and rest != its_stem and rest in known:
            return rest
    return its_stem


def _plainest(word: str) -> tuple[int, str]:
    return len(word), word
