"""Dimensions: valence, arousal and others, and what a file calls their classes."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Columns of a prompts table or of a store's index: no dimension may be called so.
RESERVED = frozenset(
    (
        *("text", "span_first", "span_last", "word", "lemma", "template", "template_text"),
        *("scenario", "shape", "scene", "negation", "list", "prompt", "n_tokens", "span_tokens"),
        *("span_id", "token", "target"),
    )
)
_HIGH = frozenset(("high", "good", "positive", "pleasant", "happy", "excited", "aroused", "active"))
_LOW = frozenset(("low", "bad", "negative", "unpleasant", "sad", "calm", "passive"))
_OF_AROUSAL = frozenset(("excited", "calm", "aroused", "active", "passive"))
_OF_VALENCE = (_HIGH | _LOW) - _OF_AROUSAL - {"high", "low"}
_NO_NAMES = _HIGH | _LOW | {"adjective", "adjectives", "word", "words", "list"}


@dataclass(frozen=True)
class Dimension:
    """One dimension, and the names of its classes.

    Attributes:
        name: e.g. "valence".
        high: the class of pole +1.
        low: the class of pole -1.
        first: the class that comes first in the file, which the Emo_LLM protocol labels 1.
        decided_by: what decided which class is the high one.
    """

    name: str
    high: str
    low: str
    first: str
    decided_by: str


def dimension_of(first: str, second: str) -> Dimension:
    """The dimension that two classes' names tell, in the order of their file.

    Its name is a word that both have ("low_arousal", "high_arousal"), else what their words
    belong to ("happy", "sad": valence), else all their words. The high class is the one whose
    words say so (high, good, positive, pleasant, happy, ...; low, bad, ...), else the second.
    """
    name = _name(first, second)
    leaning = _leaning(first) - _leaning(second)
    high, low = (first, second) if leaning > 0 else (second, first)
    decided_by = "the names of the classes" if leaning else "their order: the second is high"
    return Dimension(f"{name}_" if name in RESERVED else name, high, low, first, decided_by)


def _name(first: str, second: str) -> str:
    one, two = _words(first), _words(second)
    shared = [word for word in one if word in two and word not in _NO_NAMES]
    if shared:
        return shared[0]
    if _OF_VALENCE & {*one, *two}:
        return "valence"
    if _OF_AROUSAL & {*one, *two}:
        return "arousal"
    return "_".join([*one, *two]) or "classes"


def _leaning(key: str) -> int:
    words = set(_words(key))
    return len(_HIGH & words) - len(_LOW & words)


def _words(key: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", key.lower())
