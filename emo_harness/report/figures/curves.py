"""Curves: values with bands along layers or steps, with dashed ones to compare with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.palette import ink, series

SIZE_PX = (520, 300)
LEFT_PX, NAMES_PX, TOP_PX, FOOT_PX = 56, 250, 10, 46
NAME_STEP_PX = 14
# Of controls, one after the other: long and short strokes, so that grey lines can be told apart.
DASHES = ((4.0, 3.0), (1.0, 2.0), (8.0, 2.0, 1.0, 2.0), (8.0, 4.0))
Floats = NDArray[np.float64]
# Height, label, colour, marker, and the dash of a control.
_End = tuple[float, str, str, str, tuple[float, ...] | None]


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve.

    Attributes:
        label: written at its end.
        x, y, low, high: (n,); bounds may be NaN.
        is_control: drawn dashed and grey.
        has_band: its bounds are drawn.
        is_band: of a control, its bounds are drawn too, in grey.
    """

    label: str
    x: Floats
    y: Floats
    low: Floats
    high: Floats
    is_control: bool = False
    has_band: bool = True
    is_band: bool = False


@canvas.own_style()
def curves(
    shown: Sequence[Curve],
    axes: tuple[str, str],
    baseline: float,
    baseline_name: str,
    name: str,
    title: str,
    alt: str,
    ticks: Sequence[float] = (),
) -> Drawing:
    """Draw curves with their 95% bands, named at their right ends in the order of these ends.

    Args:
        ticks: on the horizontal axis; whole numbers by default.
    """
    figure = canvas.canvas(LEFT_PX + SIZE_PX[0] + NAMES_PX, TOP_PX + SIZE_PX[1] + FOOT_PX)
    plot = canvas.axes(figure, LEFT_PX, TOP_PX, *SIZE_PX)
    plot.spines["top"].set_visible(False)
    plot.spines["right"].set_visible(False)
    _limits(plot, shown, baseline)
    plot.axhline(baseline, color=ink("quiet"), linewidth=1, zorder=1)
    numbers, dashes = itertools.count(), itertools.cycle(DASHES)
    ends: list[_End] = []
    for curve in shown:
        if curve.is_control:
            colour, marker, dash = ink("hatch"), "", next(dashes)
            dress: dict[str, Any] = {"linestyle": (0, dash), "linewidth": 1.3, "color": colour}
            if curve.is_band:
                _band(plot, curve, ink("line"), 0.7)
        else:
            (colour, marker), dash = series(next(numbers)), None
            dress = {"linewidth": 1.6, "color": colour, "marker": marker, "markersize": 5}
            if curve.has_band:
                _band(plot, curve, colour, 0.16)
        plot.plot(curve.x, curve.y, zorder=2 if curve.is_control else 3, **dress)
        known = np.flatnonzero(np.isfinite(curve.y))
        if known.size:
            ends.append((float(curve.y[known[-1]]), curve.label, colour, marker, dash))
    ends.append((baseline, baseline_name, ink("quiet"), "", None))
    _name_ends(plot, ends)
    plot.set_xlabel(axes[0], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    plot.set_ylabel(axes[1], color=ink("quiet"), fontsize=canvas.SMALL_PX)
    if ticks:
        plot.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    else:
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
    return canvas.drawing(figure, name, title, alt)


def _band(plot: Axes, curve: Curve, colour: str, alpha: float) -> None:
    known = np.isfinite(curve.low) & np.isfinite(curve.high)
    x, low, high = curve.x[known], curve.low[known], curve.high[known]
    plot.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0)


def _limits(plot: Axes, shown: Sequence[Curve], baseline: float) -> None:
    x = np.concatenate([curve.x for curve in shown])
    every = [curve.y for curve in shown]
    banded = [c for c in shown if (c.is_band if c.is_control else c.has_band)]
    every += [b for c in banded for b in (c.low, c.high)]
    y = np.append(np.concatenate(every), baseline)
    y = y[np.isfinite(y)]
    pad = 0.06 * (float(np.ptp(y)) or 1)
    plot.set_ylim(float(y.min()) - pad, float(y.max()) + pad)
    wide = 0.02 * (float(np.ptp(x)) or 1)
    plot.set_xlim(float(x.min()) - wide, float(x.max()) + wide)


def _name_ends(plot: Axes, ends: list[_End]) -> None:
    """Labels at the right, in the order of the curves' ends, pushed apart where they meet."""
    low, high = plot.get_ylim()
    order = sorted(ends, key=lambda end: end[:2])
    heights = [(y - low) / (high - low) * SIZE_PX[1] for y, *_ in order]
    for number in range(1, len(heights)):
        heights[number] = max(heights[number], heights[number - 1] + NAME_STEP_PX)
    # Where pushing went over the top, all of the upper ones come down together.
    over = SIZE_PX[1] + 2.0
    for number in range(len(heights) - 1, -1, -1):
        heights[number] = min(heights[number], over)
        over = heights[number] - NAME_STEP_PX
    for (y, label, colour, marker, dash), height in zip(order, heights, strict=True):
        at = (y - low) / (high - low) * SIZE_PX[1]
        plot.annotate(
            "",
            (SIZE_PX[0] + 2, at),
            (SIZE_PX[0] + 20, height),
            xycoords="axes pixels",
            textcoords="axes pixels",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.8, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        )
        if marker:
            place = ((SIZE_PX[0] + 27) / SIZE_PX[0], height / SIZE_PX[1])
            plot.plot(
                *([v] for v in place),
                transform=plot.transAxes,
                marker=marker,
                color=colour,
                markersize=5,
                clip_on=False,
            )
        left = SIZE_PX[0] + 36
        if dash:
            sample = [x / SIZE_PX[0] for x in (SIZE_PX[0] + 22, left + 10)]
            plot.plot(
                sample,
                [height / SIZE_PX[1]] * 2,
                transform=plot.transAxes,
                linestyle=(0, dash),
                linewidth=1.3,
                color=colour,
                clip_on=False,
            )
            left += 16
        text = canvas.fitted(label, NAMES_PX - 4 - (left - SIZE_PX[0]), canvas.SMALL_PX)
        canvas.write(plot, left, height, text, "ink", canvas.SMALL_PX, own_scale=False)
