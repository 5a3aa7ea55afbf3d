"""Gain against a factor that was varied between runs, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.key import fit_markers, key_height, series_key
from emo_harness.report.figures.palette import ink, series

SIZE_PX = (600, 260)
LEFT_PX, RIGHT_PX, TOP_PX, FOOT_PX = 58, 30, 10, 46
SPREAD = 0.7


@dataclass(frozen=True)
class DosePoint:
    """One value of the factor in one series; `place` numbers the factor's values in order."""

    series: int
    place: int
    gain_pp: float
    low_pp: float
    high_pp: float


@canvas.own_style()
def dose(
    points: Sequence[DosePoint],
    values: Sequence[str],
    labels: Sequence[str],
    axis: str,
    joined: bool,
    margin_pp: float,
    name: str,
    title: str,
    alt: str,
) -> Drawing:
    """Draw each series as points with intervals; `joined` where the factor is an amount."""
    width = LEFT_PX + SIZE_PX[0] + RIGHT_PX
    top = key_height(labels, width) + TOP_PX
    figure = canvas.canvas(width, top + SIZE_PX[1] + FOOT_PX)
    series_key(figure, labels)
    plot = canvas.axes(figure, LEFT_PX, top, *SIZE_PX)
    plot.spines["top"].set_visible(False)
    plot.spines["right"].set_visible(False)
    plot.axhspan(-margin_pp, margin_pp, color=ink("band"), linewidth=0, zorder=0)
    plot.axhline(0, color=ink("quiet"), linewidth=1, zorder=1)
    plot.set_xlim(-0.5, len(values) - 0.5)
    plot.set_xticks(range(len(values)), [canvas.fitted(v, 120) for v in values])
    for number in range(len(labels)):
        own = sorted((p for p in points if p.series == number), key=lambda p: p.place)
        shift = min(SPREAD / len(labels), 0.12) * (number - (len(labels) - 1) / 2)
        x = [p.place + shift for p in own]
        colour = series(number)[0]
        plot.vlines(x, [p.low_pp for p in own], [p.high_pp for p in own], colors=colour)
        if joined:
            plot.plot(x, [p.gain_pp for p in own], color=colour, linewidth=0.8, zorder=2)
        plot.plot(x, [p.gain_pp for p in own], zorder=3, **fit_markers(number, 7))
    plot.set_xlabel(axis, color=ink("quiet"), fontsize=canvas.SMALL_PX)
    plot.set_ylabel("gain, pp", color=ink("quiet"), fontsize=canvas.SMALL_PX)
    return canvas.drawing(figure, name, title, alt)
