"""Evaluations as blocks: accuracy by layer beside its controls, and by layer and head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emo_harness.report.blocks import Block, Cell, Column, Figure, Table
from emo_harness.report.figures.curves import Curve, curves
from emo_harness.report.figures.tile_map import Scale, tile_map
from emo_harness.report.geometry.numbers import (
    ControlCurve,
    CurvePoint,
    Curves,
    EvaluationVerdict,
    GeometryNumbers,
    HeadMap,
)
from emo_harness.report.geometry.words import known, number_cell, told
from emo_harness.report.numerals import JOIN, count_cell, text_cell
from emo_harness.report.plain_text import slug

CHANCE = 0.5
MOST_CONTROLS = 4
STEPS = (0.02, 0.04, 0.06, 0.08, 0.12)
MEANING = {
    "E1": "unseen words",
    "E2": "unseen templates",
    "E3": "unseen combinations",
    "E4": "unseen words and templates",
}
CURVE_COLUMNS = (
    Column("curve", filtered=True),
    Column("kind", filtered=True),
    Column("layer", "none: all layers together", numeric=True),
    Column("accuracy", numeric=True),
    Column("low", "95% interval over words and templates", numeric=True),
    Column("high", "95% interval over words and templates", numeric=True),
)
HEAD_COLUMNS = (
    Column("layer", numeric=True),
    Column("head", numeric=True),
    Column("accuracy", numeric=True),
    Column("low", "95% interval", numeric=True),
)


def curve_blocks(evaluations: Sequence[Curves], prefix: str) -> list[Block]:
    """Layer curves and head maps; forms of features beyond the first of a dimension are folded."""
    blocks: list[Block] = []
    seen: set[tuple[str, str]] = set()
    for one in evaluations:
        key = (one.dimension, one.site)
        folded = "" if key not in seen else f"{_about(one)}"
        seen.add(key)
        if any(one.curves.values()):
            blocks.append(_curve_figure(one, prefix, folded))
        if one.heads is not None:
            blocks.append(_head_figure(one, one.heads, prefix, folded and f"{folded}, heads"))
    return blocks


def curve_sentences(numbers: GeometryNumbers) -> list[str]:
    """What the evaluations concluded on their strictest split, for the methods that are drawn."""
    found = []
    for one in numbers.evaluations:
        verdicts = [v.text for v in numbers.verdicts if _is_about(v, one)]
        found += [f"{text}." for text in verdicts] or [_sentence(one)]
    return [text[0].upper() + text[1:] for text in found if text]


def _is_about(verdict: EvaluationVerdict, one: Curves) -> bool:
    key = (verdict.dimension, verdict.features, verdict.method, verdict.split, verdict.subset)
    return key == (one.dimension, one.features, one.method, one.strictest, "all")


def _sentence(one: Curves) -> str:
    points = [p for p in one.curves.get(one.strictest, ()) if p.accuracy is not None]
    if not points:
        return ""
    best = max(points, key=lambda p: known(p.accuracy))
    rivals = [
        (known(p.accuracy), c.name)
        for c in one.controls
        if c.informative
        for p in (c.points or c.pooled)
        if p.layer in (None, best.layer) and p.accuracy is not None
    ]
    meaning = MEANING.get(one.strictest, one.strictest)
    pooled = [
        f"{label.partition(', ')[2]} on all layers together: {_accuracy(point)}"
        for label, point in one.pooled.items()
        if label.startswith(f"{one.strictest}, ")
    ]
    together = f" ({'; '.join(pooled)})" if pooled else ""
    text = (
        f"{_about(one)}: on {meaning} ({one.strictest}) layer {best.layer} does best of "
        f"{len(points)}, {_accuracy(best)}{together}"
    )
    if not rivals:
        return f"{text}; no informative control was evaluated."
    height, name = max(rivals)
    beats = best.low is not None and best.low > height
    return f"{text}; the best informative control ({name}) has {told(height)}. " + (
        "The interval lies above it; the best of several layers flatters a little."
        if beats
        else "It does not beat that control."
    )


def _about(one: Curves) -> str:
    return f"{one.dimension.capitalize()}, {one.site}, {one.features} features, {one.method}"


def _accuracy(point: CurvePoint) -> str:
    return f"{told(point.accuracy)} [{told(point.low)},{JOIN}{told(point.high)}]"


def _curve_figure(one: Curves, prefix: str, folded: str) -> Figure:
    name = f"{prefix}-curve-{slug(_about(one))}"
    title = f"Accuracy by layer: {_about(one)}"
    drawn = [
        _curve(f"{split}, {MEANING.get(split, '')}", p, has_band=split == one.strictest)
        for split, p in one.curves.items()
    ]
    drawn += _control_curves(one)
    alt = f"{title}. {_sentence(one)}"
    left_out = sum(not c.informative for c in one.controls)
    remark = (
        f" {left_out} control{'s' if left_out > 1 else ''} at chance by construction "
        "(uninformative) only in the table."
        if left_out
        else ""
    )
    rows: list[list[Cell]] = []
    for split, points in one.curves.items():
        rows += [_row(split, "probe", point) for point in points]
    rows += [_row(label, "probe", point) for label, point in one.pooled.items()]
    for control in one.controls:
        kind = "control" if control.informative else "uninformative control"
        rows += [_row(control.name, kind, p) for p in (*control.points, *control.pooled)]
    return Figure(
        name,
        f"{title}; band: 95% interval over words and templates. Dashed: the highest controls on "
        f"{one.strictest}; level ones know no layers.{remark}",
        alt,
        curves(drawn, ("layer", "accuracy"), CHANCE, "chance", name, title, alt),
        Table(f"{name}-table", title, CURVE_COLUMNS, rows, search=len(rows) > 20),
        folded,
    )


def _control_curves(one: Curves) -> list[Curve]:
    """The highest informative controls; one that knows no layers is level."""
    layers = [known(p.layer) for points in one.curves.values() for p in points]
    found = []
    for control in (c for c in one.controls if c.informative):
        points = control.points
        if len(points) < 2 and (points or control.pooled):
            ends = (int(min(layers)), int(max(layers)))
            level = (*control.pooled, *points)[0]
            points = [level.model_copy(update={"layer": end}) for end in ends]
        heights = [known(p.accuracy) for p in points if p.accuracy is not None]
        if heights:
            found.append((max(heights), _curve(control.name, points, is_control=True)))
    found.sort(key=lambda pair: -pair[0])
    return [curve for _, curve in found[:MOST_CONTROLS]]


def _curve(
    label: str, points: Sequence[CurvePoint], is_control: bool = False, has_band: bool = True
) -> Curve:
    table = np.array([[known(v) for v in (p.layer, p.accuracy, p.low, p.high)] for p in points])
    layer, y, low, high = table.reshape(-1, 4).T
    return Curve(label.rstrip(", "), layer, y, low, high, is_control, has_band)


def _row(curve: str, kind: str, point: CurvePoint) -> list[Cell]:
    layer = point.layer
    return [
        text_cell(curve, "strong"),
        text_cell(kind),
        Cell(layer, "all" if layer is None else str(layer), sort=-1 if layer is None else layer),
        number_cell(point.accuracy, 3),
        number_cell(point.low, 3),
        number_cell(point.high, 3),
    ]


def _head_figure(one: Curves, heads: HeadMap, prefix: str, folded: str) -> Figure:
    values = np.array([[known(v) for v in row] for row in heads.accuracy])
    low = np.array([[known(v) for v in row] for row in heads.low])
    rival = _rival(one.controls)
    name = f"{prefix}-heads-{slug(_about(one))}"
    about = f"{one.dimension.capitalize()}, {one.site}, {one.features} features, {heads.method}"
    title = f"Accuracy by layer and head on {heads.split}: {about}"
    best = np.unravel_index(int(np.nanargmax(values)), values.shape)
    above = int((low > rival).sum())
    alt = (
        f"{title}. Head {heads.heads[best[1]]} of layer {heads.layers[best[0]]} does best, "
        f"{told(float(values[best]))}; the intervals of {above} of {values.size} heads lie above "
        f"the best informative control ({told(rival)})."
    )
    most = float(np.nanmax(np.abs(values - CHANCE)))
    step = next((s for s in STEPS if 4 * s >= most), STEPS[-1])
    rows: list[list[Cell]] = [
        [
            count_cell(heads.layers[i]),
            count_cell(heads.heads[j]),
            number_cell(float(values[i, j]), 3),
            number_cell(float(low[i, j]), 3),
        ]
        for i, j in np.ndindex(values.shape)
    ]
    return Figure(
        name,
        alt,
        alt,
        tile_map(
            values,
            [str(v) for v in heads.layers],
            [str(v) for v in heads.heads],
            ("key-value head", "layer"),
            Scale(CHANCE, step, "accuracy", 2),
            name,
            title,
            alt,
            low > rival,
            "interval above the best control",
        ),
        Table(f"{name}-table", title, HEAD_COLUMNS, rows, search=len(rows) > 20),
        folded,
    )


def _rival(controls: Sequence[ControlCurve]) -> float:
    """The best an informative control does anywhere, at least chance."""
    heights = [
        known(p.accuracy)
        for c in controls
        if c.informative
        for p in (*c.points, *c.pooled)
        if p.accuracy is not None
    ]
    return max([CHANCE, *heights])
