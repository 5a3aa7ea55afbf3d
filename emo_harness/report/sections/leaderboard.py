"""The leaderboard: models beside each other, with places as ranges."""

from __future__ import annotations

import math
from collections import Counter

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
PLACES = ("place", "tied")
COLUMNS = (
    Column("model"),
    Column("place", "by gain, as the range that the data allows", numeric=True),
    Column("tied", "models with a letter in common cannot be told apart"),
    Column("verdict", "on these sentences"),
    Column("gain pp (robustness)", "these sentences, with its 95% interval", numeric=True),
    Column("sentences like these, pp", "95% interval", numeric=True),
    Column("control %", "accuracy of the untouched prompt, with its 95% interval", numeric=True),
    Column("worst stimulus, pp", "chosen on one half, estimated on the other", numeric=True),
    Column("best stimulus, pp", "chosen on one half, estimated on the other", numeric=True),
    Column("n", "questions", numeric=True),
    Column("revision", "of the model's files"),
)
BOARD_COLUMNS = (
    Column("benchmark", filtered=True),
    Column("mode", "how the question is asked", filtered=True),
    Column("placement", "where the stimulus goes", filtered=True),
    Column("family", "of the stimuli", filtered=True),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section; a model that stands alone has no place and no letter."""
    if not contents.leaderboard:
        return None
    rows = sorted(contents.leaderboard, key=lambda r: (*_board(r), r.rank_low, -r.claim.gain_pp))
    decimals = decimals_for(typical_half_widths([row.claim for row in rows]))
    n_models = Counter(map(_board, rows))
    first = {n for n in range(1, len(rows)) if _board(rows[n]) != _board(rows[n - 1])}
    found = boards(contents)
    board_names = [column.name for column in BOARD_COLUMNS]
    table = Table(
        "leaderboard-table",
        "Models by benchmark, mode, placement and family" if len(found) > 1 else found[0].title,
        (COLUMNS[0], *BOARD_COLUMNS, *COLUMNS[1:]),
        [_cells(row, n_models[_board(row)], decimals) for row in rows],
        search=len(rows) > 8,
        breaks=frozenset(first),
    )
    alone = max(n_models.values()) < 2
    blocks: list[Block] = [without_same(table, *board_names, *(PLACES if alone else ()))]
    if any(row.claim.limited for row in rows):
        blocks.append(
            Prose("Some rows asked a part of the questions: not for reporting.", "warning")
        )
    blocks.append(
        Prose(
            "Worst and best stimulus are chosen on one half of the questions and estimated on the "
            "other, then the halves change places, so the estimate is not flattered by the choice; "
            "two names mean that the halves chose differently. Pairs of models are compared by "
            "question, Holm-corrected.",
            "note",
        )
    )
    return Section("leaderboard", "Leaderboard", ALONE if alone else INTRO, blocks)


def _board(row: LeaderboardRow) -> tuple[str, ...]:
    claim = row.claim
    return (claim.benchmark, claim.mode, claim.placement, claim.asked, claim.family)


def _cells(row: LeaderboardRow, n_models: int, decimals: int) -> list[Cell]:
    claim = row.claim
    places = f"{row.rank_low}–{row.rank_high}" if row.rank_high > row.rank_low else row.rank_low
    control = (claim.control_pct, claim.control_low_pct, claim.control_high_pct)
    tone = verdict_words.tone(claim.verdict)
    return [
        text_cell(claim.label, "strong"),
        text_cell(claim.benchmark),
        text_cell(MODES.get(claim.mode, claim.mode)),
        text_cell(claim.placement),
        text_cell(claim.family),
        Cell(
            (row.rank_low, row.rank_high),
            f"{places} of {n_models}",
            sort=row.rank_low + row.rank_high / 1000,
        ),
        text_cell(row.tied),
        Cell(claim.verdict, f"{verdict_words.SIGNS[tone]} {claim.verdict}", tone=tone),
        gain_cell(claim.gain_pp, claim.gain_low_pp, claim.gain_high_pp, decimals),
        bounds_cell(claim.like_low_pp, claim.like_high_pp, decimals),
        Cell(control, f"{percent(control[0])}{_share_interval(*control[1:])}", sort=control[0]),
        _chosen(claim.worst),
        _chosen(claim.best),
        count_cell(claim.n_questions),
        text_cell(claim.revision[:12], "code"),
    ]


def _share_interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else JOIN + interval(low, high).replace("+", "")


def _chosen(stimulus: ChosenStimulus | None) -> Cell:
    if stimulus is None:
        return Cell(None, UNKNOWN)
    names = " / ".join(dict.fromkeys(stimulus.chosen))
    told = gain(stimulus.gain_pp, stimulus.low_pp, stimulus.high_pp)
    return Cell(
        (stimulus.gain_pp, stimulus.low_pp, stimulus.high_pp),
        f"{names}: {told}",
        sort=stimulus.gain_pp,
    )
