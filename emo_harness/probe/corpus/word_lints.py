"""Lints of adjective lists: repeats, contradictions, siblings, balance, crossing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from emo_harness.probe.corpus.findings import Finding
from emo_harness.probe.corpus.siblings import lemmas
from emo_harness.probe.corpus.words import Word, WordList

MAX_CLASS_RATIO = 1.1
MAX_PHI = 0.2
MIN_QUADRANT = 5


def word_findings(lists: Sequence[WordList]) -> Iterator[Finding]:
    for one in lists:
        yield from _repeats(one)
        yield from _class_sizes(one)
    yield from _contradictions(lists)
    yield from _siblings(lists)
    yield from _crossing(lists)
    yield from _neutral(lists)


def quadrants(words: Sequence[Word], first: str, second: str) -> Counter[tuple[int, int]]:
    """How many distinct words have each pair of poles; words without a pole are left out."""
    poles = poles_of(words)
    return Counter(
        (of[first], of[second]) for of in poles.values() if of.get(first) and of.get(second)
    )


def phi(counts: Mapping[tuple[int, int], int]) -> float:
    """Correlation of two dimensions' poles over words, (ad - bc) / sqrt of the four margins.

    NaN where a pole has no word (Pearson, 1900).
    """
    a, b, c, d = (counts.get(key, 0) for key in ((1, 1), (1, -1), (-1, 1), (-1, -1)))
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    return (a * d - b * c) / math.sqrt(margins) if margins else math.nan


def poles_of(words: Sequence[Word]) -> dict[str, dict[str, int]]:
    """Each word's poles, those of all its lists together."""
    poles: dict[str, dict[str, int]] = {}
    for word in words:
        poles.setdefault(word.text, {}).update(word.poles)
    return poles


def _repeats(one: WordList) -> Iterator[Finding]:
    times = Counter((word.text, tuple(sorted(word.poles.items()))) for word in one.words)
    twice = tuple(text for (text, _), n in times.items() if n > 1)
    if twice:
        message = "words that stand several times in one class; a split by row would part the twins"
        yield Finding("warning", "word-twice", one.name, message, twice)


def _contradictions(lists: Sequence[WordList]) -> Iterator[Finding]:
    for name in dict.fromkeys(d.name for one in lists for d in one.dimensions):
        sides: dict[str, set[int]] = {}
        places: dict[str, str] = {}
        for one in lists:
            for word in one.words:
                if name in word.poles:
                    sides.setdefault(word.text, set()).add(word.poles[name])
                    places.setdefault(word.text, one.name)
        both = tuple(text for text, poles in sides.items() if len(poles) > 1)
        if both:
            message = f"words in two classes of {name}, so that their label is arbitrary"
            yield Finding("error", "word-in-both-classes", places[both[0]], message, both)


def _siblings(lists: Sequence[WordList]) -> Iterator[Finding]:
    names = " and ".join(one.name for one in lists)
    lemma = {word.text: word.lemma for one in lists for word in one.words}
    groups: dict[str, list[str]] = {}
    for text, its_lemma in lemma.items():
        groups.setdefault(its_lemma, []).append(text)
    several = tuple("/".join(group) for group in groups.values() if len(group) > 1)
    if several:
        message = f"{len(several)} groups of siblings, which splits by lemma keep together"
        yield Finding("note", "siblings", names, message, several)
    by_rule: dict[str, list[str]] = {}
    for text, its_lemma in lemmas(lemma).items():
        by_rule.setdefault(its_lemma, []).append(text)
    missed = tuple(
        "/".join(group) for group in by_rule.values() if len({lemma[text] for text in group}) > 1
    )
    if missed:
        message = "words that look like siblings, but `siblings:` does not say so"
        yield Finding("warning", "undeclared-siblings", names, message, missed)


def _class_sizes(one: WordList) -> Iterator[Finding]:
    for dimension in one.dimensions:
        sizes = Counter(word.poles.get(dimension.name) for word in one.words)
        high, low = sizes[1], sizes[-1]
        if max(high, low) > MAX_CLASS_RATIO * min(high, low):
            message = (
                f"classes of unequal size: {high} words of {dimension.high}, "
                f"{low} of {dimension.low}"
            )
            yield Finding("warning", "class-sizes", one.name, message)


def _crossing(lists: Sequence[WordList]) -> Iterator[Finding]:
    words = [word for one in lists for word in one.words]
    names = list(dict.fromkeys(d.name for one in lists for d in one.dimensions))
    where = " and ".join(one.name for one in lists)
    for first, second in combinations(names, 2):
        counts = quadrants(words, first, second)
        if counts.total() < 4 * MIN_QUADRANT:
            continue
        shown = ", ".join(
            f"{'high' if a > 0 else 'low'} {first} and {'high' if b > 0 else 'low'} {second} "
            f"{counts[a, b]}"
            for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))
        )
        correlation = phi(counts)
        if math.isnan(correlation) or abs(correlation) > MAX_PHI:
            message = f"{first} and {second} are not crossed (phi {correlation:.2f}): {shown}"
            yield Finding("warning", "confounded", where, message)
        elif min(counts[a, b] for a in (1, -1) for b in (1, -1)) < MIN_QUADRANT:
            yield Finding("warning", "confounded", where, f"a quadrant is all but empty: {shown}")


def _neutral(lists: Sequence[WordList]) -> Iterator[Finding]:
    for one in lists:
        if not any(0 in word.poles.values() for word in one.words):
            message = "no neutral words, so templates cannot be centred on their mean"
            yield Finding("note", "no-neutral-words", one.name, message)
