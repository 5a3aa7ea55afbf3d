"""Tile map: a value per row and column, in nine classes of colour around a middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.heat_map import CLASSES
from emo_harness.report.figures.palette import ink

KEY_PX, LEAST_PX, FRAMED_PX = 52, 380, 560
DARK = {"down4", "down3", "up3", "up4"}


@dataclass(frozen=True)
class Scale:
    """Colours of values: class width `step` around `middle`, and what is measured."""

    middle: float
    step: float
    name: str
    decimals: int


@canvas.own_style()
def tile_map(
    values: NDArray[np.float64],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    axes: tuple[str, str],
    scale: Scale,
    name: str,
    title: str,
    alt: str,
    outlined: NDArray[np.bool_] | None = None,
    outlined_means: str = "",
) -> Drawing:
    """Draw (n_rows, n_columns); unknown tiles stay empty, numbers are written where they fit.

    Args:
        axes: names of columns and rows.
        outlined: tiles with a frame, and what the frame means.
    """
    n_rows, n_columns = values.shape
    wide = n_columns <= 16
    cell = (34.0, 22.0) if wide else (max(760 / n_columns, 8.0), max(min(400 / n_rows, 18.0), 8.0))
    label_px = min(canvas.text_width(list(row_labels), canvas.SMALL_PX), 220) + 26
    turned = max((len(text) for text in column_labels), default=0) > 4
    top = (min(canvas.text_width(list(column_labels), canvas.SMALL_PX), 160) if turned else 12) + 28
    width, height = n_columns * cell[0], n_rows * cell[1]
    least = LEAST_PX if outlined is None else FRAMED_PX
    figure = canvas.canvas(max(label_px + width + 8, least), top + height + KEY_PX)
    plot = canvas.axes(figure, label_px, top, width, height)
    plot.set_xlim(0, n_columns)
    plot.set_ylim(n_rows, 0)
    plot.set_axis_off()
    class_of = np.digitize(values, scale.middle + scale.step * (np.arange(8) - 3.5))
    known = ~np.isnan(values)
    for number, colour in enumerate(CLASSES):
        tiles(plot, known & (class_of == number), ink(colour), ink("paper"), 0.8)
    if outlined is not None:
        tiles(plot, known & outlined, "none", ink("ink"), 1.2)
    if wide and n_rows <= 40:
        for (i, j), value in np.ndenumerate(values):
            if not math.isnan(value):
                colour = "paper" if CLASSES[class_of[i, j]] in DARK else "ink"
                text = _shown(float(value), scale.decimals)
                canvas.write(plot, j + 0.5, i + 0.5, text, colour, 9, ha="center")
    _labels(plot, row_labels, column_labels, cell, turned, label_px)
    canvas.write(plot, 0, height + top - 10, axes[0], "quiet", 9, own_scale=False)
    canvas.write(
        plot,
        -label_px + 8,
        height / 2,
        axes[1],
        "quiet",
        9,
        ha="center",
        rotation=90,
        own_scale=False,
    )
    _key(figure, scale, outlined_means if outlined is not None else "")
    return canvas.drawing(figure, name, title, alt)


def _labels(
    plot: Axes,
    rows: Sequence[str],
    columns: Sequence[str],
    cell: tuple[float, float],
    turned: bool,
    label_px: float,
) -> None:
    """Names of rows and columns, every second, third, ... where there is no room for all."""
    height = len(rows) * cell[1]
    every = math.ceil(11 / cell[1])
    for i in range(0, len(rows), every):
        text = canvas.fitted(rows[i], label_px - 26, canvas.SMALL_PX)
        y = height - (i + 0.5) * cell[1]
        canvas.write(plot, -6, y, text, "ink", canvas.SMALL_PX, ha="right", own_scale=False)
    every = math.ceil((12 if turned else 20) / cell[0])
    for j in range(0, len(columns), every):
        x = (j + 0.5) * cell[0]
        if turned:
            text = canvas.fitted(columns[j], 160, canvas.SMALL_PX)
            canvas.write(plot, x, height + 5, text, "ink", 10, rotation=90, own_scale=False)
        else:
            canvas.write(plot, x, height + 9, columns[j], "ink", 10, ha="center", own_scale=False)


def tiles(
    plot: Axes, chosen: NDArray[np.bool_], face: str, edge: str, line: float, **dress: Any
) -> None:
    """Every chosen tile (n_rows, n_columns) as one path, each one unit wide and high.

    Args:
        face, edge, line: colours, and the edge's width.
        dress: further keywords of matplotlib's patch.
    """
    rows, columns = np.nonzero(chosen)
    if not rows.size:
        return
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    places = np.stack([columns, rows], axis=1)[:, None, :] + corners
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path(places.reshape(-1, 2), codes * rows.size)
    patch = PathPatch(path, clip_on=False, facecolor=face, edgecolor=edge, linewidth=line, **dress)
    plot.add_artist(patch)


def _key(figure: Figure, scale: Scale, outlined_means: str) -> None:
    width, height = figure.get_size_inches() * canvas.PX_PER_INCH
    key = canvas.axes(figure, 0, height - KEY_PX, width, KEY_PX)
    key.set_xlim(0, width)
    key.set_ylim(KEY_PX, 0)
    key.set_axis_off()
    size, start = 30.0, 14.0
    for number, colour in enumerate(CLASSES):
        x = start + number * size
        path = Path([(x, 10), (x + size, 10), (x + size, 22), (x, 22), (x, 10)])
        key.add_artist(PathPatch(path, facecolor=ink(colour), edgecolor=ink("paper")))
    for number in range(8):
        bound = scale.middle + scale.step * (number - 3.5)
        text = f"{bound:.3f}".rstrip("0").rstrip(".").replace("-", "−")
        canvas.write(key, start + (number + 1) * size, 30, text, "quiet", 8, ha="center")
    canvas.write(key, start + 4.5 * size, 44, scale.name, "quiet", 9, ha="center")
    if outlined_means:
        x = start + 9 * size + 16
        path = Path([(x, 10), (x + 22, 10), (x + 22, 22), (x, 22), (x, 10)])
        key.add_artist(PathPatch(path, facecolor="none", edgecolor=ink("ink"), lw=1.2))
        canvas.write(key, x + 28, 16, outlined_means, "quiet", 9)


def _shown(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    text = "0" if float(text) == 0 else text
    return text.replace("-", "−")
