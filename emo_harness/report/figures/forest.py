"""Forest plot: gains with intervals, one row each, around the margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.palette import ink

ROW_PX = 22
HEAD_PX = 30
FOOT_PX = 46
PLOT_PX = 400
DIAMOND_PX = 8
LIKE_REACH = 2.5


@dataclass(frozen=True)
class ForestRow:
    """One row, or a heading where `low` and `value` are NaN and `numbers` is "".

    Attributes:
        label, numbers: left and right of the plot.
        value, low, high: a point with its thick interval.
        like_low, like_high: the thin interval; NaN leaves it out.
        placebo: where the neutral placebos lie; NaN leaves it out.
        tone: `up`, `down` or `quiet`, the colour of point and thick interval.
    """

    label: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    like_low: float = math.nan
    like_high: float = math.nan
    placebo: float = math.nan
    numbers: str = ""
    tone: str = "quiet"


@dataclass(frozen=True)
class ForestTerms:
    """What a plot of something else than gains calls its axis, thick interval and diamond."""

    axis: str
    interval: str
    diamond: str = ""


@canvas.own_style()
def forest(
    rows: Sequence[ForestRow],
    margin_pp: float,
    name: str,
    title: str,
    alt: str,
    terms: ForestTerms | None = None,
) -> Drawing:
    """Draw the rows from top to bottom, on one scale that shows zero and the margin.

    Args:
        terms: those of gains by default; without a margin pass 0 for it.
    """
    terms = terms or ForestTerms(
        f"gain over control, pp (band: margin of {margin_pp:g} pp)",
        "these stimuli",
        "neutral placebos",
    )
    label_px = min(max(canvas.text_width([row.label for row in rows]), 90), 300) + 14
    height = len(rows) * ROW_PX
    numbers_px = 1.2 * canvas.text_width([row.numbers for row in rows]) + 24
    figure = canvas.canvas(label_px + PLOT_PX + numbers_px, HEAD_PX + height + FOOT_PX)
    plot = canvas.axes(figure, label_px, HEAD_PX, PLOT_PX, height)
    canvas.only_bottom(plot)
    left, right = _reach(rows, margin_pp)
    plot.set_xlim(left, right)
    plot.set_ylim(len(rows) - 0.5, -0.5)
    plot.set_yticks([])
    plot.axvspan(-margin_pp, margin_pp, color=ink("band"), linewidth=0, zorder=0)
    plot.axvline(0, color=ink("quiet"), linewidth=1, zorder=1)
    plot.set_xlabel(terms.axis, color=ink("quiet"), fontsize=canvas.SMALL_PX)
    at = np.arange(len(rows))
    _intervals(plot, rows, at, left, right)
    _points(plot, rows, at)
    labels = canvas.fitted_apart([row.label for row in rows], label_px)
    for y, row, label in zip(at, rows, labels, strict=True):
        heading = math.isnan(row.value)
        weight = "bold" if heading else "normal"
        x = -label_px + (0 if heading else 10)
        middle = height - (y + 0.5) * ROW_PX
        canvas.write(plot, x, middle, label, weight=weight, own_scale=False)
        canvas.write(plot, PLOT_PX + 12, middle, row.numbers, own_scale=False)
    _key(plot, rows, height, terms)
    return canvas.drawing(figure, name, title, alt)


def _reach(rows: Sequence[ForestRow], margin_pp: float) -> tuple[float, float]:
    """The scale: all thick intervals, and thin ones unless they would dwarf the thick."""
    ends = np.array([[r.low, r.high, r.value, r.placebo] for r in rows])
    thick = max(float(np.nanmax(np.abs(ends), initial=0)), 1.5 * margin_pp)
    thin = np.array([[r.like_low, r.like_high] for r in rows])
    low = min(float(np.nanmin(ends, initial=0)), float(np.nanmin(thin, initial=0)))
    high = max(float(np.nanmax(ends, initial=0)), float(np.nanmax(thin, initial=0)))
    low = max(min(low, -1.5 * margin_pp), -LIKE_REACH * thick)
    high = min(max(high, 1.5 * margin_pp), LIKE_REACH * thick)
    pad = 0.04 * (high - low) or 1.0
    return low - pad, high + pad


def _intervals(
    plot: Axes, rows: Sequence[ForestRow], at: np.ndarray, left: float, right: float
) -> None:
    thin = [
        (y, row, max(row.like_low, left), min(row.like_high, right))
        for y, row in zip(at, rows, strict=True)
        if not math.isnan(row.like_low)
    ]
    for width, lines in (
        (1.4, [(((a, y), (b, y)), row.tone) for y, row, a, b in thin]),
        (
            5.0,
            [
                (((row.low, y), (row.high, y)), row.tone)
                for y, row in zip(at, rows, strict=True)
                if not math.isnan(row.low)
            ],
        ),
    ):
        plot.add_collection(
            LineCollection(
                [line for line, _ in lines],
                colors=[ink(tone) for _, tone in lines],
                linewidths=width,
                zorder=2,
            )
        )
    for y, row, _, _ in thin:
        if row.like_low < left:
            plot.plot([left], [y], marker="<", color=ink(row.tone), markersize=5, clip_on=False)
        if row.like_high > right:
            plot.plot([right], [y], marker=">", color=ink(row.tone), markersize=5, clip_on=False)


def _points(plot: Axes, rows: Sequence[ForestRow], at: np.ndarray) -> None:
    plot.plot(
        [row.value for row in rows],
        at,
        linestyle="none",
        marker="o",
        markersize=6.5,
        markerfacecolor=ink("paper"),
        markeredgecolor=ink("ink"),
        markeredgewidth=1.6,
        zorder=4,
    )
    plot.plot(
        [row.placebo for row in rows],
        at,
        linestyle="none",
        marker="d",
        markersize=DIAMOND_PX,
        markerfacecolor=ink("paper"),
        markeredgecolor=ink("ink"),
        markeredgewidth=1.1,
        zorder=3,
    )


def _key(plot: Axes, rows: Sequence[ForestRow], height: float, terms: ForestTerms) -> None:
    handles = [
        Line2D([], [], color=ink("quiet"), linewidth=5, label=terms.interval),
    ]
    if any(not math.isnan(row.like_low) for row in rows):
        handles.append(
            Line2D([], [], color=ink("quiet"), linewidth=1.4, label="stimuli like these")
        )
    if any(not math.isnan(row.placebo) for row in rows):
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="d",
                markersize=DIAMOND_PX,
                markerfacecolor=ink("paper"),
                markeredgecolor=ink("ink"),
                label=terms.diamond,
            )
        )
    legend = plot.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1 + 4 / height),
        ncols=3,
        frameon=False,
        fontsize=canvas.SMALL_PX,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.4,
        handlelength=1.8,
    )
    for text in legend.get_texts():
        text.set_color(ink("quiet"))
