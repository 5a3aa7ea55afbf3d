"""Trajectories as blocks: the axis score over the tokens that a model writes."""

from __future__ import annotations

import numpy as np

from emo_harness.report.blocks import Block, Cell, Column, Figure, Prose, Table
from emo_harness.report.figures.curves import Curve, curves
from emo_harness.report.geometry.numbers import (
    GeometryNumbers,
    TrajectoryNumbers,
    TrajectoryStep,
)
from emo_harness.report.geometry.words import known, number_cell, told
from emo_harness.report.numerals import JOIN, count_cell, text_cell
from emo_harness.report.plain_text import shortened, slug

STEP_COLUMNS = (
    Column("prompts"),
    Column("step", "generated tokens", numeric=True),
    Column("score", "class-mean distances", numeric=True),
    Column("low", "95% interval over words and templates", numeric=True),
    Column("high", "95% interval over words and templates", numeric=True),
    Column("n", "prompts that still go on", numeric=True),
)


def trajectory_blocks(numbers: GeometryNumbers, prefix: str) -> list[Block]:
    """A figure per axis, with what it shows in one sentence and examples of what was written."""
    blocks: list[Block] = []
    for one in numbers.trajectory or ():
        blocks.append(_trajectory_figure(one, prefix))
        blocks.append(
            Prose(
                "What the model wrote, for example (prompt → continuation):",
                "note",
                [f"{shortened(p, 160)} → {shortened(t, 160)}" for p, t in one.texts],
            )
        )
    return blocks


def trajectory_sentences(numbers: GeometryNumbers) -> list[str]:
    return [_trajectory_sentence(one) for one in numbers.trajectory or ()]


def _trajectory_sentence(one: TrajectoryNumbers) -> str:
    gaps = [step for step in one.steps if step.target == "high - low"]
    if not gaps:
        return f"{one.axis.capitalize()} over generated tokens: no two classes to compare."
    last = gaps[-1]
    written = [gap for gap in gaps if gap.step > 0]
    clear = [gap for gap in written if gap.low is not None and gap.low > 0]
    until = 0
    for gap in written:
        if gap.low is None or gap.low <= 0:
            break
        until = gap.step
    kept = (
        f"the classes stay apart over all {len(written)} steps"
        if written and len(clear) == len(written)
        else f"the interval leaves zero out up to step {until}"
        if until
        else "no difference is shown at the first token it writes"
    )
    return (
        f"{one.axis.capitalize()} over generated tokens ({one.n_prompts} prompts, "
        f"{'sampled' if one.sampled else 'greedy'}): high minus low is {_score(gaps[0])} at the "
        f"prompt's last token and {_score(last)} after {last.step} tokens; {kept}."
    )


def _score(step: TrajectoryStep) -> str:
    return (
        f"{told(step.mean, 2, True)} [{told(step.low, 2, True)},{JOIN}{told(step.high, 2, True)}]"
    )


def _trajectory_figure(one: TrajectoryNumbers, prefix: str) -> Figure:
    name = f"{prefix}-trajectory-{slug(one.axis)}"
    title = f"{one.axis.capitalize()} over generated tokens, {one.model}"
    # High and low are mirror images within templates: their difference is in the table.
    targets = [t for t in dict.fromkeys(s.target for s in one.steps) if t != "high - low"]
    drawn = []
    for target in targets:
        own = [step for step in one.steps if step.target == target]
        table = np.array([[known(v) for v in (s.step, s.mean, s.low, s.high)] for s in own])
        step, mean, low, high = table.T
        drawn.append(Curve(target, step, mean, low, high))
    alt = f"{title}. {_trajectory_sentence(one)}"
    rows: list[list[Cell]] = [
        [
            text_cell(step.target, "strong"),
            count_cell(step.step),
            number_cell(step.mean, 3, True),
            number_cell(step.low, 3, True),
            number_cell(step.high, 3, True),
            count_cell(step.n),
        ]
        for step in one.steps
    ]
    return Figure(
        name,
        f"{title}: mean score by what the prompt says, within templates (minus the middle of the "
        "template's high and low prompts), with 95% bands over words and templates. Step "
        "0 is the prompt's last token.",
        alt,
        curves(
            drawn,
            ("generated tokens", f"{one.axis}, class-mean distances"),
            0.0,
            "halfway",
            name,
            title,
            alt,
        ),
        Table(f"{name}-table", title, STEP_COLUMNS, rows, search=len(rows) > 20),
    )
