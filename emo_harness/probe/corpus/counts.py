"""Counts of a corpus: words per pole and quadrant, templates, shapes, places of the slot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

from emo_harness.probe.corpus import Corpus
from emo_harness.probe.corpus.template_lints import last_word_accuracy, pairs_of
from emo_harness.probe.corpus.word_lints import phi, poles_of, quadrants


@dataclass(frozen=True)
class Poles:
    """Distinct words of one dimension by pole."""

    dimension: str
    high: int
    low: int
    neutral: int


@dataclass(frozen=True)
class Quadrants:
    """Distinct words that have a pole on both of two dimensions.

    Attributes:
        phi: correlation of the two over these words.
    """

    first: str
    second: str
    high_high: int
    high_low: int
    low_high: int
    low_low: int
    phi: float


@dataclass(frozen=True)
class CorpusCounts:
    """What a corpus has.

    Attributes:
        words, distinct_words, lemmas: adjectives in all lists, without repeats, and their lemmas.
        pairs: scenarios told once plainly and once negated.
        words_after_slot: number of templates by number of words behind the slot.
        last_word_accuracy: how well the last word tells the negation, 0.5 where not at all.
        scenes: number of templates by scene, where told.
    """

    words: int
    distinct_words: int
    lemmas: int
    poles: tuple[Poles, ...]
    quadrants: tuple[Quadrants, ...]
    templates: int
    negated: int
    pairs: int
    shapes: int
    scenes: dict[str, int]
    words_after_slot: dict[int, int]
    last_words: int
    last_word_accuracy: float
    prompts: int


def count(corpus: Corpus) -> CorpusCounts:
    templates = corpus.templates.templates
    after = Counter(_words(template.after) for template in templates)
    return CorpusCounts(
        words=len(corpus.words),
        distinct_words=len({word.text for word in corpus.words}),
        lemmas=len({word.lemma for word in corpus.words}),
        poles=tuple(_poles(corpus, name) for name in corpus.dimensions),
        quadrants=tuple(_quadrants(corpus, *pair) for pair in combinations(corpus.dimensions, 2)),
        templates=len(templates),
        negated=sum(template.negation for template in templates),
        pairs=len(pairs_of(templates)),
        shapes=len({template.shape for template in templates}),
        scenes=dict(Counter(template.scene for template in templates if template.scene)),
        words_after_slot=dict(sorted(after.items())),
        last_words=len({template.last_word for template in templates}),
        last_word_accuracy=last_word_accuracy(templates),
        prompts=corpus.n_prompts,
    )


def _words(text: str) -> int:
    return sum(any(c.isalnum() for c in part) for part in text.split())


def _poles(corpus: Corpus, name: str) -> Poles:
    sizes = Counter(poles.get(name) for poles in poles_of(corpus.words).values())
    return Poles(name, sizes[1], sizes[-1], sizes[0])


def _quadrants(corpus: Corpus, first: str, second: str) -> Quadrants:
    found = quadrants(corpus.words, first, second)
    return Quadrants(
        first,
        second,
        high_high=found[1, 1],
        high_low=found[1, -1],
        low_high=found[-1, 1],
        low_low=found[-1, -1],
        phi=phi(found),
    )
