"""Top words: which words of a family's stimuli contribute most, as a forest per method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from emo_harness.report.attribution.methods import METHODS, bounds, in_order, known
from emo_harness.report.attribution.numbers import AttributedGroup, Method, TopWord
from emo_harness.report.attribution.scale import ShadeScale, scale_of
from emo_harness.report.blocks import Block, Cell, Column, Figure, Table
from emo_harness.report.figures.forest import ForestRow, ForestTerms, forest
from emo_harness.report.numerals import (
    count,
    count_cell,
    probability,
    probability_cell,
    text_cell,
)
from emo_harness.report.plain_text import shortened
from emo_harness.report.verdict_words import bounds_tone

MOST_WORDS, WORD_CHARS = 12, 40
CLEAR_Q = 0.05
COLUMNS = (
    Column("family", filtered=True),
    Column("word"),
    Column("stimuli", "that hold it", numeric=True),
    Column("n", "questions", numeric=True),
    Column("contribution", "mean over questions, with 95% interval", numeric=True),
    Column("q", "Benjamini-Hochberg over the words", numeric=True),
)


def top_words(group: AttributedGroup, about: str, prefix: str) -> list[Block]:
    """A figure per method, the reference shown and the others folded."""
    blocks: list[Block] = []
    for method in in_order(word.method for word in group.top_words):
        rows = [word for word in group.top_words if word.method == method]
        blocks.append(_figure(rows, method, about, f"{prefix}-top-{method}", folded=bool(blocks)))
    return blocks


def _figure(rows: Sequence[TopWord], method: Method, about: str, name: str, folded: bool) -> Figure:
    facts = METHODS[method]
    scale = scale_of((bounds(row.contribution)[0] for row in rows), facts.signed)
    title = f"Words that contribute most by {_lower(facts.name)}, {about}"
    shown = list(_forest_rows(rows, scale))
    n_clear = sum(_is_clear(row) for row in rows)
    beyond = (
        f"{count(n_clear)} of {count(len(rows))} words in the table "
        f"{'leaves' if n_clear == 1 else 'leave'} zero out (q ≤ {CLEAR_Q:g})"
        if facts.signed
        else "it has no sign, so that zero is no mark to compare with"
    )
    direction = (
        " Right of zero raises the log-probability of the target, left of it lowers; what cannot "
        "be told from zero is grey."
        if facts.signed
        else ""
    )
    caption = (
        f"{title}: mean over the questions whose stimulus holds the word, with 95% interval; the "
        f"{MOST_WORDS} largest of each family at most, by size.{direction} "
        f"{beyond[0].upper()}{beyond[1:]}."
    )
    alt = f"{title}. {beyond[0].upper()}{beyond[1:]}. {_first(rows, scale)}"
    table = Table(
        f"{name}-table",
        title,
        COLUMNS,
        [_row(row, scale) for row in rows],
        search=len(rows) > 20,
    )
    terms = ForestTerms(f"contribution, {facts.unit}", "mean with 95% interval")
    drawn = forest(shown, 0.0, name, title, alt, terms)
    return Figure(
        name, caption, alt, drawn, table, f"Top words by {_lower(facts.name)}" if folded else ""
    )


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


def _forest_rows(rows: Sequence[TopWord], scale: ShadeScale) -> Iterator[ForestRow]:
    families = list(dict.fromkeys(row.family for row in rows))
    for family in families:
        own = [row for row in rows if row.family == family and _size(row) >= 0]
        yield ForestRow(family)
        for row in sorted(own, key=lambda row: -_size(row))[:MOST_WORDS]:
            value, low, high = bounds(row.contribution)
            n = f"{count(row.n_arms)} stimul{'us' if row.n_arms == 1 else 'i'}"
            yield ForestRow(
                shortened(row.word, WORD_CHARS),
                value,
                low,
                high,
                numbers=f"{scale.told_bounds(value, low, high)} · {n}",
                tone=bounds_tone(low, high) if scale.signed and _is_clear(row) else "quiet",
            )


def _size(row: TopWord) -> float:
    value, _, _ = bounds(row.contribution)
    return -1.0 if math.isnan(value) else abs(value)


def _is_clear(row: TopWord) -> bool:
    """Whether a word's contribution can be told from zero, the other words counted in."""
    _, low, high = bounds(row.contribution)
    q = known(row.q)
    return (low > 0 or high < 0) and (math.isnan(q) or q <= CLEAR_Q)


def _first(rows: Sequence[TopWord], scale: ShadeScale) -> str:
    there = [row for row in rows if _size(row) >= 0]
    if not there:
        return "No word has a known contribution."
    most = max(there, key=_size)
    word = shortened(most.word, WORD_CHARS)
    q = f", q {probability(known(most.q))}" if not math.isnan(known(most.q)) else ""
    told = scale.told_bounds(*bounds(most.contribution))
    return f"The largest is {word!r} of {most.family}: {told}{q}."


def _row(row: TopWord, scale: ShadeScale) -> list[Cell]:
    value, low, high = bounds(row.contribution)
    return [
        text_cell(row.family),
        text_cell(shortened(row.word, WORD_CHARS), "strong"),
        count_cell(row.n_arms),
        count_cell(row.n),
        Cell((value, low, high), scale.told_bounds(value, low, high), sort=value),
        probability_cell(known(row.q)),
    ]
