"""Dose curves of an axis, over the band of its controls, as one SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

from emo_harness.steer.interpolation import InterpolationSummary
from emo_harness.steer.summary import DirectionSummary, DosePoint, Summary

PANEL_PX, LEFT_PX, GAP_PX, RIGHT_PX, TOP_PX, FOOT_PX = (250, 190), 62, 76, 50, 30, 50
TITLE_CHARACTERS = 100
PX_PER_INCH = 72
INK, QUIET, LINE, BAND, PAPER = "#1d2229", "#59626e", "#d3d8df", "#eceff3", "#ffffff"
FIRST, SECOND = "#0067a8", "#b84a00"

# What a panel shows of a dose: a curve's name, colour, dashes and value.
Curve = tuple[str, str, str, Callable[[DosePoint], float]]
PANELS: tuple[tuple[str, tuple[Curve, ...]], ...] = (
    ("change of word log-odds, nats", (("", FIRST, "-", lambda p: p.change.value),)),
    (
        "change of log-probability, nats per token",
        (
            ("positive class", FIRST, "-", lambda p: p.positive),
            ("negative class", SECOND, "--", lambda p: p.negative),
        ),
    ),
    ("KL to unsteered, nats", (("", FIRST, "-", lambda p: p.kl_nats),)),
    ("perplexity, ratio to unsteered", (("", FIRST, "-", lambda p: p.perplexity_ratio),)),
)


def dose_curves(summary: Summary, title: str) -> str:
    """Four panels: log-odds, continuations of both classes, KL, perplexity; by dose.

    The grey band spans the controls; a curve that stays in it says nothing about the axis.
    """
    figure = _figure(2, 2)
    for number, (label, curves) in enumerate(PANELS):
        panel = _panel(figure, number, 2, 2)
        doses = [point.dose for point in summary.axis.curve]
        for name, colour, dashes, value in curves:
            _band(panel, summary.controls, doses, value)
            ys = [value(point) for point in summary.axis.curve]
            panel.plot(doses, ys, dashes, color=colour, marker="o", markersize=4, linewidth=1.5)
            if name and math.isfinite(ys[-1]):
                where = (doses[-1], ys[-1])
                panel.annotate(
                    name.split()[0],
                    where,
                    (4, 0),
                    textcoords="offset points",
                    color=colour,
                    fontsize=10,
                    va="center",
                )
        if number == 0:
            lows = [point.change.low for point in summary.axis.curve]
            highs = [point.change.high for point in summary.axis.curve]
            panel.vlines(doses, lows, highs, colors=FIRST, linewidth=1)
        panel.set_title(label, color=INK, fontsize=11, loc="left")
        panel.set_xlabel("dose, class-mean distances", color=QUIET, fontsize=10)
    told = f"{title}; grey: {len(summary.controls)} random and orthogonal directions"
    return _svg(figure, told)


def interpolation_curves(found: InterpolationSummary, title: str) -> str:
    """Mean log-probability of either end's continuations by share of the second cache."""
    figure = _figure(1, 1, width_px=420)
    panel = _panel(figure, 0, 1, 1, width_px=420)
    for points, colour, dashes, name in (
        (found.first, FIRST, "-", "of the first"),
        (found.second, SECOND, "--", "of the second"),
    ):
        ys = [point.value for point in points]
        panel.plot(found.shares, ys, dashes, color=colour, linewidth=1.5, label=name)
        lows, highs = [p.low for p in points], [p.high for p in points]
        panel.fill_between(found.shares, lows, highs, color=colour, alpha=0.15, linewidth=0)
    panel.legend(frameon=False, fontsize=10, labelcolor=QUIET, title="continuations")
    panel.set_title("log-probability, nats per token", color=INK, fontsize=11, loc="left")
    panel.set_xlabel("share of the second prompt's cache", color=QUIET, fontsize=10)
    return _svg(figure, title)


def _figure(n_rows: int, n_columns: int, width_px: int = PANEL_PX[0]) -> Any:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    width = n_columns * (width_px + GAP_PX) + RIGHT_PX
    height = n_rows * (PANEL_PX[1] + TOP_PX + FOOT_PX) + 20
    figure = Figure(figsize=(width / PX_PER_INCH, height / PX_PER_INCH), facecolor=PAPER)
    FigureCanvasSVG(figure)
    return figure


def _panel(
    figure: Any, number: int, n_rows: int, n_columns: int, width_px: int = PANEL_PX[0]
) -> Any:
    width, height = (side * PX_PER_INCH for side in figure.get_size_inches())
    row, column = divmod(number, n_columns)
    left = LEFT_PX + column * (width_px + GAP_PX)
    top = 20 + TOP_PX + row * (PANEL_PX[1] + TOP_PX + FOOT_PX)
    panel = figure.add_axes(
        (
            left / width,
            1 - (top + PANEL_PX[1]) / height,
            width_px / width,
            PANEL_PX[1] / height,
        )
    )
    for name, side in panel.spines.items():
        side.set_color(LINE)
        side.set_visible(name in ("left", "bottom"))
    panel.tick_params(color=LINE, labelcolor=QUIET, labelsize=10)
    return panel


def _band(
    panel: Any,
    controls: Sequence[DirectionSummary],
    doses: Sequence[float],
    value: Callable[[DosePoint], float],
) -> None:
    if not controls:
        return
    by_dose = [[value(one.curve[i]) for one in controls] for i in range(len(doses))]
    lows, highs = [min(ys) for ys in by_dose], [max(ys) for ys in by_dose]
    panel.fill_between(doses, lows, highs, color=BAND, edgecolor=LINE, linewidth=0.5, zorder=0)


def _svg(figure: Any, title: str) -> str:
    import matplotlib as mpl

    shown = title if len(title) <= TITLE_CHARACTERS else f"…{title[-TITLE_CHARACTERS:]}"
    figure.text(0.01, 0.985, shown, color=INK, fontsize=11, va="top", parse_math=False)
    written = io.BytesIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None, "Title": title}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "emo-steer"}):
        figure.savefig(written, format="svg", metadata=metadata)
    return written.getvalue().decode("utf-8")
