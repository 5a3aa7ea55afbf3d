"""Gain against the shift along an axis: a point per stimulus, a panel per axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.key import fit_markers, key_height, series_key
from emo_harness.report.figures.label_places import label_places
from emo_harness.report.figures.palette import ink, series

PANEL_PX = (330, 260)
LEFT_PX, GAP_PX, FOOT_PX, TOP_PX = 58, 30, 46, 26
LEAST_PX = 560
LABEL_PX = 9


@dataclass(frozen=True)
class ShiftPanel:
    """One axis.

    Attributes:
        axis: its name.
        labels: (n,) of the stimuli.
        series: (n,) number of each one's family.
        shift, gain_pp: (n, 3) estimate, low, high.
        slope_pp: of the line through the means; NaN for none.
        is_clear: whether the slope's interval leaves zero out; else the line is dashed.
    """

    axis: str
    labels: tuple[str, ...]
    series: tuple[int, ...]
    shift: NDArray[np.float64]
    gain_pp: NDArray[np.float64]
    slope_pp: float
    is_clear: bool


@canvas.own_style()
def shift_scatter(
    panels: Sequence[ShiftPanel],
    families: Sequence[str],
    margin_pp: float,
    name: str,
    title: str,
    alt: str,
) -> Drawing:
    """Draw the panels side by side on one scale of gains."""
    width = max(LEFT_PX + len(panels) * (PANEL_PX[0] + GAP_PX), LEAST_PX)
    top = key_height(families, width) + TOP_PX
    figure = canvas.canvas(width, top + PANEL_PX[1] + FOOT_PX)
    series_key(figure, families)
    gains = np.concatenate([panel.gain_pp.ravel() for panel in panels])
    gains = gains[np.isfinite(gains)]
    low, high = float(gains.min(initial=-margin_pp)), float(gains.max(initial=margin_pp))
    pad = 0.06 * (high - low)
    for number, panel in enumerate(panels):
        left = LEFT_PX + number * (PANEL_PX[0] + GAP_PX)
        plot = canvas.axes(figure, left, top, *PANEL_PX)
        plot.spines["top"].set_visible(False)
        plot.spines["right"].set_visible(False)
        plot.set_ylim(low - pad, high + pad)
        plot.axhspan(-margin_pp, margin_pp, color=ink("band"), linewidth=0, zorder=0)
        plot.axhline(0, color=ink("quiet"), linewidth=1, zorder=1)
        plot.axvline(0, color=ink("quiet"), linewidth=1, zorder=1)
        canvas.write(plot, 0, PANEL_PX[1] + 12, panel.axis, weight="bold", own_scale=False)
        plot.set_xlabel(
            f"shift along {panel.axis}, class-mean distances",
            color=ink("quiet"),
            fontsize=canvas.SMALL_PX,
        )
        if number == 0:
            plot.set_ylabel("gain, pp", color=ink("quiet"), fontsize=canvas.SMALL_PX)
        else:
            plot.tick_params(labelleft=False)
        _points(plot, panel)
        _line(plot, panel)
        _names(plot, panel)
    return canvas.drawing(figure, name, title, alt)


def _points(plot: Axes, panel: ShiftPanel) -> None:
    for number in sorted(set(panel.series)):
        own = [i for i, one in enumerate(panel.series) if one == number]
        x, y = panel.shift[own], panel.gain_pp[own]
        colour = series(number)[0]
        plot.hlines(y[:, 0], x[:, 1], x[:, 2], colors=colour, linewidth=0.7, alpha=0.45, zorder=2)
        plot.vlines(x[:, 0], y[:, 1], y[:, 2], colors=colour, linewidth=0.7, alpha=0.45, zorder=2)
        plot.plot(x[:, 0], y[:, 0], zorder=3, **fit_markers(number, 6))


def _line(plot: Axes, panel: ShiftPanel) -> None:
    x, y = panel.shift[:, 0], panel.gain_pp[:, 0]
    known = np.isfinite(x) & np.isfinite(y)
    if not np.isfinite(panel.slope_pp) or not known.any():
        return
    ends = np.array([x[known].min(), x[known].max()])
    line = y[known].mean() + panel.slope_pp * (ends - x[known].mean())
    style = "-" if panel.is_clear else (0, (4, 3))
    plot.plot(ends, line, color=ink("quiet"), linewidth=1.2, linestyle=style, zorder=2)


def _names(plot: Axes, panel: ShiftPanel) -> None:
    """Names beside their points where there is room, the farthest from the others first."""
    low_x, high_x = plot.get_xlim()
    low_y, high_y = plot.get_ylim()
    known = np.flatnonzero(np.isfinite(panel.shift[:, 0]) & np.isfinite(panel.gain_pp[:, 0]))
    points = np.column_stack(
        [
            (panel.shift[known, 0] - low_x) / (high_x - low_x) * PANEL_PX[0],
            (panel.gain_pp[known, 0] - low_y) / (high_y - low_y) * PANEL_PX[1],
        ]
    )
    apart = np.abs(points[:, None] - points[None]).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    order = np.argsort(-apart.min(axis=1, initial=np.inf), kind="stable")
    labels = [panel.labels[number] for number in known]
    for place in label_places(points, labels, order.tolist(), PANEL_PX, LABEL_PX):
        canvas.write(
            plot,
            place.x_px,
            place.y_px,
            labels[place.point],
            "ink",
            LABEL_PX,
            ha="center",
            own_scale=False,
        )
