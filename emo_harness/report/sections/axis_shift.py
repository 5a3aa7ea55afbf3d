"""Shift and gain: does what a stimulus moves inside the model predict what it does to scores?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from emo_harness.report.blocks import Block, Cell, Column, Figure, Prose, Section, Table
from emo_harness.report.contents import ReportContents
from emo_harness.report.figures.shift_scatter import ShiftPanel, shift_scatter
from emo_harness.report.numerals import (
    JOIN,
    MINUS,
    UNKNOWN,
    bounds_cell,
    count_cell,
    gain_cell,
    interval,
    pp,
    probability,
    text_cell,
)
from emo_harness.report.plain_text import slug
from emo_harness.report.posthoc import read_posthoc
from emo_harness.validation import Strict

ORDER = 84
CLEAR_P = 0.05

INTRO = (
    "Every prompt was read at the axes that probes found: a shift of +1 is the distance from the "
    "mean of low words to the mean of high words. A stimulus's shift is its prompt minus the "
    "control prompt of the same question. If emotion inside the model drove the scores, shift "
    "would predict gain: from one stimulus to another, and for one stimulus from question to "
    "question. Few stimuli make the first hard to see; the second does not depend on what else "
    "tells stimuli apart. Questions differ in many ways at once, so that almost any direction goes "
    "with gain a little: an axis counts only where it does so more closely than random ones."
)
COLUMNS = (
    Column("axis", filtered=True),
    Column("family", filtered=True),
    Column("stimulus"),
    Column("n", "questions", numeric=True),
    Column("shift", "class-mean distances, with 95% interval", numeric=True),
    Column("gain pp", "with 95% interval", numeric=True),
)


class ShiftedStimulus(Strict):
    """One stimulus on one axis; triples are estimate, low, high, None where unknown."""

    id: str
    family: str
    n: int
    shift: list[float | None]
    gain_pp: list[float | None]


class Related(Strict):
    """`effects.association.Association`, None where unknown.

    `p_random` is the share of random directions whose correlation is at least as strong.
    """

    n: int
    slope_pp: float | None
    low_pp: float | None
    high_pp: float | None
    correlation: float | None
    p: float | None
    rank_correlation: float | None
    rank_low: float | None
    rank_high: float | None
    n_random: int
    p_random: float | None


class ShiftedAxis(Strict):
    """One axis over one group of subtasks."""

    axis: str
    stimuli: list[ShiftedStimulus]
    between: Related
    within: Related


class ShiftedGroup(Strict):
    """One model, benchmark, mode, placement and family that the task was run with.

    `n_cut` prompts did not fit the model's context and were left out.
    """

    model: str
    benchmark: str
    mode: str
    placement: str
    asked: str
    n_questions: int
    n_cut: int = 0
    axes: list[ShiftedAxis]


class AxisShift(Strict):
    """`posthoc/axis_shift.json`, as `emo probe apply` writes it.

    Attributes:
        forced: what tells the model it was read in from the one that was asked, in words.
        n_drawn: questions that were drawn with `seed`; None for all.
    """

    schema_version: int
    axes_file: str
    site: str
    layers: list[int]
    position: str
    read_in: str
    is_same_model: bool
    forced: str | None = None
    n_drawn: int | None = None
    seed: int | None = None
    groups: list[ShiftedGroup]


def section(contents: ReportContents) -> Section | None:
    """Build the section, where `emo probe apply` was run."""
    blocks: list[Block] = []
    found = read_posthoc(contents.run_folders, "axis_shift", AxisShift)
    for number, one in enumerate(found):
        for group in one.groups:
            blocks += _blocks(one, group, f"axis-shift-{number}", contents.margin_pp)
    return Section("axis-shift", "Shift inside, gain outside", INTRO, blocks) if blocks else None


def _blocks(one: AxisShift, group: ShiftedGroup, prefix: str, margin_pp: float) -> list[Block]:
    asked = f"{group.benchmark}, {group.asked}, {group.mode}, {group.placement}"
    about = f"{group.model} on {asked}"
    layers = f"{len(one.layers)} layers" if len(one.layers) > 1 else f"layer {one.layers[0]}"
    where = f"Read at {one.site}, {layers}, {_position(one.position)}, in {one.read_in}."
    if one.n_drawn is not None:
        where += f" {group.n_questions:,} questions, drawn with seed {one.seed}."
    if group.n_cut:
        where += f" Left out, since they did not fit the model's context: {group.n_cut:,} prompts."
    blocks: list[Block] = []
    if not one.is_same_model:
        blocks.append(
            Prose(
                f"The scores of {group.model} are set beside shifts inside {one.read_in}: a "
                "relation would be about the prompts, not about what happens in the model asked."
                f"{_forced(one)}",
                "warning",
            )
        )
    blocks.append(Prose(f"{about}. {where}", items=[sentence(axis) for axis in group.axes]))
    blocks.append(_figure(group, about, f"{prefix}-{slug(about)}", margin_pp))
    return blocks


def _forced(one: AxisShift) -> str:
    return f" It was forced although there was found: {one.forced}." if one.forced else ""


def _position(position: str) -> str:
    return {"last": "last token of the prompt"}.get(position, position)


def sentence(axis: ShiftedAxis) -> str:
    between, within = axis.between, axis.within
    return (
        f"{axis.axis.capitalize()}, from stimulus to stimulus: {_relation(between, 'stimuli')} "
        f"{_ranked(between)}"
        f"For one stimulus, from question to question: {_relation(within, 'questions')}"
    )


def _relation(found: Related, unit: str) -> str:
    slope, low, high, p = map(_number, (found.slope_pp, found.low_pp, found.high_pp, found.p))
    if math.isnan(slope):
        return f"unknown ({found.n} {unit})."
    told = (
        f"{pp(slope)}{JOIN}pp of gain per class-mean distance {interval(low, high)}, "
        f"p {_than(p)}, {found.n:,} {unit}"
    )
    leaves_zero_out = low > 0 or high < 0
    if p < CLEAR_P and not leaves_zero_out:
        return (
            f"Not settled: {told}. These stimuli pair so rarely by chance, but the interval, which "
            "also counts that other stimuli might have been chosen, holds zero."
        )
    if not leaves_zero_out or not p < CLEAR_P:
        return f"No relation shown: {told}."
    at_random = _number(found.p_random)
    share = f"{100 * at_random:.0f}% of {found.n_random} random directions do so as closely"
    if not at_random < CLEAR_P:
        unknown = "random directions were not tried" if math.isnan(at_random) else share
        return f"Nothing that is this axis's own: {told}; but {unknown}."
    word = "A larger shift goes with more gain" if slope > 0 else "A larger shift costs gain"
    return f"{word}: {told}; {share}."


def _than(p: float) -> str:
    shown = probability(p)
    return f"{shown[0]}{JOIN}{shown[1:]}" if shown.startswith("<") else f"={JOIN}{shown}"


def _ranked(found: Related) -> str:
    if found.rank_correlation is None:
        return ""
    low, high = map(_number, (found.rank_low, found.rank_high))
    shown = f"{found.rank_correlation:+.2f}".replace("-", MINUS)
    return f"Rank correlation {shown} {interval(low, high, 2)}. "


def _figure(group: ShiftedGroup, about: str, name: str, margin_pp: float) -> Figure:
    families = list(dict.fromkeys(s.family for axis in group.axes for s in axis.stimuli))
    panels = [_panel(axis, families) for axis in group.axes]
    title = f"Gain against shift, {about}"
    rows = [
        [
            text_cell(axis.axis),
            text_cell(stimulus.family),
            text_cell(stimulus.id, "code"),
            count_cell(stimulus.n),
            _shift_cell(stimulus.shift),
            _gain_cell(stimulus.gain_pp),
        ]
        for axis in group.axes
        for stimulus in axis.stimuli
    ]
    alt = f"{title}. " + " ".join(sentence(axis) for axis in group.axes)
    return Figure(
        name,
        f"{title}: one mark per stimulus with 95% intervals of both (grey band: margin). The line "
        "is the fit over stimuli, dashed where its slope cannot be told from zero. Marks without "
        "room for a name are in the table.",
        alt,
        shift_scatter(panels, families, margin_pp, name, title, alt),
        Table(f"{name}-table", title, COLUMNS, rows, search=len(rows) > 20),
    )


def _panel(axis: ShiftedAxis, families: Sequence[str]) -> ShiftPanel:
    between = axis.between
    low, high = _number(between.low_pp), _number(between.high_pp)
    return ShiftPanel(
        axis.axis,
        tuple(s.id for s in axis.stimuli),
        tuple(families.index(s.family) for s in axis.stimuli),
        np.array([[_number(v) for v in s.shift] for s in axis.stimuli], float).reshape(-1, 3),
        np.array([[_number(v) for v in s.gain_pp] for s in axis.stimuli], float).reshape(-1, 3),
        _number(between.slope_pp),
        low > 0 or high < 0,
    )


def _shift_cell(shift: Sequence[float | None]) -> Cell:
    value, low, high = map(_number, shift)
    if math.isnan(value):
        return Cell(value, UNKNOWN)
    cell = bounds_cell(low, high, 2)
    return Cell((value, low, high), f"{pp(value, 2)}{JOIN}{cell.text}", sort=value)


def _gain_cell(gain_pp: Sequence[float | None]) -> Cell:
    value, low, high = map(_number, gain_pp)
    return gain_cell(value, low, high)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
