"""The word plane: words as labelled points along two axes, with the quadrants named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.kinds import Kind, dress, kind_key, kind_key_height
from emo_harness.report.figures.label_places import label_places
from emo_harness.report.figures.palette import ink

SIZE_PX = (760, 620)
LEFT_PX, RIGHT_PX, TOP_PX, FOOT_PX = 56, 14, 8, 44
LABEL_PX = 9.5
MOST_LABELS = 260


@dataclass(frozen=True, eq=False)
class WordPoints:
    """Words in the plane.

    Attributes:
        places: (n, 2); rows with NaN are not drawn.
        words: (n,) labels.
        kind: (n,) which of the figure's kinds.
    """

    places: NDArray[np.float64]
    words: tuple[str, ...]
    kind: tuple[int, ...]


@canvas.own_style()
def word_plane(
    points: WordPoints,
    kinds: Sequence[Kind],
    axes: tuple[str, str],
    quadrants: tuple[str, str, str, str],
    name: str,
    title: str,
    alt: str,
) -> Drawing:
    """Draw the plane, both axes on one scale through 0.

    Args:
        quadrants: names of the corners, from the upper right counter-clockwise.
    """
    width = LEFT_PX + SIZE_PX[0] + RIGHT_PX
    top = kind_key_height(kinds, width) + TOP_PX
    figure = canvas.canvas(width, top + SIZE_PX[1] + FOOT_PX)
    kind_key(figure, kinds)
    plot = canvas.axes(figure, LEFT_PX, top, *SIZE_PX)
    known = np.asarray(np.isfinite(points.places).all(axis=1))
    shown = points.places[known]
    half_x, half_y = _half_spans(shown)
    plot.set_xlim(-half_x, half_x)
    plot.set_ylim(-half_y, half_y)
    plot.axhline(0, color=ink("line"), linewidth=1, zorder=0)
    plot.axvline(0, color=ink("line"), linewidth=1, zorder=0)
    plot.set_xlabel(axes[0], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    plot.set_ylabel(axes[1], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    kind = np.array(points.kind)[known]
    for number, one in enumerate(kinds):
        own = kind == number
        plot.plot(shown[own, 0], shown[own, 1], clip_on=False, zorder=3, **dress(one, 6))
    corners = zip(quadrants, ((1, 1), (0, 1), (0, 0), (1, 0)), strict=True)
    for text, (right, up) in corners:
        canvas.write(
            plot,
            (SIZE_PX[0] - 8) if right else 8,
            (SIZE_PX[1] - 12) if up else 12,
            text,
            "quiet",
            canvas.FONT_PX,
            "bold",
            ha="right" if right else "left",
            own_scale=False,
        )
    words = [points.words[i] for i in np.flatnonzero(known)]
    _labels(plot, shown, words, half_x, half_y)
    return canvas.drawing(figure, name, title, alt)


def _labels(
    plot: Axes, shown: NDArray[np.float64], words: list[str], half_x: float, half_y: float
) -> None:
    pixels = (shown / np.array([half_x, half_y]) + 1) / 2 * np.array(SIZE_PX)
    short = [canvas.fitted(word, 120, LABEL_PX) for word in words]
    order = np.argsort(-np.hypot(*(shown / np.array([half_x, half_y])).T), kind="stable")
    # The corners' names keep their places.
    inner = (float(SIZE_PX[0]), float(SIZE_PX[1] - 24))
    moved = pixels - np.array([0, 12])
    found = label_places(moved, short, [int(i) for i in order[:MOST_LABELS]], inner, LABEL_PX)
    for place in found:
        x, y = place.x_px, place.y_px + 12
        if place.is_far:
            px, py = pixels[place.point]
            plot.annotate(
                "",
                (px, py),
                (x, y),
                xycoords="axes pixels",
                textcoords="axes pixels",
                arrowprops={"arrowstyle": "-", "color": ink("line"), "lw": 0.7, "shrinkB": 3},
                zorder=1,
            )
        canvas.write(
            plot,
            x,
            y,
            short[place.point],
            "ink",
            LABEL_PX,
            ha="center",
            own_scale=False,
        )


def _half_spans(shown: NDArray[np.float64]) -> tuple[float, float]:
    """One scale for both axes, as angles are read from the plane."""
    if not shown.size:
        return 1.0, SIZE_PX[1] / SIZE_PX[0]
    unit = max(
        float(np.abs(shown[:, 0]).max()) / SIZE_PX[0],
        float(np.abs(shown[:, 1]).max()) / (SIZE_PX[1] - 50),
    )
    unit = 1.06 * unit if unit > 0 else 1 / SIZE_PX[0]
    return unit * SIZE_PX[0], unit * SIZE_PX[1]
