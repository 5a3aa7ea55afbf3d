"""Points in a plane, coloured and marked by tag."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.key import fit_markers, key_height, series_key
from emo_harness.report.figures.palette import ink

SIZE_PX = (520, 360)
LEFT_PX, RIGHT_PX, TOP_PX, FOOT_PX = 62, 20, 12, 46


@canvas.own_style()
def tagged_scatter(
    points: NDArray[np.float64],
    tags: Sequence[str],
    axes: tuple[str, str],
    name: str,
    title: str,
    alt: str,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Drawing:
    """Draw points.

    Args:
        points: (n, 2).
        tags: (n,) of the points.
        axes: what is along x and y.
        centre: where lines part the plane.
    """
    labels = [tag or "no tag" for tag in dict.fromkeys(tags)]
    width = LEFT_PX + SIZE_PX[0] + RIGHT_PX
    top = key_height(labels, width) + TOP_PX
    figure = canvas.canvas(width, top + SIZE_PX[1] + FOOT_PX)
    series_key(figure, labels)
    plot = canvas.axes(figure, LEFT_PX, top, *SIZE_PX)
    plot.axhline(centre[1], color=ink("line"), linewidth=1, zorder=1)
    plot.axvline(centre[0], color=ink("line"), linewidth=1, zorder=1)
    for number, tag in enumerate(dict.fromkeys(tags)):
        own = np.array([one == tag for one in tags])
        plot.plot(points[own, 0], points[own, 1], **fit_markers(number, 7))
    plot.margins(0.06)
    plot.set_xlabel(axes[0], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    plot.set_ylabel(axes[1], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    return canvas.drawing(figure, name, title, alt)
