"""Numerals: numbers as a reader sees them, and cells that hold both."""

from __future__ import annotations

import math
from collections.abc import Iterable

from emo_harness.report.blocks import Cell

MINUS = "\u2212"
UNKNOWN = "–"
# Joins what must not be parted at a line's end.
JOIN = "\u00a0"
WIDE_PP = 2.0


def decimals_for(half_widths_pp: Iterable[float]) -> int:
    """Decimals that intervals this wide deserve: two where the typical one is below 2 pp."""
    known = sorted(w for w in half_widths_pp if not math.isnan(w))
    return 2 if known and known[len(known) // 2] < WIDE_PP else 1


def pp(value: float, decimals: int = 1) -> str:
    """A gain with its sign.

    >>> pp(-1.24), pp(0.01), pp(float("nan"))
    ('−1.2', '0.0', '–')
    """
    return _signed(value, decimals) if not math.isnan(value) else UNKNOWN


def interval(low: float, high: float, decimals: int = 1) -> str:
    """An interval in brackets, "unknown" where it is."""
    if math.isnan(low) or math.isnan(high):
        return "[unknown]"
    return f"[{_signed(low, decimals)},{JOIN}{_signed(high, decimals)}]"


def gain(value: float, low: float, high: float, decimals: int = 1) -> str:
    """A gain with its interval."""
    if math.isnan(value):
        return UNKNOWN
    return f"{pp(value, decimals)}{JOIN}{interval(low, high, decimals)}"


def mean(value: float, low: float, high: float, n: int, decimals: int = 1) -> str:
    """The mean over n pairs with its interval, or why it has none.

    >>> mean(1.0, float("nan"), float("nan"), 2)
    '+1.0, all 2 alike'
    >>> mean(1.0, float("nan"), float("nan"), 1)
    '+1.0, one pair: no interval'
    """
    if math.isnan(low) and n > 0 and not math.isnan(value):
        why = f"all {count(n)} alike" if n > 1 else "one pair: no interval"
        return f"{pp(value, decimals)}, {why}"
    return gain(value, low, high, decimals)


def probability(value: float) -> str:
    """A p or q.

    >>> probability(0.0004), probability(0.0312), probability(0.5)
    ('<0.001', '0.031', '0.50')
    """
    if math.isnan(value):
        return UNKNOWN
    if value < 0.001:
        return "<0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def percent(value: float, decimals: int = 1) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.{decimals}f}"


def count(value: float) -> str:
    """A whole number with thousands marked.

    >>> count(6511)
    '6,511'
    """
    return UNKNOWN if math.isnan(value) else f"{value:,.0f}"


def counted(value: float, one: str, several: str = "") -> str:
    """A number and what is counted, in the right form.

    >>> counted(1, "question"), counted(6511, "question"), counted(2, "stimulus", "stimuli")
    ('1 question', '6,511 questions', '2 stimuli')
    """
    return f"{count(value)} {one if value == 1 else several or f'{one}s'}"


def rough(value: float) -> str:
    """About how many: two digits and a unit.

    >>> rough(1_234_567), rough(830)
    ('1.2 million', '830')
    """
    if math.isnan(value):
        return UNKNOWN
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if value >= size:
            return f"{value / size:.{1 if value < 10 * size else 0}f} {name}"
    return f"{value:.0f}"


def text_cell(text: str, tone: str = "") -> Cell:
    return Cell(text, text or UNKNOWN, tone=tone)


def pp_cell(value: float, decimals: int = 1, tone: str = "") -> Cell:
    return Cell(value, pp(value, decimals), sort=value, tone=tone)


def bounds_cell(low: float, high: float, decimals: int = 1) -> Cell:
    """An interval in one cell; it sorts by its lower end."""
    text = UNKNOWN if math.isnan(low) or math.isnan(high) else interval(low, high, decimals)
    return Cell((low, high), text, sort=low)


def gain_cell(value: float, low: float, high: float, decimals: int = 1, tone: str = "") -> Cell:
    """A gain with its interval in one cell; it sorts by the gain."""
    return Cell((value, low, high), gain(value, low, high, decimals), sort=value, tone=tone)


def mean_cell(
    value: float, low: float, high: float, n: int, decimals: int = 1, tone: str = ""
) -> Cell:
    """The mean over n pairs with its interval in one cell; it sorts by the mean."""
    return Cell((value, low, high), mean(value, low, high, n, decimals), sort=value, tone=tone)


def percent_cell(value: float, decimals: int = 1) -> Cell:
    return Cell(value, percent(value, decimals))


def count_cell(value: float) -> Cell:
    return Cell(value, count(value), sort=value)


def probability_cell(value: float) -> Cell:
    return Cell(value, probability(value), sort=value)


def _signed(value: float, decimals: int) -> str:
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text
