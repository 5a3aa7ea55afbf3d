"""Points in a plane, coloured and marked by tag."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.key import (
    fit_markers,
    hollow_markers,
    key_height,
    series_key,
)
from emo_harness.report.figures.palette import ink

SIZE_PX = (520, 360)
LEFT_PX, RIGHT_PX, TOP_PX, FOOT_PX = 62, 20, 12, 46


# Marks at one place are set apart by this much, and go no further from it than that.
APART_PX, FURTHEST_PX = 5.0, 36.0
# Marks are at one place where no eye would part them.
ONE_PLACE_PX = 2.0
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
Floats = NDArray[np.float64]


@canvas.own_style()
def tagged_scatter(
    points: Floats,
    tags: Sequence[str],
    axes: tuple[str, str],
    name: str,
    title: str,
    alt: str,
    centre: tuple[float, float] = (0.0, 0.0),
    hollow: str = "",
) -> Drawing:
    """Draw points; those at one place are set around it, in a spiral, so that all can be seen.

    Args:
        points: (n, 2).
        tags: (n,) of the points.
        axes: what is along x and y.
        centre: where lines part the plane.
        hollow: the tag whose points stand back, hollow and beneath; "" is none.
    """
    shown = sorted(dict.fromkeys(tags), key=lambda tag: bool(hollow) and tag == hollow)
    stands_back = bool(hollow) and hollow in shown
    labels = [tag or "no tag" for tag in shown]
    width = LEFT_PX + SIZE_PX[0] + RIGHT_PX
    top = key_height(labels, width) + TOP_PX
    figure = canvas.canvas(width, top + SIZE_PX[1] + FOOT_PX)
    series_key(figure, labels, last_is_hollow=stands_back)
    plot = canvas.axes(figure, LEFT_PX, top, *SIZE_PX)
    plot.axhline(centre[1], color=ink("line"), linewidth=1, zorder=1)
    plot.axvline(centre[0], color=ink("line"), linewidth=1, zorder=1)
    places, low, high = set_apart(points)
    for number, tag in enumerate(shown):
        own = np.array([one == tag for one in tags])
        back = stands_back and tag == hollow
        dress = hollow_markers(6) if back else fit_markers(number, 7)
        plot.plot(places[own, 0], places[own, 1], zorder=2 if back else 3, **dress)
    plot.set_xlim(low[0], high[0])
    plot.set_ylim(low[1], high[1])
    plot.set_xlabel(axes[0], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    plot.set_ylabel(axes[1], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    return canvas.drawing(figure, name, title, alt)


def set_apart(points: Floats) -> tuple[Floats, Floats, Floats]:
    """Where points are drawn, and the ends of the axes.

    Of points at one place the first stays there, the others go around it (Vogel 1979, Math. Biosci.
    44, 179: the k-th at sqrt(k) steps and k golden angles); many take smaller steps.

    Args:
        points: (n, 2).

    Returns:
        Places (n, 2), and the lower and upper ends (2,), all in the unit of the points.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    # Room at the margins for marks that are set apart.
    unit = span / (np.array(SIZE_PX) - 2 * (FURTHEST_PX + APART_PX))
    cells = np.round((points - low) / unit / ONE_PLACE_PX)
    _, cell_of, sizes = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    cell_of = cell_of.reshape(-1)
    order = np.argsort(cell_of, kind="stable")
    first = np.cumsum(sizes) - sizes
    k = np.empty(len(points))
    k[order] = np.arange(len(points)) - first[cell_of[order]]
    step = np.minimum(APART_PX, FURTHEST_PX / np.sqrt(sizes))[cell_of]
    turned = np.stack([np.cos(k * GOLDEN_ANGLE), np.sin(k * GOLDEN_ANGLE)], axis=1)
    places = points + (step * np.sqrt(k))[:, None] * turned * unit
    middle = (low + high) / 2
    half = unit * np.array(SIZE_PX) / 2
    return places, middle - half, middle + half
