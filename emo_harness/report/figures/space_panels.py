"""Space panels: principal components of several views, side by side."""

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

PANEL_PX = 296
LEFT_PX, GAP_PX, TOP_PX, FOOT_PX = 26, 30, 26, 34
PER_ROW = 3
LABEL_PX = 8.5
MOST_LABELS = 40


@dataclass(frozen=True, eq=False)
class SpacePanel:
    """One view.

    Attributes:
        title: above the panel.
        places: (n, 2) on the first two components.
        axes: names of the components.
        words: (n,) labels, () where points are too many to be named.
        kind: (n,) which of the figure's kinds.
    """

    title: str
    places: NDArray[np.float64]
    axes: tuple[str, str]
    words: tuple[str, ...]
    kind: tuple[int, ...]


@canvas.own_style()
def space_panels(
    panels: Sequence[SpacePanel], kinds: Sequence[Kind], name: str, title: str, alt: str
) -> Drawing:
    """Draw the panels, at most three beside each other; each has a scale of its own."""
    per_row = min(len(panels), PER_ROW)
    width = LEFT_PX + per_row * (PANEL_PX + GAP_PX)
    top = kind_key_height(kinds, width)
    step = PANEL_PX + TOP_PX + FOOT_PX
    figure = canvas.canvas(width, top + -(-len(panels) // per_row) * step)
    kind_key(figure, kinds)
    for number, panel in enumerate(panels):
        row, column = divmod(number, per_row)
        left = LEFT_PX + column * (PANEL_PX + GAP_PX)
        plot = canvas.axes(figure, left, top + row * step + TOP_PX, PANEL_PX, PANEL_PX)
        _panel(plot, panel, kinds)
    return canvas.drawing(figure, name, title, alt)


def _panel(plot: Axes, panel: SpacePanel, kinds: Sequence[Kind]) -> None:
    heading = canvas.fitted(panel.title, 0.9 * PANEL_PX)
    canvas.write(plot, 0, PANEL_PX + 12, heading, weight="bold", own_scale=False)
    plot.set_xticks([])
    plot.set_yticks([])
    plot.set_xlabel(panel.axes[0], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    plot.set_ylabel(panel.axes[1], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    low, high = panel.places.min(axis=0), panel.places.max(axis=0)
    # One scale for both components: their lengths tell how much they explain.
    half = 0.55 * float((high - low).max() or 1)
    middle = (low + high) / 2
    plot.set_xlim(middle[0] - half, middle[0] + half)
    plot.set_ylim(middle[1] - half, middle[1] + half)
    kind = np.array(panel.kind)
    few = len(panel.places) <= 400
    for number in (*range(1, len(kinds)), 0) if len(kinds) > 1 else (0,):
        own = kind == number
        if own.any():
            size = 5.5 if few else 3.5
            plot.plot(
                panel.places[own, 0],
                panel.places[own, 1],
                **{**dress(kinds[number], size), "markeredgewidth": 0.4 if few else 0.2},
            )
    if not panel.words:
        return
    pixels = ((panel.places - middle) / half + 1) / 2 * PANEL_PX
    away = np.hypot(*(panel.places - middle).T)
    order = [int(i) for i in np.argsort(-away, kind="stable")[:MOST_LABELS]]
    short = [canvas.fitted(word, 90, LABEL_PX) for word in panel.words]
    for place in label_places(pixels, short, order, (PANEL_PX, PANEL_PX), LABEL_PX, 2.5):
        if not place.is_far:
            canvas.write(
                plot,
                place.x_px,
                place.y_px,
                short[place.point],
                "ink",
                LABEL_PX,
                ha="center",
                own_scale=False,
            )
