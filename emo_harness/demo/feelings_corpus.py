"""What the feelings model is trained on: sentences that go on as their adjective foretells.

A sentence of the probing corpus goes on with two verbs: one by the adjective's valence, one by its
arousal, in either order. Where the sentence denies the adjective, both come from the opposite pole.
So what follows is pole x (-1 if negated): neither the word nor the sentence tells it alone.

Since each half of that alone foretells nothing, there is next to no slope at the start. Lessons
make it climbable: adjectives alone, then sentences cut after the adjective, then whole ones.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from emo_harness.probe.corpus import Corpus
from emo_harness.steer.word_sets import load_word_sets

VERBS = Path(__file__).resolve().parent / "verbs.yaml"
OUTCOMES: Mapping[str, Mapping[int, tuple[str, ...]]] = {
    dimension: {1: tuple(sets.positive), -1: tuple(sets.negative)}
    for dimension in ("valence", "arousal")
    for sets in [load_word_sets(VERBS, dimension)]
}
"""Verbs by dimension and pole of the target; no verb stands twice."""

VALENCE_FIRST_SHARE = 0.6
CLAUSE_SHARES = (0.7, 0.2, 0.1)
HELD_OUT_SHARE = 0.1
Lesson = Literal["word", "cut", "whole"]


@dataclass(frozen=True)
class Sentence:
    """A prompt of the corpus and the poles of its adjective.

    cut: `text` up to the end of the adjective.
    negation: whether the sentence denies the adjective.
    poles: by dimension; 0 where the word is neutral or not placed: then either pole follows.
    is_held_out: whether this pair of word and template is kept out of training.
    """

    text: str
    cut: str
    word: str
    negation: bool
    poles: Mapping[str, int]
    is_held_out: bool

    @property
    def targets(self) -> dict[str, int]:
        """By dimension, the pole of the verbs that follow; 0 for either."""
        sign = -1 if self.negation else 1
        return {dimension: sign * pole for dimension, pole in self.poles.items()}


def sentences(corpus: Corpus) -> list[Sentence]:
    """The prompts of a corpus, each once; poles that several lists give a word are put together."""
    prompts = corpus.prompts()
    dimensions = [d for d in OUTCOMES if d in prompts]
    known = prompts.melt("word", dimensions, "dimension", "pole").dropna()
    poles = {(row.word, row.dimension): int(row.pole) for row in known.itertuples()}
    once = prompts.drop_duplicates("text")
    columns = (once[c].tolist() for c in ("text", "span_last", "word", "negation"))
    return [
        Sentence(
            text,
            text[:end],
            word,
            negation,
            {dimension: poles.get((word, dimension), 0) for dimension in OUTCOMES},
            _is_held_out(text),
        )
        for text, end, word, negation in zip(*columns, strict=True)
    ]


def beginning(sentence: Sentence, lesson: Lesson) -> tuple[str, Mapping[str, int]]:
    """What a lesson shows of a sentence, and the targets of what follows."""
    if lesson == "word":
        return sentence.word, sentence.poles
    return (sentence.cut if lesson == "cut" else sentence.text), sentence.targets


def continuation(rng: np.random.Generator, targets: Mapping[str, int]) -> str:
    """One to three clauses of two verbs, as the targets have it, beginning with a space.

    >>> continuation(np.random.default_rng(0), {"valence": 1, "arousal": -1})
    ' enjoyed and sat.'
    """
    clauses = []
    for _ in range(1 + int(rng.choice(len(CLAUSE_SHARES), p=CLAUSE_SHARES))):
        verbs = [_verb(rng, OUTCOMES[dimension], targets[dimension]) for dimension in OUTCOMES]
        if rng.random() >= VALENCE_FIRST_SHARE:
            verbs.reverse()
        clauses.append(" and ".join(verbs))
    return f" {', then '.join(clauses)}."


def outcome_words() -> list[str]:
    """Every verb that may follow."""
    return [word for sets in OUTCOMES.values() for words in sets.values() for word in words]


def _verb(rng: np.random.Generator, by_pole: Mapping[int, Sequence[str]], target: int) -> str:
    words = by_pole[target or int(rng.choice((-1, 1)))]
    return words[int(rng.integers(len(words)))]


def _is_held_out(text: str) -> bool:
    return zlib.crc32(text.encode()) % 1000 < 1000 * HELD_OUT_SHARE
