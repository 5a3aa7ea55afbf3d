"""The map: gain by stimulus and subtask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.report.blocks import Block, Cell, Column, Figure, Prose, Section, Table
from emo_harness.report.boards import Board, boards
from emo_harness.report.contents import ReportContents
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.figures.heat_map import heat_map, step_for
from emo_harness.report.numerals import count_cell, pp_cell, probability_cell, text_cell
from emo_harness.report.plain_text import slug

ORDER = 40
ALPHA = 0.05
MOST_MAPS = 16

INTRO = (
    "Each cell is one stimulus on one subtask: blue raises, orange lowers. Hatched cells cannot"
    " be told from zero once it is allowed for how many cells there are (Benjamini and "
    "Hochberg, one family of tests per map, q above 0.05). Framed cells can. Look for whole "
    "rows or columns; a lone cell is for another run to confirm."
)
COLUMNS = (
    Column("subtask"),
    Column("stimulus"),
    Column("n", "questions", numeric=True),
    Column("gain pp", numeric=True),
    Column("low", "95% interval", numeric=True),
    Column("high", "95% interval", numeric=True),
    Column("p", "of no gain, not corrected", numeric=True),
    Column("p exact", "McNemar's test, where answers are right or wrong", numeric=True),
    Column("q", "Benjamini and Hochberg over the map", numeric=True),
)


@dataclass(frozen=True)
class _Map:
    """One model's cells on one board."""

    board: Board
    label: str
    cells: dict[tuple[str, str], EffectRow]


def section(contents: ReportContents) -> Section | None:
    """Build the section; a map needs two subtasks and two stimuli."""
    maps = [
        found
        for board in boards(contents)
        if not board.is_decoded
        for label in board.labels
        if (found := _map(board, label)) is not None
    ]
    if not maps:
        return None
    step_pp = step_for(np.array([row.gain_pp for found in maps for row in found.cells.values()]))
    shown = maps[:MOST_MAPS]
    blocks: list[Block] = [
        _figure(found, number, step_pp, folded=number > 0) for number, found in enumerate(shown)
    ]
    if len(maps) > len(shown):
        left_out = [f"{found.label}, {found.board.title}" for found in maps[len(shown) :]]
        blocks.append(
            Prose("Not drawn, to keep the page small; see effects.parquet:", "note", left_out)
        )
    return Section("map", "Map of stimuli and subtasks", INTRO, blocks)


def _map(board: Board, label: str) -> _Map | None:
    cells = {(row.subtask, row.stimulus): row for row in board.by_subtask(label, "stimulus")}
    enough = all(len({key[i] for key in cells}) > 1 for i in (0, 1))
    return _Map(board, label, cells) if enough else None


def _figure(found: _Map, number: int, step_pp: float, folded: bool) -> Figure:
    subtasks, stimuli = (_ordered(found, i) for i in (0, 1))
    gains = np.full((len(subtasks), len(stimuli)), math.nan)
    clear = np.zeros(gains.shape, dtype=bool)
    cells: list[list[Cell]] = []
    for i, subtask in enumerate(subtasks):
        for j, stimulus in enumerate(stimuli):
            row = found.cells.get((subtask, stimulus))
            if row is None:
                continue
            gains[i, j] = row.gain_pp
            clear[i, j] = row.q <= ALPHA
            cells.append(_cells(row))
    told = _told(clear, gains)
    title = f"{found.label}: {found.board.title}"
    name = f"map-{slug(title)}-{number}"
    alt = (
        f"Heat map of gains of {len(stimuli)} stimuli on {len(subtasks)} subtasks, {title}. {told}"
    )
    return Figure(
        name,
        f"{title}. {told}",
        alt,
        heat_map(gains, clear, subtasks, stimuli, step_pp, name, title, alt),
        Table(f"{name}-table", f"Cells of the map of {title}", COLUMNS, cells, search=True),
        folded=title if folded else "",
    )


def _told(clear: NDArray[np.bool_], gains: NDArray[np.float64]) -> str:
    n, total = int(clear.sum()), int((~np.isnan(gains)).sum())
    if not n:
        return f"None of {total:,} cells can be told from zero."
    raised = int((clear & (gains > 0)).sum())
    return (
        f"{n:,} of {total:,} cells can be told from zero: {raised:,} raise, {n - raised:,} lower."
    )


def _ordered(found: _Map, part: int) -> list[str]:
    """Subtasks or stimuli by mean gain over all models of the board, so that maps line up."""
    sums: dict[str, list[float]] = {}
    for row in found.board.rows:
        if row.kind == "stimulus" and row.n_subtasks == 1:
            key = (row.subtask, row.stimulus)[part]
            sums.setdefault(key, []).append(row.gain_pp)
    own = {key[part] for key in found.cells}

    def place(key: str) -> tuple[bool, float, str]:
        known = [value for value in sums[key] if not math.isnan(value)]
        return (not known, sum(known) / len(known) if known else 0.0, key)

    return sorted(own, key=place)


def _cells(row: EffectRow) -> list[Cell]:
    return [
        text_cell(row.subtask),
        text_cell(row.stimulus),
        count_cell(row.n_questions),
        pp_cell(row.gain_pp, tone="strong" if row.q <= ALPHA else ""),
        pp_cell(row.gain_low_pp),
        pp_cell(row.gain_high_pp),
        probability_cell(row.p),
        probability_cell(row.p_exact),
        probability_cell(row.q),
    ]
