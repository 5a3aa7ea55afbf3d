"""How numbers of the geometry are told: kinds of words, estimates, cells."""

from __future__ import annotations

import math

from emo_harness.report.blocks import Cell
from emo_harness.report.figures.kinds import Kind
from emo_harness.report.geometry.numbers import Estimated, Number
from emo_harness.report.numerals import JOIN, MINUS, UNKNOWN, probability

# Colour tells valence, shape tells arousal; the first is for words in neither list.
QUADRANTS = (
    Kind("in one list or none", "hatch", "o", is_filled=False),
    Kind("high valence, high arousal", "up", "^"),
    Kind("high valence, low arousal", "up", "v"),
    Kind("low valence, high arousal", "down", "^"),
    Kind("low valence, low arousal", "down", "v"),
    Kind("high valence", "up", "o"),
    Kind("low valence", "down", "o"),
    Kind("high arousal", "series4", "^"),
    Kind("low arousal", "series4", "v"),
    Kind("neutral", "quiet", "s"),
)
_KIND_OF = {
    (1, 1): 1,
    (1, -1): 2,
    (-1, 1): 3,
    (-1, -1): 4,
    (1, None): 5,
    (-1, None): 6,
    (None, 1): 7,
    (None, -1): 8,
    (0, 0): 9,
    (0, None): 9,
    (None, 0): 9,
    (1, 0): 5,
    (-1, 0): 6,
    (0, 1): 7,
    (0, -1): 8,
}


def kind_of(valence: Number, arousal: Number) -> int:
    """Which of `QUADRANTS` a word, or a prompt's target, is of."""
    key = tuple(None if v is None else int(v) for v in (valence, arousal))
    return _KIND_OF.get((key[0], key[1]), 0)


def used_kinds(kinds: list[int]) -> tuple[list[Kind], list[int]]:
    """The kinds that occur, in order, and the words' kinds among these."""
    there = sorted(set(kinds), key=lambda k: (k == 0, k))
    return [QUADRANTS[k] for k in there], [there.index(k) for k in kinds]


def known(value: Number) -> float:
    """The number, NaN where it is unknown."""
    return math.nan if value is None else float(value)


def told(value: Number, decimals: int = 2, sign: bool = False) -> str:
    """A number as a reader sees it."""
    if value is None or math.isnan(value):
        return UNKNOWN
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    return text.replace("-", MINUS)


def told_estimate(found: Estimated, decimals: int = 2, unit: str = "", sign: bool = False) -> str:
    """An estimate with its interval, and p where there is one."""
    if found.value is None:
        return UNKNOWN
    low, high = (told(v, decimals, sign) for v in (found.low, found.high))
    text = f"{told(found.value, decimals, sign)}{unit} [{low},{JOIN}{high}]"
    p = probability(found.p) if found.p is not None else ""
    if not p:
        return text
    return f"{text}, p{JOIN}{p}" if p.startswith("<") else f"{text}, p{JOIN}={JOIN}{p}"


def number_cell(value: Number, decimals: int = 2, sign: bool = False) -> Cell:
    return Cell(value, told(value, decimals, sign), sort=known(value))


def estimate_cell(found: Estimated, decimals: int = 2, sign: bool = False) -> Cell:
    """An estimate with its interval; it sorts by the estimate."""
    bounds = (known(found.value), known(found.low), known(found.high))
    text = told_estimate(found.model_copy(update={"p": None}), decimals, sign=sign)
    return Cell(bounds, text, sort=bounds[0])


def p_cell(value: Number) -> Cell:
    return Cell(value, probability(known(value)), sort=known(value))
