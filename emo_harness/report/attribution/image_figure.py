"""An image's patches as a figure: what each contributes, over the image, with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emo_harness.report.attribution.methods import METHODS
from emo_harness.report.attribution.numbers import Method
from emo_harness.report.attribution.scale import ShadeScale, scale_of
from emo_harness.report.blocks import Cell, Column, Figure, Table
from emo_harness.report.figures.image_heat_map import image_heat_map
from emo_harness.report.numerals import count, count_cell

if TYPE_CHECKING:
    from PIL.Image import Image


def image_figure(
    image: Image | ArrayLike,
    contributions: NDArray[np.float64],
    name: str,
    about: str,
    method: Method = "gradient-x-input",
) -> Figure:
    """The figure of one image.

    Args:
        image: see `image_heat_map`.
        contributions: (n_rows, n_columns) of patches, NaN is unknown.
        name: its id, different for every figure of a page.
        about: which image, question and arm.
    """
    values = np.asarray(contributions, np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    facts = METHODS[method]
    scale = scale_of(values.ravel().tolist(), facts.signed)
    title = f"What patches of the image contribute, {about}"
    known = values[~np.isnan(values)]
    told = "No patch has a known contribution."
    if known.size:
        row, column = np.unravel_index(int(np.nanargmax(np.abs(values))), values.shape)
        told = (
            f"{count(values.shape[0])} by {count(values.shape[1])} patches add up to "
            f"{scale.told(float(known.sum()))} {facts.unit}; the largest, row {row + 1} and column "
            f"{column + 1}, has {scale.told(float(values[row, column]))}."
        )
    columns = (
        Column("row", "of patches, from above", numeric=True),
        Column("column", "from the left", numeric=True),
        Column("contribution", facts.unit, numeric=True),
    )
    rows = [
        [count_cell(row + 1), count_cell(column + 1), _cell(float(value), scale)]
        for (row, column), value in np.ndenumerate(values)
    ]
    drawn = image_heat_map(
        image, values, scale.step, facts.unit, name, title, f"{title}. {told}", facts.signed
    )
    caption = f"{title}, by {facts.name.lower()}: blue raises, orange lowers the target. {told}"
    if not facts.signed:
        caption = f"{title}, by {facts.name.lower()}. {told}"
    table = Table(f"{name}-table", title, columns, rows, search=False)
    return Figure(name, caption, f"{title}. {told}", drawn, table)


def _cell(value: float, scale: ShadeScale) -> Cell:
    return Cell(value, scale.told(value), sort=value)
