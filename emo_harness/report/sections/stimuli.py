"""Stimuli: the best and the worst, and what gains go with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from emo_harness.report import verdict_words
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
from emo_harness.report.claims import ChosenStimulus, FamilyClaim
from emo_harness.report.contents import ReportContents
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.figures.traits import Trait, trait_panels
from emo_harness.report.numerals import (
    UNKNOWN,
    count,
    count_cell,
    gain_cell,
    percent_cell,
    pp_cell,
    text_cell,
)
from emo_harness.report.plain_text import slug

ORDER = 50
MOST_WITH_BOUNDS = 1
OPEN_SENTENCES = 8
DEMAND = ("no", "yes")
AROUSAL = ("low", "high")

INTRO = (
    "The stimulus with the greatest gain looks better than it is, because chance helped to "
    "choose it. So it is chosen on one half of the questions and estimated on the other (then "
    "the halves change places); the naive greatest gain stands beside it. The figures show "
    "whether gains go with length, with an order to check (demand), or with arousal."
)
ALONE = "What was put into the prompt, word for word; of an image what it shows."
CROSSED = (
    "The honest worst can come out above the honest best: both are estimated on questions that "
    "they were not chosen on, so where the stimuli hardly differ chance alone orders them."
)
# What images have, and what sentences have: left out where no stimulus has it.
IMAGE_COLUMNS = (
    Column("shows", "of an image", filtered=True),
    Column("level", "of need, of an image", filtered=True),
    Column("arousal", "variant of an image", filtered=True),
)
OF_IMAGES = tuple(column.name for column in IMAGE_COLUMNS)
OF_SENTENCES = ("theory", "length", "in", "demand", "arousal rank")
SENTENCE_COLUMNS = (
    Column("id"),
    Column("family", filtered=True),
    Column("theory", filtered=True),
    Column("text"),
    Column("length", numeric=True),
    Column("in", "what length is counted in"),
    Column("demand", "orders to check or to try harder", filtered=True),
    Column("arousal rank", "1 is the highest", numeric=True),
    *IMAGE_COLUMNS,
)
CHOSEN_COLUMNS = (
    Column("model", filtered=True),
    Column("of", "benchmark, mode, placement and family", filtered=True),
    Column("kind", filtered=True),
    Column("chosen on each half"),
    Column("gain pp, honest", "on the half that did not choose, cross-fitted", numeric=True),
    Column("chosen on all"),
    Column("gain pp, naive", "on the questions that chose it", numeric=True),
)
STIMULUS_COLUMNS = (
    Column("stimulus"),
    Column("text"),
    Column("model", filtered=True),
    Column("theory", filtered=True),
    Column("demand", "orders to check or to try harder", filtered=True),
    Column("arousal rank", "1 is the highest", numeric=True),
    Column("length", "in tokens, else words", numeric=True),
    *IMAGE_COLUMNS,
    Column("n", "questions", numeric=True),
    Column("gain pp", numeric=True),
    Column("low", "95% interval", numeric=True),
    Column("high", "95% interval", numeric=True),
    Column(
        "against placebo pp",
        "the neutral one nearest in length; of an image its own twin",
        numeric=True,
    ),
    Column("unparsed %", "answers that the filter could not read", numeric=True),
)
TRAITS: tuple[tuple[str, tuple[str, ...], Callable[[EffectRow], float]], ...] = (
    ("length", (), lambda row: row.length),
    ("demand", DEMAND, lambda row: _place(row.demand, DEMAND)),
    ("arousal rank (1 is the highest)", (), lambda row: row.arousal_rank),
    ("arousal of the image", AROUSAL, lambda row: _place(row.image_arousal, AROUSAL)),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section; a single stimulus has its sentence and no figure."""
    sentences = _sentences(contents)
    if not sentences:
        return None
    found = [board for board in boards(contents) if _stimuli(board)]
    shows = any(row.image_concept for row in contents.rows if row.kind == "stimulus")
    table = Table(
        "stimuli-sentences",
        "The stimuli" if shows else "The sentences",
        SENTENCE_COLUMNS,
        sentences,
        search=len(sentences) > OPEN_SENTENCES,
        collapsed=len(sentences) > OPEN_SENTENCES,
    )
    blocks: list[Block] = [_without_unknown(table)]
    if not found:
        return Section("stimuli", "Stimuli", ALONE, blocks)
    chosen = [cells for board in found for claim in board.claims for cells in _chosen(board, claim)]
    if chosen:
        table = Table("stimuli-chosen", "Best and worst stimuli", CHOSEN_COLUMNS, chosen)
        blocks += [without_same(table, "of"), Prose(CROSSED, "note")]
    figures = (_figure(board, n) for n, board in enumerate(found) if not board.is_decoded)
    blocks += [figure for figure in figures if figure is not None]
    return Section("stimuli", "Stimuli", INTRO, blocks)


def _sentences(contents: ReportContents) -> list[list[Cell]]:
    """Every stimulus once, as often as its sentence was counted or worded differently."""
    once = {
        (row.family, row.stimulus, row.text, count(row.length), row.length_unit): row
        for row in contents.rows
        if row.primary and row.kind == "stimulus"
    }
    return [
        [
            text_cell(row.stimulus, "strong"),
            text_cell(row.family),
            text_cell(row.theory),
            text_cell(row.text),
            count_cell(row.length),
            text_cell(row.length_unit if row.length > 0 else ""),
            text_cell(row.demand),
            count_cell(row.arousal_rank),
            *_image_cells(row),
        ]
        for row in once.values()
    ]


def _stimuli(board: Board) -> list[str]:
    rows = [row for label in board.labels for row in board.whole(label, "stimulus")]
    ids = list(dict.fromkeys(row.stimulus for row in rows))
    return ids if len(ids) > 1 else []


def _chosen(board: Board, claim: FamilyClaim) -> list[list[Cell]]:
    made = []
    kinds: tuple[tuple[str, ChosenStimulus | None], ...] = (
        ("best", claim.best),
        ("worst", claim.worst),
    )
    for kind, stimulus in kinds:
        if stimulus is None:
            continue
        tone = verdict_words.bounds_tone(stimulus.low_pp, stimulus.high_pp)
        made.append(
            [
                text_cell(claim.label, "strong"),
                text_cell(board.short or board.family),
                text_cell(kind),
                text_cell(" / ".join(dict.fromkeys(stimulus.chosen))),
                gain_cell(stimulus.gain_pp, stimulus.low_pp, stimulus.high_pp, tone=tone),
                text_cell(stimulus.naive),
                pp_cell(stimulus.naive_gain_pp, tone="quiet"),
            ]
        )
    return made


def _figure(board: Board, number: int) -> Figure | None:
    stimuli = _stimuli(board)
    by_model = [
        {row.stimulus: row for row in board.whole(label, "stimulus")} for label in board.labels
    ]

    def matrix(value: Callable[[EffectRow], float]) -> np.ndarray:
        return np.array([[value(m[s]) if s in m else math.nan for s in stimuli] for m in by_model])

    gains = matrix(lambda row: row.gain_pp)
    if np.isnan(gains).all():
        return None
    units = {row.length_unit for model in by_model for row in model.values()}
    traits = []
    for name, labels, value in TRAITS:
        values = np.where(np.isnan(gains), math.nan, matrix(value))
        if len(np.unique(values[~np.isnan(values)])) > 1:
            axis = f"length, {' or '.join(sorted(units))}" if name == "length" else name
            traits.append(Trait(axis, values, labels))
    if not traits:
        # One kind of sentence: gains side by side, above what the sentences have in common.
        lengths = np.unique([row.length for model in by_model for row in model.values()])
        if np.isnan(lengths).all():
            return None
        told = count(lengths[0]) if len(lengths) == 1 else "all"
        traits = [Trait("length, " + " or ".join(sorted(units)), np.zeros(gains.shape), (told,))]
    bounds = None
    if len(by_model) <= MOST_WITH_BOUNDS:
        ends = [matrix(lambda row: row.gain_low_pp), matrix(lambda row: row.gain_high_pp)]
        bounds = np.stack(ends, axis=-1)
    name = f"stimuli-{slug(board.title)}-{number}"
    title = f"Gain of each stimulus against its traits, {board.title}"
    lines = (
        "Lines are 95% intervals."
        if bounds is not None
        else "Intervals are in the table; marks at one value are set side by side."
    )
    alt = f"{title}: {', '.join(trait.axis for trait in traits)}. {lines}"
    cells = [_cells(row) for model in by_model for row in model.values()]
    return Figure(
        name,
        f"{title}. {lines}",
        alt,
        trait_panels(traits, gains, bounds, board.labels, name, title, alt),
        _without_unknown(Table(f"{name}-table", title, STIMULUS_COLUMNS, cells, search=True)),
    )


def _cells(row: EffectRow) -> list[Cell]:
    return [
        text_cell(row.stimulus, "strong"),
        text_cell(row.text),
        text_cell(row.label),
        text_cell(row.theory),
        text_cell(row.demand),
        count_cell(row.arousal_rank),
        count_cell(row.length),
        *_image_cells(row),
        count_cell(row.n_questions),
        pp_cell(row.gain_pp),
        pp_cell(row.gain_low_pp),
        pp_cell(row.gain_high_pp),
        pp_cell(row.gain_vs_placebo_pp),
        percent_cell(row.unparsed_arm_pct),
    ]


def _image_cells(row: EffectRow) -> list[Cell]:
    return [text_cell(row.image_concept), text_cell(row.image_level), text_cell(row.image_arousal)]


def _place(value: str, of: tuple[str, ...]) -> float:
    return float(of.index(value)) if value in of else math.nan


def _without_unknown(table: Table) -> Table:
    """The table without what no stimulus has: images no length, sentences no arousal variant."""
    names = [column.name for column in table.columns]
    shows = any(row[names.index("shows")].value for row in table.rows)
    dropped = {
        place
        for place, name in enumerate(names)
        if name in (*OF_IMAGES, *(OF_SENTENCES if shows else ()))
        and all(row[place].text == UNKNOWN for row in table.rows)
    }
    kept = [place for place in range(len(names)) if place not in dropped]
    return replace(
        table,
        columns=[table.columns[place] for place in kept],
        rows=[[row[place] for place in kept] for row in table.rows],
    )
