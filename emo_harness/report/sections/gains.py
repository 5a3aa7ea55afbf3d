"""Gains: a forest plot by family and by theory."""

from __future__ import annotations

import math
from dataclasses import replace

from emo_harness.report import verdict_words
from emo_harness.report.blocks import Cell, Column, Figure, Section, Table
from emo_harness.report.boards import Board, boards, typical_half_widths
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.contents import ReportContents
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.figures.forest import ForestRow, forest
from emo_harness.report.numerals import (
    count_cell,
    decimals_for,
    gain,
    pp_cell,
    probability_cell,
    text_cell,
)
from emo_harness.report.plain_text import slug

ORDER = 30

INTRO = (
    "Each point is a mean gain. The thick line is its 95% interval for these stimuli on "
    "questions like these; the thin line is wider, as it also allows for other stimuli of the"
    " same kind. A line that crosses zero cannot tell raising from lowering; one that lies "
    "within the grey band says that there is no difference larger than the margin."
)
COLUMNS = (
    Column("stimuli"),
    Column("model"),
    Column("n", "questions", numeric=True),
    Column("gain pp", numeric=True),
    Column("low", "95% interval, these stimuli", numeric=True),
    Column("high", "95% interval, these stimuli", numeric=True),
    Column("like low", "95% interval, stimuli like these", numeric=True),
    Column("like high", "95% interval, stimuli like these", numeric=True),
    Column("placebos pp", "gain of the neutral placebos over control", numeric=True),
    Column("p", "these stimuli, before correction", numeric=True),
    Column("p Holm", "corrected for all families of the report", numeric=True),
    Column("interval by", "how the interval was made"),
    Column("verdict"),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section."""
    figures = [
        _figure(board, number, contents.margin_pp) for number, board in enumerate(boards(contents))
    ]
    return Section("gains", "Gains by family and theory", INTRO, figures) if figures else None


def _figure(board: Board, number: int, margin_pp: float) -> Figure:
    decimals = decimals_for(typical_half_widths(board.claims))
    lines: list[ForestRow] = []
    cells: list[list[Cell]] = []
    families = [(claim, _of_claim(claim, decimals)) for claim in board.claims]
    several = len(board.claims) > 1
    first = board.claims[0]
    group = f"{board.family}, all {first.n_stimuli}" if first.n_stimuli > 1 else board.family
    if several:
        lines.append(ForestRow(group))
    for claim, line in families:
        lines.append(_named(line, claim.label if several else group))
        cells.append(_claim_cells(group, claim, decimals))
    for name, rows in _theories(board).items():
        if several:
            lines.append(ForestRow(name))
        for row in rows:
            lines.append(_named(_of_row(row, decimals), row.label if several else name))
            cells.append(_row_cells(name, row, decimals))
    about = "" if several else f", {first.label}"
    title = f"Gains of {board.title}{about}"
    name = f"gains-{slug(board.title)}-{number}"
    alt = f"Forest plot, {board.title}. " + " ".join(
        f"{claim.label}: {gain(claim.gain_pp, claim.gain_low_pp, claim.gain_high_pp, decimals)} pp."
        for claim in board.claims
    )
    return Figure(
        name,
        f"{title}. Right: gain [95% interval] in pp.",
        alt,
        forest(lines, margin_pp, name, title, alt),
        Table(f"{name}-table", title, COLUMNS, cells),
    )


def _theories(board: Board) -> dict[str, list[EffectRow]]:
    """Rows by theory, unless the family has but one."""
    found: dict[str, list[EffectRow]] = {}
    for label in board.labels:
        for row in board.whole(label, "theory"):
            found.setdefault(f"{row.theory}, {row.n_stimuli}", []).append(row)
    return found if len(found) > 1 else {}


def _of_claim(claim: FamilyClaim, decimals: int) -> ForestRow:
    return ForestRow(
        "",
        claim.gain_pp,
        claim.gain_low_pp,
        claim.gain_high_pp,
        claim.like_low_pp,
        claim.like_high_pp,
        claim.gain_pp - claim.placebo_gain_pp,
        gain(claim.gain_pp, claim.gain_low_pp, claim.gain_high_pp, decimals),
        verdict_words.bounds_tone(claim.gain_low_pp, claim.gain_high_pp),
    )


def _of_row(row: EffectRow, decimals: int) -> ForestRow:
    return ForestRow(
        "",
        row.gain_pp,
        row.gain_low_pp,
        row.gain_high_pp,
        math.nan,
        math.nan,
        row.gain_pp - row.gain_vs_placebo_pp,
        gain(row.gain_pp, row.gain_low_pp, row.gain_high_pp, decimals),
        verdict_words.bounds_tone(row.gain_low_pp, row.gain_high_pp),
    )


def _named(line: ForestRow, label: str) -> ForestRow:
    return replace(line, label=label)


def _claim_cells(group: str, claim: FamilyClaim, decimals: int) -> list[Cell]:
    values = (
        claim.gain_pp,
        claim.gain_low_pp,
        claim.gain_high_pp,
        claim.like_low_pp,
        claim.like_high_pp,
        claim.gain_pp - claim.placebo_gain_pp,
    )
    return [
        text_cell(group, "strong"),
        text_cell(claim.label),
        count_cell(claim.n_questions),
        *(pp_cell(value, decimals) for value in values),
        probability_cell(claim.p),
        probability_cell(claim.p_holm),
        text_cell(claim.gain_method),
        text_cell(claim.verdict),
    ]


def _row_cells(group: str, row: EffectRow, decimals: int) -> list[Cell]:
    values = (row.gain_pp, row.gain_low_pp, row.gain_high_pp, math.nan, math.nan)
    return [
        text_cell(group),
        text_cell(row.label),
        count_cell(row.n_questions),
        *(pp_cell(value, decimals) for value in values),
        pp_cell(row.gain_pp - row.gain_vs_placebo_pp, decimals),
        probability_cell(row.p),
        probability_cell(math.nan),
        text_cell(row.gain_method),
        text_cell(row.verdict),
    ]
