"""Whole stimuli: what each adds to the target's log-probability, before any word of it is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from emo_harness.report.attribution.methods import bounds
from emo_harness.report.attribution.numbers import AttributedGroup, WholeStimulus
from emo_harness.report.attribution.scale import ShadeScale, scale_of
from emo_harness.report.blocks import Block, Cell, Column, Figure, Table
from emo_harness.report.figures.forest import ForestRow, ForestTerms, forest
from emo_harness.report.groups import ALL_SUBTASKS
from emo_harness.report.numerals import count, count_cell, text_cell
from emo_harness.report.verdict_words import bounds_tone

MOST_ROWS = 40
MEAN = "mean of these"
COLUMNS = (
    Column("family", filtered=True),
    Column("stimulus"),
    Column("subtask", filtered=True),
    Column("n", "questions", numeric=True),
    Column("contribution", "nats, with 95% interval", numeric=True),
)


def whole_stimuli(group: AttributedGroup, about: str, prefix: str) -> list[Block]:
    """A forest of families and their stimuli; nothing where no stimulus was measured as a whole."""
    rows = sorted(group.whole, key=lambda row: (row.family, row.arm or "", row.subtask))
    whole = [row for row in rows if row.subtask == ALL_SUBTASKS and _is_known(row)]
    if not whole:
        return []
    # Stimuli give way to families where there are more than fit.
    shown = whole if len(whole) <= MOST_ROWS else [row for row in whole if row.arm is None]
    left = f" The {count(len(whole))} single stimuli are in the table." if shown != whole else ""
    scale = scale_of((bounds(row.contribution)[0] for row in whole), signed=True)
    title = f"What a stimulus adds as a whole, {about}"
    told = " ".join(_sentence(row, scale) for row in whole if row.arm is None)
    name = f"{prefix}-whole"
    caption = (
        f"{title}: log-probability of the target with it minus under control, mean over questions "
        "with 95% interval. Where placebos add as much, it is not emotion that adds it. Single "
        f"words may add something though the whole adds nothing.{left}"
    )
    terms = ForestTerms("log-probability of the target, change in nats", "mean with 95% interval")
    drawn = forest(list(_forest_rows(shown, scale)), 0.0, name, title, f"{title}. {told}", terms)
    cells = [_row(row, scale) for row in rows]
    table = Table(f"{name}-table", title, COLUMNS, cells, search=len(rows) > 20)
    return [Figure(name, caption, f"{title}. {told}", drawn, table)]


def _is_known(row: WholeStimulus) -> bool:
    return not math.isnan(bounds(row.contribution)[0])


def _sentence(row: WholeStimulus, scale: ShadeScale) -> str:
    return f"{row.family}: {scale.told_bounds(*bounds(row.contribution))} nats."


def _forest_rows(rows: Sequence[WholeStimulus], scale: ShadeScale) -> Iterator[ForestRow]:
    family = None
    for row in rows:
        if row.family != family:
            family = row.family
            yield ForestRow(family)
        value, low, high = bounds(row.contribution)
        yield ForestRow(
            MEAN if row.arm is None else row.arm,
            value,
            low,
            high,
            numbers=f"{scale.told_bounds(value, low, high)} · n = {count(row.n)}",
            tone=bounds_tone(low, high),
        )


def _row(row: WholeStimulus, scale: ShadeScale) -> list[Cell]:
    value, low, high = bounds(row.contribution)
    return [
        text_cell(row.family),
        text_cell(MEAN) if row.arm is None else text_cell(row.arm, "code"),
        text_cell(row.subtask),
        count_cell(row.n),
        Cell((value, low, high), scale.told_bounds(value, low, high), sort=value),
    ]
