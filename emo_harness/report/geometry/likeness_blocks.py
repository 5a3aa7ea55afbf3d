"""Axes and spaces beside each other, as blocks: cosines of axes, likeness of models."""

from __future__ import annotations

import numpy as np

from emo_harness.report.blocks import Block, Cell, Column, Figure, Table
from emo_harness.report.figures.tile_map import Scale, tile_map
from emo_harness.report.geometry.numbers import (
    CosineMatrix,
    GeometryNumbers,
    LayerGrid,
    Numbers,
    SpacePair,
)
from emo_harness.report.geometry.words import (
    estimate_cell,
    known,
    number_cell,
    p_cell,
    told,
    told_estimate,
)
from emo_harness.report.numerals import count_cell, text_cell
from emo_harness.report.plain_text import slug

CLEAR_P = 0.05
STEPS = (0.02, 0.04, 0.1, 0.2)
COSINE_COLUMNS = (Column("row"), Column("column"), Column("cosine", numeric=True))
GRID_COLUMNS = (
    Column("layer here", numeric=True),
    Column("layer there", numeric=True),
    Column("rank correlation", numeric=True),
)
PAIR_COLUMNS = (
    Column("space"),
    Column("beside"),
    Column("what"),
    Column("rank correlation", "with 95% interval over lemmas", numeric=True),
    Column("p", "of exchanging words", numeric=True),
    Column("words", numeric=True),
)
SPACE_COLUMNS = (
    Column("space"),
    Column("reliability", "of its dissimilarities, from halves of the templates", numeric=True),
    Column("words", numeric=True),
)


def cosine_blocks(numbers: GeometryNumbers, prefix: str) -> list[Block]:
    """A map per matrix of cosines."""
    return [_cosines(one, f"{prefix}-cosines-{i}") for i, one in enumerate(numbers.cosines)]


def likeness_blocks(numbers: GeometryNumbers, prefix: str) -> list[Block]:
    """Pairs of spaces, their reliabilities, and a map of layers per other model."""
    likeness = numbers.likeness
    rows = [
        [
            text_cell(pair.one),
            text_cell(pair.other, "strong"),
            text_cell("dissimilarities of words"),
            estimate_cell(pair, 2, True),
            p_cell(pair.p),
            count_cell(pair.n),
        ]
        for pair in likeness.pairs
    ] + [
        [
            text_cell(numbers.store.model),
            text_cell(one.other, "strong"),
            text_cell(f"held-out {one.dimension} of words"),
            estimate_cell(one, 2, True),
            p_cell(one.p),
            count_cell(one.n),
        ]
        for one in likeness.coordinates
    ]
    blocks: list[Block] = []
    if rows:
        title = "Do spaces arrange words alike?"
        blocks.append(Table(f"{prefix}-pairs", title, PAIR_COLUMNS, rows))
    own = [space for space in likeness.spaces if space.reliability is not None]
    if own:
        cells = [[text_cell(s.name), number_cell(s.reliability), count_cell(s.n)] for s in own]
        title = "How well each model's arrangement is known"
        blocks.append(Table(f"{prefix}-reliability", title, SPACE_COLUMNS, cells))
    here = numbers.store.model
    return blocks + [_grid(one, here, f"{prefix}-{slug(one.other)}") for one in likeness.layers]


def likeness_sentences(numbers: GeometryNumbers) -> list[str]:
    return [_pair_sentence(pair) for pair in numbers.likeness.pairs]


def _pair_sentence(pair: SpacePair) -> str:
    if pair.value is None:
        return f"{pair.one} beside {pair.other}: unknown ({pair.n} words)."
    none = pair.p is None or pair.p >= CLEAR_P or not known(pair.low) > 0
    return (
        f"{pair.one} beside {pair.other}: dissimilarities of {pair.n} words correlate by "
        f"{told_estimate(pair, sign=True)}{'; no likeness shown' if none else ''}."
    )


def _array(rows: list[Numbers]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([[known(v) for v in row] for row in rows], np.float64)


def _cosines(one: CosineMatrix, name: str) -> Figure:
    values = _array(one.cosines)
    columns = [str(layer) for layer in one.columns] if one.kind == "layers" else one.labels
    title = f"Cosines of axes, {one.title}"
    off = values if one.kind == "layers" else values[~np.eye(len(values), dtype=bool)]
    span = (
        f"from {told(float(np.nanmin(off)), 2, True)} to {told(float(np.nanmax(off)), 2, True)}"
        if np.isfinite(off).any()
        else "unknown"
    )
    alt = f"{title}: {span}. A random direction has a cosine within ±{told(2 * one.chance)}."
    rows: list[list[Cell]] = [
        [text_cell(one.labels[i]), text_cell(columns[j]), number_cell(float(values[i, j]), 3, True)]
        for i, j in np.ndindex(values.shape)
    ]
    return Figure(
        name,
        alt,
        alt,
        tile_map(
            values,
            one.labels,
            columns,
            ("layer" if one.kind == "layers" else "", ""),
            Scale(0.0, _step(off), "cosine", 2),
            name,
            title,
            alt,
        ),
        Table(f"{name}-table", title, COSINE_COLUMNS, rows, search=len(rows) > 20),
    )


def _grid(one: LayerGrid, here: str, name: str) -> Figure:
    values = _array(one.likeness)
    title = f"Likeness of layers, {here} (rows) and {one.other} (columns)"
    best = (
        np.unravel_index(int(np.nanargmax(values)), values.shape)
        if np.isfinite(values).any()
        else (0, 0)
    )
    alt = (
        f"{title}: rank correlation of the words' dissimilarities, the most "
        f"({told(float(values[best]), 2, True)}) between layers {one.rows[best[0]]} and "
        f"{one.columns[best[1]]}."
    )
    rows: list[list[Cell]] = [
        [
            count_cell(one.rows[i]),
            count_cell(one.columns[j]),
            number_cell(float(values[i, j]), 3, True),
        ]
        for i, j in np.ndindex(values.shape)
    ]
    return Figure(
        name,
        alt,
        alt,
        tile_map(
            values,
            [str(v) for v in one.rows],
            [str(v) for v in one.columns],
            (f"layer of {one.other}", "layer"),
            Scale(0.0, _step(values), "rank correlation", 2),
            name,
            title,
            alt,
        ),
        Table(f"{name}-table", title, GRID_COLUMNS, rows, search=len(rows) > 20),
    )


def _step(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    shown = np.abs(values[np.isfinite(values)])
    most = float(shown.max()) if shown.size else 0.0
    return next((step for step in STEPS if 4 * step >= most), STEPS[-1])
