"""The leaderboard: models beside each other, with places as ranges."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from emo_harness.report import verdict_words
from emo_harness.report.blocks import Block, Cell, Column, Prose, Section, Table, without_same
from emo_harness.report.boards import MODES, boards, typical_half_widths
from emo_harness.report.claims import ChosenStimulus
from emo_harness.report.contents import ReportContents
from emo_harness.report.leaderboard import LeaderboardRow
from emo_harness.report.numerals import (
    JOIN,
    UNKNOWN,
    bounds_cell,
    count_cell,
    decimals_for,
    gain,
    gain_cell,
    interval,
    percent,
    text_cell,
)
from emo_harness.report.placed import placed

ORDER = 20

INTRO = (
    "Models under the same questions and the same stimuli. Robustness is the gain under the "
    "family: for an attack, the nearer to zero (or above), the sturdier the model. A place is a"
    " range: 1–2 means that this data cannot tell which of the two places is right. Models that"
    " share a letter are tied."
)
ALONE = (
    "One model, so there is nothing to rank: report several runs together to compare models. "
    "Robustness is the gain under the family: for an attack, the nearer to zero (or above), the "
    "sturdier the model."
)
APART = (
    "Not all models of a board were asked the same subtasks and stimuli, or have a known gain. "
    "Places and letters hold among those that were asked alike: “1 of 2” is the first of two such "
    "models. Gains of models with different numbers of questions may be of different questions."
)
PLACES = ("place", "tied")
COLUMNS = (
    Column("model"),
    Column("place", "by gain, as the range that the data allows", numeric=True),
    Column("tied", "models with a letter in common cannot be told apart"),
    Column("verdict", "on these stimuli"),
    Column("gain pp (robustness)", "these stimuli, with its 95% interval", numeric=True),
    Column("stimuli like these, pp", "95% interval", numeric=True),
    Column("control %", "accuracy of the untouched prompt, with its 95% interval", numeric=True),
    Column("n", "questions", numeric=True),
)
CHOSEN_COLUMNS = (
    Column("worst stimulus, pp", "chosen on one half, estimated on the other", numeric=True),
    Column("best stimulus, pp", "chosen on one half, estimated on the other", numeric=True),
)
BOARD_COLUMNS = (
    Column("benchmark", filtered=True),
    Column("mode", "how the question is asked", filtered=True),
    Column("placement", "where the stimulus goes", filtered=True),
    Column("family", "of the stimuli", filtered=True),
    Column("asked as", "the task's own family, where it is another", filtered=True),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section; a model that stands alone has no place and no letter."""
    if not contents.leaderboard:
        return None
    # Stable: models on one footing come together and in order.
    rows = sorted(contents.leaderboard, key=lambda row: (*_board(row), row.rank_low is None))
    decimals = decimals_for(typical_half_widths([row.claim for row in rows]))
    n_models = Counter(map(_board, rows))
    apart = any(row.n_models and row.n_models < n_models[_board(row)] for row in rows)
    first = {n for n in range(1, len(rows)) if _board(rows[n]) != _board(rows[n - 1])}
    found = boards(contents)
    board_names = [column.name for column in BOARD_COLUMNS]
    table = Table(
        "leaderboard-table",
        "Models by benchmark, mode, placement and family" if len(found) > 1 else found[0].title,
        (COLUMNS[0], *BOARD_COLUMNS, *COLUMNS[1:]),
        [_cells(row, row.n_models or n_models[_board(row)], decimals) for row in rows],
        search=len(rows) > 8,
        breaks=frozenset(first),
    )
    chosen = Table(
        "leaderboard-chosen",
        "Worst and best stimulus",
        (COLUMNS[0], *BOARD_COLUMNS, *CHOSEN_COLUMNS),
        [_chosen_cells(row, decimals) for row in rows],
        collapsed=True,
        breaks=frozenset(first),
    )
    alone = max(row.n_models or n_models[_board(row)] for row in rows) < 2
    blocks: list[Block] = [without_same(table, *board_names, *(PLACES if alone else ()))]
    if any(row.claim.limited for row in rows):
        blocks.append(
            Prose("Some rows asked a part of the questions: not for reporting.", "warning")
        )
    blocks.append(without_same(chosen, *board_names))
    blocks.append(
        Prose(
            "Worst and best stimulus are chosen on one half of the questions and estimated on the "
            "other, then the halves change places, so the estimate is not flattered by the choice; "
            "two names mean that the halves chose differently. Pairs of models are compared by "
            "question, Holm-corrected.",
            "note",
        )
    )
    if apart:
        blocks.append(Prose(APART, "note"))
    return Section("leaderboard", "Leaderboard", ALONE if alone else INTRO, blocks)


def _board(row: LeaderboardRow) -> tuple[str, ...]:
    return (*row.claim.board, row.claim.family)


def _model_cells(row: LeaderboardRow) -> list[Cell]:
    """A model and its board."""
    claim = row.claim
    return [
        text_cell(claim.label, "strong"),
        text_cell(claim.benchmark),
        text_cell(MODES.get(claim.mode, claim.mode)),
        text_cell(placed([claim])),
        text_cell(claim.family),
        text_cell(claim.asked if claim.asked != claim.family else ""),
    ]


def _chosen_cells(row: LeaderboardRow, decimals: int) -> list[Cell]:
    claim = row.claim
    return [*_model_cells(row), _chosen(claim.worst, decimals), _chosen(claim.best, decimals)]


def _cells(row: LeaderboardRow, n_models: int, decimals: int) -> list[Cell]:
    claim = row.claim
    control = (claim.control_pct, claim.control_low_pct, claim.control_high_pct)
    tone = verdict_words.tone(claim.verdict)
    return [
        *_model_cells(row),
        _place(row, n_models),
        text_cell(row.tied),
        Cell(claim.verdict, f"{verdict_words.SIGNS[tone]} {claim.verdict}", tone=tone),
        _loose(gain_cell(claim.gain_pp, claim.gain_low_pp, claim.gain_high_pp, decimals)),
        bounds_cell(claim.like_low_pp, claim.like_high_pp, decimals),
        _loose(
            Cell(
                control,
                f"{percent(control[0], decimals)}{_share_interval(*control[1:], decimals)}",
                sort=control[0],
            )
        ),
        count_cell(claim.n_questions),
    ]


def _place(row: LeaderboardRow, n_models: int) -> Cell:
    low, high = row.rank_low, row.rank_high
    if low is None or high is None:
        return Cell(None, UNKNOWN)
    places = f"{low}–{high}" if high > low else str(low)
    return Cell((low, high), f"{places}{JOIN}of{JOIN}{n_models}", sort=low + high / 1000)


def _loose(cell: Cell) -> Cell:
    """The cell with its interval on a line of its own where the table is wide."""
    return replace(cell, text=cell.text.replace(f"{JOIN}[", " ["), tone="wraps")


def _share_interval(low: float, high: float, decimals: int) -> str:
    return "" if math.isnan(low) else JOIN + interval(low, high, decimals).replace("+", "")


def _chosen(stimulus: ChosenStimulus | None, decimals: int) -> Cell:
    if stimulus is None:
        return Cell(None, UNKNOWN)
    names = " / ".join(dict.fromkeys(stimulus.chosen))
    told = gain(stimulus.gain_pp, stimulus.low_pp, stimulus.high_pp, decimals)
    values = (stimulus.gain_pp, stimulus.low_pp, stimulus.high_pp)
    return Cell(values, f"{names}: {told}", sort=stimulus.gain_pp, tone="wraps")
