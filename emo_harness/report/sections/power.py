"""Power: what this many questions can and cannot show."""

from __future__ import annotations

import math

from emo_harness.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Prose,
    Section,
    Table,
    without_same,
)
from emo_harness.report.boards import Board, boards
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.contents import ReportContents
from emo_harness.report.figures.ruler import RulerPoint, ruler
from emo_harness.report.numerals import count_cell, pp_cell, text_cell

ORDER = 70

INTRO = (
    "A ruler for what to expect: the least true gain that a comparison of n questions would "
    "show in four runs of five. The fewer answers flip between the arms, the smaller it is. "
    "Large marks are this report's families on all their questions, small ones single subtasks."
    " A mark above the margin (grey) means: an effect as small as the margin would probably be "
    "missed here."
)
COLUMNS = (
    Column("model"),
    Column("family", filtered=True),
    Column("subtask"),
    Column("n", "questions", numeric=True),
    Column("least gain shown, pp", "with 80% power at 5%", numeric=True),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section."""
    found = boards(contents)
    labels = list(dict.fromkeys(_series(board, c) for board in found for c in board.claims))
    points: list[RulerPoint] = []
    cells: list[list[Cell]] = []
    for board in found:
        for claim in board.claims:
            series = labels.index(_series(board, claim))
            marks = [("(all)", claim.n_questions, claim.mde_pp)] + [
                (row.subtask, row.n_questions, row.mde_pp)
                for row in board.by_subtask(claim.label, "family")
            ]
            for number, (subtask, n, mde_pp) in enumerate(marks):
                if math.isnan(mde_pp) or mde_pp <= 0:
                    continue
                points.append(RulerPoint(series, n, mde_pp, whole=number == 0))
                cells.append(
                    [
                        text_cell(claim.label),
                        text_cell(board.title),
                        text_cell(subtask, "strong" if number == 0 else ""),
                        count_cell(n),
                        Cell(mde_pp, pp_cell(mde_pp, 2).text.lstrip("+"), sort=mde_pp),
                    ]
                )
    if not points:
        return None
    title = "The least gain that n questions show with 80% power"
    above = [p for p in points if p.whole and p.mde_pp > contents.margin_pp]
    n_whole = sum(p.whole for p in points)
    told = (
        f"{len(above)} of {n_whole} comparisons of whole families could miss a gain as small as "
        f"the margin of {contents.margin_pp:g} pp."
    )
    alt = f"{title}, on logarithmic scales, for 2, 5, 10, 20 and 40% of answers flipping. {told}"
    figure = Figure(
        "power-ruler",
        f"{title}. {told}",
        alt,
        ruler(points, labels, contents.margin_pp, "power-ruler", title, alt),
        without_same(Table("power-table", title, COLUMNS, cells, search=len(cells) > 12), "family"),
    )
    blocks: list[Block] = [figure]
    blocks.append(
        Prose(
            "Lines assume answers that are right or wrong, and one stimulus against control. The "
            "mean of a family's many stimuli varies less, so its mark can lie below the line of "
            "its flips. Marks at one n are set side by side.",
            "note",
        )
    )
    return Section("power", "What this many questions can show", INTRO, blocks)


def _series(board: Board, claim: FamilyClaim) -> str:
    """What has a mark of its own: a model, with what tells its boards apart."""
    return f"{claim.label}, {board.short}" if board.short else claim.label
