"""Ablations: gain against a factor in which the runs differ."""

from __future__ import annotations

import math

from emo_harness.report.ablation import AblationRow
from emo_harness.report.blocks import Cell, Column, Figure, Section, Table
from emo_harness.report.contents import ReportContents
from emo_harness.report.figures.dose import DosePoint, dose
from emo_harness.report.numerals import UNKNOWN, count_cell, gain, pp_cell, text_cell
from emo_harness.report.plain_text import slug

ORDER = 80
AMOUNTS = ("temperature", "num_fewshot")
NAMES = {"temperature": "temperature", "num_fewshot": "number of shots", "placement": "placement"}

INTRO = (
    "The runs differ in one thing and are alike in the rest. If intervals overlap widely, this "
    "data does not show that the thing matters. Spread is how much the score of one question "
    "varies when it is asked again."
)
COLUMNS = (
    Column("value"),
    Column("family", filtered=True),
    Column("series", filtered=True),
    Column("n", "questions", numeric=True),
    Column("gain pp", numeric=True),
    Column("low", "95% interval", numeric=True),
    Column("high", "95% interval", numeric=True),
    Column("spread pp", "standard deviation over repeats of a question", numeric=True),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section, where runs differ in a factor."""
    factors = list(dict.fromkeys(row.factor for row in contents.ablations))
    figures = [
        _figure(factor, [row for row in contents.ablations if row.factor == factor], contents)
        for factor in factors
    ]
    return Section("ablations", "Ablations", INTRO, figures) if figures else None


def _figure(factor: str, rows: list[AblationRow], contents: ReportContents) -> Figure:
    rows = sorted(rows, key=lambda row: row.position)
    values = list(dict.fromkeys(row.value for row in rows))
    several = len({row.family for row in rows}) > 1
    named = [f"{row.series}, {row.family}" if several else row.series for row in rows]
    series_of = {label: row.series for label, row in zip(named, rows, strict=True)}
    order = list(dict.fromkeys(row.series for row in contents.ablations))
    labels = sorted(set(named), key=lambda label: (order.index(series_of[label]), label))
    points = [
        DosePoint(
            labels.index(label),
            values.index(row.value),
            row.gain_pp,
            row.gain_low_pp,
            row.gain_high_pp,
        )
        for row, label in zip(rows, named, strict=True)
    ]
    axis = NAMES.get(factor, factor)
    title = f"Gain against {axis}"
    alt = f"{title}. " + " ".join(
        f"{label}, {row.value}: {gain(row.gain_pp, row.gain_low_pp, row.gain_high_pp)} pp."
        for row, label in zip(rows, named, strict=True)
    )
    name = f"ablation-{slug(factor)}"
    return Figure(
        name,
        f"{title}, with 95% intervals (band: margin).",
        alt,
        dose(points, values, labels, axis, factor in AMOUNTS, contents.margin_pp, name, title, alt),
        Table(f"{name}-table", title, COLUMNS, [_cells(row) for row in rows]),
    )


def _cells(row: AblationRow) -> list[Cell]:
    spread = row.within_sd_pp
    return [
        Cell(row.value, row.value, sort=row.position, tone="strong"),
        text_cell(row.family),
        text_cell(row.series),
        count_cell(row.n_questions),
        pp_cell(row.gain_pp, 2),
        pp_cell(row.gain_low_pp, 2),
        pp_cell(row.gain_high_pp, 2),
        Cell(spread, UNKNOWN if math.isnan(spread) else f"{spread:.1f}", sort=spread),
    ]
