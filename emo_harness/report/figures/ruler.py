"""The power ruler: the gain that n questions can show, and where this report lies on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.key import fit_markers, key_height, series_key
from emo_harness.report.figures.palette import ink

SIZE_PX = (560, 300)
LEFT_PX, RIGHT_PX, TOP_PX, FOOT_PX = 56, 150, 10, 46
# Marks of different series at one n are set side by side, this factor apart and in all.
SIDE_BY_SIDE, AT_MOST = 1.07, 1.5
FLIPPING_PCT = (2, 5, 10, 20, 40)
# Normal quantiles for 5% two-sided and 80% power.
QUANTILES = 1.959964 + 0.841621


@dataclass(frozen=True)
class RulerPoint:
    """A row of this report: `series` numbers its model and board; `whole`: not a single subtask."""

    series: int
    n: int
    mde_pp: float
    whole: bool


def least_gain_pp(n: float, flipping_pct: float) -> float:
    """Minimum detectable effect of a paired comparison of right and wrong answers.

    100 (z_0.975 + z_0.80) sqrt(d / n), the normal approximation, where d is the share of questions
    whose answer flips: the variance of a difference of right and wrong answers is at most d.
    """
    return 100 * QUANTILES * math.sqrt(flipping_pct / 100 / n)


@canvas.own_style()
def ruler(
    points: Sequence[RulerPoint],
    labels: Sequence[str],
    margin_pp: float,
    name: str,
    title: str,
    alt: str,
) -> Drawing:
    """Draw the least gain that n questions show, for several shares of flipping questions."""
    width = LEFT_PX + SIZE_PX[0] + RIGHT_PX
    top = key_height(labels, width) + TOP_PX
    figure = canvas.canvas(width, top + SIZE_PX[1] + FOOT_PX)
    series_key(figure, labels)
    plot = canvas.axes(figure, LEFT_PX, top, *SIZE_PX)
    plot.spines["top"].set_visible(False)
    plot.spines["right"].set_visible(False)
    least, most = _span([p.n for p in points])
    n = np.array([least, most])
    plot.set_xscale("log")
    plot.set_yscale("log")
    plot.set_xlim(least, most)
    low = min([margin_pp / 2, *(p.mde_pp / 1.5 for p in points), least_gain_pp(most, 2) / 1.1])
    high = max([least_gain_pp(least, 40), *(p.mde_pp * 1.2 for p in points)])
    plot.set_ylim(low, high)
    plot.axhspan(low, margin_pp, color=ink("band"), linewidth=0, zorder=0)
    for share in FLIPPING_PCT:
        gains = [least_gain_pp(float(v), share) for v in n]
        plot.plot(n, gains, color=ink("hatch"), linewidth=1.2, zorder=1)
        plot.annotate(
            f"{share}% flip",
            (most, gains[1]),
            xytext=(6, 0),
            textcoords="offset pixels",
            fontsize=canvas.SMALL_PX,
            color=ink("quiet"),
            va="center",
            annotation_clip=False,
        )
    plot.annotate(
        f"margin: {margin_pp:g} pp",
        (least, margin_pp),
        xytext=(6, -9),
        textcoords="offset pixels",
        fontsize=canvas.SMALL_PX,
        color=ink("quiet"),
        va="center",
    )
    for number in range(len(labels)):
        for whole in (False, True):
            chosen = [p for p in points if p.series == number and p.whole is whole]
            dress = fit_markers(number, 9 if whole else 4.5)
            if not whole:
                dress |= {"markeredgecolor": dress["markerfacecolor"], "markerfacecolor": "none"}
            apart = min(SIDE_BY_SIDE, AT_MOST ** (1 / len(labels)))
            shift = apart ** (number - (len(labels) - 1) / 2)
            plot.plot([p.n * shift for p in chosen], [p.mde_pp for p in chosen], zorder=3, **dress)
    for axis in (plot.xaxis, plot.yaxis):
        axis.set_minor_formatter(NullFormatter())
    plot.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    plot.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= t <= high]
    plot.set_yticks(ticks)
    plot.set_xlabel("questions", color=ink("quiet"), fontsize=canvas.SMALL_PX)
    plot.set_ylabel("least gain shown, pp", color=ink("quiet"), fontsize=canvas.SMALL_PX)
    return canvas.drawing(figure, name, title, alt)


def _span(counts: Sequence[int]) -> tuple[float, float]:
    known = [c for c in counts if c > 0] or [100]
    return min(20.0, min(known) / 1.5), max(10_000.0, max(known) * 2.5)
