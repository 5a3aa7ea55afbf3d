"""The key of the series: which colour and marker is which model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from emo_harness.report.figures import canvas
from emo_harness.report.figures.palette import ink, series

ROW_PX = 18
MARK_PX = 18
GAP_PX = 16
# Markers that cover less than a disc of their size.
THIN, LARGER = ("P", "X", "*"), 1.25


def key_height(labels: Sequence[str], width_px: float) -> float:
    """Pixels that `series_key` takes; nothing where there is but one series."""
    return len(_lines(labels, width_px)) * ROW_PX + 6 if len(labels) > 1 else 0


def series_key(figure: Figure, labels: Sequence[str], *, last_is_hollow: bool = False) -> None:
    """Write marker and label of each series along the figure's upper edge, in as many lines."""
    if len(labels) < 2:
        return
    width, _ = figure.get_size_inches() * canvas.PX_PER_INCH
    lines = _lines(labels, width)
    height = len(lines) * ROW_PX
    shown = canvas.fitted_apart(labels, width - MARK_PX, canvas.SMALL_PX)
    made = canvas.axes(figure, 0, 0, width, height)
    made.set_axis_off()
    made.set_xlim(0, width)
    made.set_ylim(height, 0)
    for row, line in enumerate(lines):
        x = 8.0
        for number in line:
            is_hollow = last_is_hollow and number == len(labels) - 1
            dress = hollow_markers(6) if is_hollow else fit_markers(number, 6.5)
            y = (row + 0.5) * ROW_PX
            made.plot([x], [y], clip_on=False, **dress)
            canvas.write(made, x + 9, y, shown[number], size=canvas.SMALL_PX, colour="ink")
            x += _taken(labels[number])


def fit_markers(number: int, size: float = 5.5) -> dict[str, Any]:
    """Keywords of `Axes.plot` for the points of a series."""
    colour, marker = series(number)
    return {
        "linestyle": "none",
        "marker": marker,
        "markersize": size * (LARGER if marker in THIN else 1),
        "markerfacecolor": colour,
        "markeredgecolor": ink("paper"),
        "markeredgewidth": 0.6,
    }


def hollow_markers(size: float = 5.5) -> dict[str, Any]:
    """Keywords of `Axes.plot` for points that stand back behind those of the series."""
    return {
        "linestyle": "none",
        "marker": "o",
        "markersize": size,
        "markerfacecolor": "none",
        "markeredgecolor": ink("quiet"),
        "markeredgewidth": 0.9,
    }


def _lines(labels: Sequence[str], width_px: float) -> list[list[int]]:
    lines: list[list[int]] = [[]]
    x = 8.0
    for number, label in enumerate(labels):
        taken = _taken(label)
        if lines[-1] and x + taken > width_px:
            lines.append([])
            x = 8.0
        lines[-1].append(number)
        x += taken
    return lines


def _taken(label: str) -> float:
    return MARK_PX + canvas.text_width([label], canvas.SMALL_PX) + GAP_PX
