"""Maps and curves of decoded stimuli over layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects import UNKNOWN, Gain
from emo_harness.report.blocks import Cell, Column, Figure, Table
from emo_harness.report.decoded.depth import DecodedDepth, LayerRow
from emo_harness.report.decoded.depth_words import trend_sentence
from emo_harness.report.figures.curves import Curve, curves
from emo_harness.report.figures.heat_map import heat_map
from emo_harness.report.groups import ALL_SUBTASKS
from emo_harness.report.numerals import count_cell, counted, pp_cell, probability_cell, text_cell

ALPHA = 0.05
NAMES = {
    "meta": "all subtasks",
    "random": "random vectors",
    "neutral": "neutral placebos",
    "permuted": "labels permuted",
    "shuffled": "words shuffled",
}
COLUMNS = (
    Column("row", "subtask, or control on all of them", filtered=True),
    Column("kind", filtered=True),
    Column("layer", numeric=True),
    Column("arm"),
    Column("n", "questions", numeric=True),
    Column("gain pp", "over the untouched prompt", numeric=True),
    Column("low", "95% interval", numeric=True),
    Column("high", "95% interval", numeric=True),
    Column("p", "of no gain, not corrected", numeric=True),
    Column("q", "Benjamini and Hochberg: over the map, and over the rows below", numeric=True),
)
CURVE_COLUMNS = (
    Column("layer", numeric=True),
    Column("n", "questions", numeric=True),
    Column("gain pp", "of the meta prompt over control", numeric=True),
    Column("low", "95% interval", numeric=True),
    Column("high", "95% interval", numeric=True),
    Column("random pp", "gain of its random vectors over control", numeric=True),
    Column("random low", "95% interval", numeric=True),
    Column("random high", "95% interval", numeric=True),
    Column("meta minus random, pp", numeric=True),
    Column("difference low", "95% interval", numeric=True),
    Column("difference high", "95% interval", numeric=True),
    Column("q", "of that difference, Benjamini and Hochberg over the layers", numeric=True),
)


def gains_shown(depths: Sequence[DecodedDepth]) -> NDArray[np.float64]:
    """Every gain on the maps, for one colour step in all of them."""
    return np.array(
        [g.mean_pp for d in depths for row in (*d.cells, *(r.gains for r in d.rows)) for g in row]
    )


def map_figure(depth: DecodedDepth, name: str, about: str, step_pp: float, folded: str) -> Figure:
    """The paper's figure: layers by subtasks, and below a gap the controls on all subtasks."""
    below = [row for row in depth.rows if row is not depth.meta or len(depth.subtasks) > 1]
    gap = [math.nan] * len(depth.layers)
    labels = [*depth.subtasks, *([""] if below else []), *(_label(row) for row in below)]
    gains = np.array(
        [
            *([g.mean_pp for g in row] for row in depth.cells),
            *([gap] if below else []),
            *([g.mean_pp for g in row.gains] for row in below),
        ]
    )
    q = np.array([*depth.cells_q, *([gap] if below else []), *(row.q for row in below)])
    title = f"Gain by layer and subtask, {about}"
    clear = int((depth.cells_q <= ALPHA).sum())
    n_cells = int((~np.isnan(depth.cells_q)).sum())
    told = (
        f"{clear or 'None'} of {counted(n_cells, 'cell')} can be told from zero (q over the map, "
        "controls apart)."
    )
    below_told = {
        (True, True): " Below the gap: gains on all subtasks together, with those of the controls.",
        (True, False): " Below the gap: gains on all subtasks together.",
        (False, True): " Below the gap: gains of the controls.",
    }.get((len(depth.subtasks) > 1, len(depth.rows) > 1), "")
    alt = f"Heat map. {title}. {told}"
    return Figure(
        name,
        f"{title}: meta prompts from layers (columns) on subtasks (rows). {told}{below_told}",
        alt,
        heat_map(
            gains,
            q <= ALPHA,
            labels,
            [str(layer) for layer in depth.layers],
            step_pp,
            name,
            title,
            alt,
            "layer",
        ),
        Table(f"{name}-table", title, COLUMNS, list(_map_cells(depth)), search=True),
        folded,
    )


def curve_figure(depth: DecodedDepth, name: str, about: str, folded: str) -> Figure | None:
    """Gains over layers beside those of the controls; None for one layer, which is no curve."""
    if len(depth.layers) < 2:
        return None
    title = f"Gain over layers, {about}"
    shown = [_curve(depth, row) for row in depth.rows]
    alt = f"{title}. {trend_sentence(depth)}"
    band = "; grey band: that of the random vectors" if depth.row("random") else ""
    dashed = " Broken lines: controls." if len(depth.rows) > 1 else ""
    return Figure(
        name,
        f"{title}, all questions together: meta prompts with 95% intervals over questions{band}."
        f"{dashed}",
        alt,
        curves(
            shown, ("layer", "gain over control, pp"), 0, "no gain", name, title, alt, depth.layers
        ),
        Table(f"{name}-table", title, CURVE_COLUMNS, list(_curve_cells(depth))),
        folded,
    )


def _label(row: LayerRow) -> str:
    draws = max((len(ids) for ids in row.arms), default=1)
    return f"{NAMES[row.kind]}, mean of {draws}" if draws > 1 else NAMES[row.kind]


def _curve(depth: DecodedDepth, row: LayerRow) -> Curve:
    table = np.array([[g.mean_pp, g.low_pp, g.high_pp] for g in row.gains])
    label = f"meta prompts ({depth.series.name})" if row.kind == "meta" else _label(row)
    return Curve(
        label,
        np.array(depth.layers, dtype=np.float64),
        table[:, 0],
        table[:, 1],
        table[:, 2],
        is_control=row.kind != "meta",
        is_band=row.kind == "random",
    )


def _map_cells(depth: DecodedDepth) -> Iterator[list[Cell]]:
    several = len(depth.subtasks) > 1
    for subtask, row, q in zip(depth.subtasks, depth.cells, depth.cells_q, strict=True):
        for layer, ids, found, value in zip(depth.layers, depth.meta.arms, row, q, strict=True):
            yield _gain_cells(subtask, "meta", layer, ", ".join(ids), found, value)
    for layer_row in depth.rows:
        if layer_row is depth.meta and not several:
            continue
        label = ALL_SUBTASKS if several else depth.subtasks[0]
        for layer, ids, found, value in zip(
            depth.layers, layer_row.arms, layer_row.gains, layer_row.q, strict=True
        ):
            if ids:
                kind = layer_row.kind
                yield _gain_cells(label, kind, layer, ", ".join(ids), found, value)


def _gain_cells(row: str, kind: str, layer: int, arm: str, found: Gain, q: float) -> list[Cell]:
    return [
        text_cell(row),
        text_cell(kind),
        count_cell(layer),
        text_cell(arm),
        count_cell(found.n),
        pp_cell(found.mean_pp, tone="strong" if q <= ALPHA else ""),
        pp_cell(found.low_pp),
        pp_cell(found.high_pp),
        probability_cell(found.p),
        probability_cell(float(q)),
    ]


def _curve_cells(depth: DecodedDepth) -> Iterator[list[Cell]]:
    random = depth.row("random")
    beside = random.gains if random else (UNKNOWN,) * len(depth.layers)
    for place, layer in enumerate(depth.layers):
        own, other, difference = depth.meta.gains[place], beside[place], depth.against_random[place]
        yield [
            count_cell(layer),
            count_cell(own.n),
            *(
                pp_cell(value)
                for g in (own, other, difference)
                for value in (g.mean_pp, g.low_pp, g.high_pp)
            ),
            probability_cell(float(depth.random_q[place])),
        ]
