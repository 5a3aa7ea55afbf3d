"""Subtasks: accuracy under control against accuracy under the stimuli."""

from __future__ import annotations

import numpy as np

from emo_harness.report import verdict_words
from emo_harness.report.blocks import Cell, Column, Figure, Section, Table
from emo_harness.report.boards import Board, boards
from emo_harness.report.contents import ReportContents
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.figures.subtask_scatter import SubtaskPanel, subtask_scatter
from emo_harness.report.numerals import count_cell, percent_cell, pp_cell, text_cell
from emo_harness.report.plain_text import slug

ORDER = 60
DIRECTIONS = {"up": 1, "down": -1, "quiet": 0}

INTRO = (
    "Each point is a subtask. The farther right, the more of it the untouched prompt gets "
    "right; above the line the stimuli raise that, below they lower it. Triangles have an "
    "interval that leaves zero out, taken by themselves; with many subtasks about one in twenty"
    " does so by chance."
)
COLUMNS = (
    Column("subtask"),
    Column("model", filtered=True),
    Column("n", "questions", numeric=True),
    Column("control %", numeric=True),
    Column("arm %", "mean over the family's stimuli", numeric=True),
    Column("gain pp", numeric=True),
    Column("low", "95% interval", numeric=True),
    Column("high", "95% interval", numeric=True),
    Column("against placebos pp", numeric=True),
    Column("unparsed control %", numeric=True),
    Column("unparsed arm %", numeric=True),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section; it needs two subtasks."""
    figures = [
        figure
        for number, board in enumerate(boards(contents))
        if (figure := _figure(board, number)) is not None
    ]
    return Section("subtasks", "Subtasks", INTRO, figures) if figures else None


def _figure(board: Board, number: int) -> Figure | None:
    by_model = {label: board.by_subtask(label, "family") for label in board.labels}
    by_model = {label: rows for label, rows in by_model.items() if len(rows) > 1}
    if not by_model:
        return None
    panels = [_panel(label, rows) for label, rows in by_model.items()]
    name = f"subtasks-{slug(board.title)}-{number}"
    title = f"Accuracy by subtask under control and under the stimuli, {board.title}"
    alt = f"{title}. " + " ".join(_told(panel) for panel in panels)
    return Figure(
        name,
        f"{title}.",
        alt,
        subtask_scatter(panels, name, title, alt),
        Table(
            f"{name}-table",
            title,
            COLUMNS,
            [_cells(row) for rows in by_model.values() for row in rows],
            search=True,
        ),
    )


def _panel(label: str, rows: list[EffectRow]) -> SubtaskPanel:
    tones = [verdict_words.bounds_tone(row.gain_low_pp, row.gain_high_pp) for row in rows]
    return SubtaskPanel(
        label,
        tuple(row.subtask for row in rows),
        np.array([row.control_pct for row in rows]),
        np.array([row.arm_pct for row in rows]),
        np.array([DIRECTIONS[tone] for tone in tones]),
    )


def _told(panel: SubtaskPanel) -> str:
    return (
        f"{panel.label}: of {len(panel.subtasks)} subtasks {int((panel.direction > 0).sum())} rise "
        f"and {int((panel.direction < 0).sum())} fall."
    )


def _cells(row: EffectRow) -> list[Cell]:
    tone = verdict_words.bounds_tone(row.gain_low_pp, row.gain_high_pp)
    return [
        text_cell(row.subtask, "strong"),
        text_cell(row.label),
        count_cell(row.n_questions),
        percent_cell(row.control_pct),
        percent_cell(row.arm_pct),
        pp_cell(row.gain_pp, tone=tone if tone != "quiet" else ""),
        pp_cell(row.gain_low_pp),
        pp_cell(row.gain_high_pp),
        pp_cell(row.gain_vs_placebo_pp),
        percent_cell(row.unparsed_control_pct),
        percent_cell(row.unparsed_arm_pct),
    ]
