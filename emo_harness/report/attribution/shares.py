"""Shares: how much of all contribution falls on the stimulus, family by family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from emo_harness.report.attribution.methods import METHODS, bounds, known
from emo_harness.report.attribution.numbers import AttributedGroup, StimulusShare
from emo_harness.report.blocks import Block, Cell, Column, Figure, Table, without_same
from emo_harness.report.figures.forest import ForestRow, ForestTerms, forest
from emo_harness.report.groups import ALL_SUBTASKS
from emo_harness.report.numerals import UNKNOWN, count_cell, percent, text_cell

WORDS = "share of all |contribution| that falls on the stimulus, %"
COLUMNS = (
    Column("family", filtered=True),
    Column("method", filtered=True),
    Column("subtask", filtered=True),
    Column("questions", numeric=True),
    Column("share on the stimulus, %", "with 95% interval", numeric=True),
    Column("equal share, %", "if every word had the same", numeric=True),
)


def stimulus_shares(group: AttributedGroup, about: str, prefix: str) -> list[Block]:
    """A forest over all subtasks, and the table of each; nothing where no share is known."""
    rows = sorted(group.shares, key=_place)
    whole = [row for row in rows if row.subtask == ALL_SUBTASKS]
    if not whole:
        return []
    title = f"How much falls on the stimulus, {about}"
    lines = [_sentence(row) for row in whole if not math.isnan(bounds(row.share)[0])]
    alt = f"{title}. {' '.join(lines)}"
    has_equal = any(row.equal_share is not None for row in whole)
    name = f"{prefix}-shares"
    table = Table(f"{name}-table", title, COLUMNS, [_row(row) for row in rows], len(rows) > 20)
    terms = ForestTerms(WORDS, "share with 95% interval", "equal share per word")
    caption = f"{title}: {WORDS}, mean over questions, with 95% interval."
    if has_equal:
        caption += (
            " Blue: more than if every word of the prompt had the same; orange: less. A diamond "
            "marks that equal share."
        )
    drawn = forest(list(_forest_rows(whole)), 0.0, name, title, alt, terms)
    return [Figure(name, caption, alt, drawn, without_same(table, "subtask", "family"))]


def _place(row: StimulusShare) -> tuple[str, int, bool, str]:
    method = list(METHODS).index(row.method)
    return (row.family, method, row.subtask != ALL_SUBTASKS, row.subtask)


def _forest_rows(rows: Sequence[StimulusShare]) -> Iterator[ForestRow]:
    family = ""
    for row in rows:
        if row.family != family:
            family = row.family
            yield ForestRow(family)
        value, low, high = (100 * v for v in bounds(row.share))
        equal = 100 * known(row.equal_share)
        if math.isnan(value):
            continue
        tone = "up" if low > equal else "down" if high < equal else "quiet"
        numbers = _told(row)
        if not math.isnan(equal):
            numbers += f" · equal: {percent(equal)}"
        yield ForestRow(
            METHODS[row.method].name,
            value,
            low,
            high,
            placebo=equal,
            numbers=numbers,
            tone=tone,
        )


def _sentence(row: StimulusShare) -> str:
    equal = 100 * known(row.equal_share)
    beside = "" if math.isnan(equal) else f", an equal share would be {percent(equal)}%"
    return f"{row.family}, {METHODS[row.method].name}: {_told(row)}%{beside}."


def _told(row: StimulusShare) -> str:
    value, low, high = (100 * v for v in bounds(row.share))
    if math.isnan(value):
        return UNKNOWN
    if math.isnan(low) or math.isnan(high):
        return f"{percent(value)} [unknown]"
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"


def _row(row: StimulusShare) -> list[Cell]:
    value, low, high = (100 * v for v in bounds(row.share))
    equal = 100 * known(row.equal_share)
    return [
        text_cell(row.family),
        text_cell(METHODS[row.method].name, "strong"),
        text_cell(row.subtask),
        count_cell(row.n),
        Cell((value, low, high), _told(row), sort=value),
        Cell(equal, percent(equal), sort=equal),
    ]
