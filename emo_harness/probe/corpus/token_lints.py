"""Lints of token counts: whether a word's length in tokens tells its class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emo_harness.probe.corpus import Corpus
from emo_harness.probe.corpus.findings import Finding
from emo_harness.probe.corpus.template_lints import pairs_of
from emo_harness.probe.corpus.word_lints import poles_of

MAX_AUC_OFFSET = 0.1
# A text's number of tokens, without special ones.
CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class TokenCounts:
    """Tokens per word of one dimension.

    Attributes:
        high, low, neutral: number of words by number of tokens.
        auc: P(a high word has more tokens than a low one) + P(as many) / 2; 0.5 where length
            tells nothing.
    """

    dimension: str
    high: dict[int, int]
    low: dict[int, int]
    neutral: dict[int, int]
    auc: float


def token_counts(corpus: Corpus, count: CountTokens) -> list[TokenCounts]:
    """Tokens of the distinct words, counted as they stand behind another word."""
    poles = poles_of(corpus.words)
    start = count("feels")
    tokens = {text: count(f"feels {text}") - start for text in poles}
    counts = []
    for name in corpus.dimensions:
        high, low, neutral = (
            [tokens[text] for text, of in poles.items() if of.get(name) == pole]
            for pole in (1, -1, 0)
        )
        counts.append(
            TokenCounts(
                name,
                high=_spread(high),
                low=_spread(low),
                neutral=_spread(neutral),
                auc=auc(high, low),
            )
        )
    return counts


def token_findings(corpus: Corpus, count: CountTokens) -> Iterator[Finding]:
    lists = " and ".join(one.name for one in corpus.lists)
    for one in token_counts(corpus, count):
        if abs(one.auc - 0.5) > MAX_AUC_OFFSET:
            message = (
                f"the number of tokens tells the class of {one.dimension}: a high word is the "
                f"longer one with probability {one.auc:.2f}"
            )
            yield Finding("warning", "token-counts", lists, message)
    yield from _pairs(corpus, count)


def auc(high: Sequence[int], low: Sequence[int]) -> float:
    """P(high > low) + P(high = low) / 2 over all pairs (Mann and Whitney, 1947); NaN if empty."""
    if not high or not low:
        return float("nan")
    difference = np.sign(_column(high) - _column(low).T)
    return float(difference.mean() / 2 + 0.5)


def _spread(tokens: Sequence[int]) -> dict[int, int]:
    return dict(sorted(Counter(tokens).items()))


def _column(numbers: ArrayLike) -> np.ndarray:
    return np.asarray(numbers, dtype=np.float64)[:, None]


def _pairs(corpus: Corpus, count: CountTokens) -> Iterator[Finding]:
    """How many tokens later the negated sentence of a pair ends."""
    one = corpus.templates
    if not (pairs := pairs_of(one.templates)):
        return
    word = corpus.words[0].text
    later = [
        count(one.templates[negated].filled(word)) - count(one.templates[plain].filled(word))
        for plain, negated in pairs
    ]
    message = (
        f"negated sentences are {np.mean(later):.1f} tokens longer than their plain ones "
        f"({min(later)} to {max(later)}): position and length are controls, not evidence"
    )
    yield Finding("note", "pair-lengths", one.name, message)
