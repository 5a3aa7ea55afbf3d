"""Heat map: one gain per row and column, in nine classes of colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.palette import ink

CELL_PX = (26, 18)
CLASSES = ("down4", "down3", "down2", "down1", "none", "up1", "up2", "up3", "up4")
# What hatches are drawn in: they are seen on every class, and make none look like a stronger one.
STRIPES = {
    "stripe": ("down1", "none", "up1"),
    "paper": ("down4", "down3", "down2", "up2", "up3", "up4"),
}
STEPS_PP = (0.2, 0.5, 1, 2, 3, 4, 5, 8, 10, 15, 20, 25)
KEY_PX = 54
LEAST_PX = 520


def step_for(gains_pp: NDArray[np.float64]) -> float:
    """Width of a colour class: the least with which at most one gain in 50 leaves the scale."""
    known = np.abs(gains_pp[~np.isnan(gains_pp)])
    most = float(np.quantile(known, 0.98)) if known.size else 0.0
    return next((step for step in STEPS_PP if 4 * step >= most), STEPS_PP[-1])


@canvas.own_style()
def heat_map(
    gains_pp: NDArray[np.float64],
    distinguishable: NDArray[np.bool_],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    step_pp: float,
    name: str,
    title: str,
    alt: str,
    columns_are: str = "",
) -> Drawing:
    """Draw gains (n_rows, n_columns); cells that are not distinguishable from zero are hatched.

    Args:
        step_pp: width of a colour class, the same in figures that are to be compared. The middle
            class is half a step to either side of zero.
        columns_are: written before the columns' labels where these do not tell it, e.g. "layer".
    """
    n_rows, n_columns = gains_pp.shape
    at_left = [*row_labels, columns_are]
    label_px = min(canvas.text_width(at_left, canvas.SMALL_PX), 230) + 12
    long_columns = max(map(len, column_labels)) > 4
    top_px = min(canvas.text_width(list(column_labels), canvas.SMALL_PX), 150) + 8
    top_px = top_px if long_columns else 20
    width, height = n_columns * CELL_PX[0], n_rows * CELL_PX[1]
    figure = canvas.canvas(max(label_px + width + 4, LEAST_PX), top_px + height + KEY_PX)
    plot = canvas.axes(figure, label_px, top_px, width, height)
    plot.set_xlim(0, n_columns)
    plot.set_ylim(n_rows, 0)
    plot.set_axis_off()
    edges = step_pp * (np.arange(8) - 3.5)
    class_of = np.digitize(gains_pp, edges)
    known = ~np.isnan(gains_pp)
    for number, colour in enumerate(CLASSES):
        _cells(plot, known & (class_of == number), facecolor=ink(colour), edgecolor=ink("paper"))
    with mpl.rc_context({"hatch.linewidth": canvas.HATCH_PX}):
        for stripe, classes in STRIPES.items():
            of_these = np.isin(class_of, [CLASSES.index(colour) for colour in classes])
            _cells(
                plot,
                known & ~distinguishable & of_these,
                facecolor="none",
                edgecolor=ink(stripe),
                hatch="//////",
                linewidth=0,
            )
    _cells(plot, known & distinguishable, facecolor="none", edgecolor=ink("ink"), linewidth=1.3)
    for i, label in enumerate(row_labels):
        text = canvas.fitted(label, label_px, canvas.SMALL_PX)
        canvas.write(
            plot, -6, height - (i + 0.5) * CELL_PX[1], text, "ink", 10, ha="right", own_scale=False
        )
    for j, label in enumerate(column_labels):
        text = canvas.fitted(label, 150, canvas.SMALL_PX)
        x = (j + 0.5) * CELL_PX[0]
        if long_columns:
            canvas.write(plot, x, height + 5, text, "ink", 10, rotation=90, own_scale=False)
        else:
            canvas.write(plot, x, height + 10, text, "ink", 9, ha="center", own_scale=False)
    if columns_are:
        canvas.write(plot, -6, height + 10, columns_are, "quiet", 9, ha="right", own_scale=False)
    _key(figure, step_pp, label_px)
    return canvas.drawing(figure, name, title, alt)


def _cells(plot: Axes, chosen: NDArray[np.bool_], **dress: Any) -> None:
    """Every chosen cell as one path, so that a map of hundreds of cells stays small."""
    rows, columns = np.nonzero(chosen)
    if not rows.size:
        return
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    places = np.stack([columns, rows], axis=1)[:, None, :] + corners
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path(places.reshape(-1, 2), codes * rows.size)
    plot.add_artist(PathPatch(path, clip_on=False, **{"linewidth": 1, **dress}))


def _key(figure: Figure, step_pp: float, label_px: float) -> None:
    """The classes with their bounds, and what hatching and a frame mean."""
    width, height = figure.get_size_inches() * canvas.PX_PER_INCH
    key = canvas.axes(figure, 0, height - KEY_PX, width, KEY_PX)
    key.set_xlim(0, width)
    key.set_ylim(KEY_PX, 0)
    key.set_axis_off()
    size = 30.0
    start = min(label_px, max(width - 9 * size - 210, 10))
    for number, colour in enumerate(CLASSES):
        x = start + number * size
        key.add_artist(_box(x, 14, size, 12, facecolor=ink(colour), edgecolor=ink("paper")))
    for number in range(8):
        bound = step_pp * (number - 3.5)
        text = f"{abs(bound):g}"
        text = f"{'−' if bound < 0 else '+'}{text}"
        canvas.write(key, start + (number + 1) * size, 34, text, "quiet", 8, ha="center")
    canvas.write(key, start + 4.5 * size, 47, "gain, pp", "quiet", 9, ha="center")
    side = start + 9 * size + 18
    with mpl.rc_context({"hatch.linewidth": canvas.HATCH_PX}):
        key.add_artist(
            _box(
                side,
                8,
                22,
                12,
                facecolor=ink("none"),
                edgecolor=ink("stripe"),
                hatch="//////",
                lw=0,
            )
        )
    canvas.write(key, side + 28, 14, "not distinguishable from zero", "quiet", 9)
    key.add_artist(_box(side, 28, 22, 12, facecolor="none", edgecolor=ink("ink"), lw=1.3))
    canvas.write(key, side + 28, 34, "distinguishable (q ≤ 0.05)", "quiet", 9)


def _box(x: float, y: float, width: float, height: float, **dress: Any) -> PathPatch:
    path = Path([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)])
    return PathPatch(path, **dress)
