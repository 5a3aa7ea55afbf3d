"""Kinds of marks: colour and shape together, and the key that names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from emo_harness.report.figures import canvas
from emo_harness.report.figures.palette import ink

ROW_PX = 18
MARK_PX = 18
GAP_PX = 16


@dataclass(frozen=True)
class Kind:
    """One kind of mark.

    Attributes:
        label: in the key.
        colour: of the palette.
        marker: as matplotlib names it.
        is_filled: else only its edge is drawn.
    """

    label: str
    colour: str
    marker: str
    is_filled: bool = True


def dress(kind: Kind, size: float) -> dict[str, Any]:
    """Keywords of `Axes.plot` for the points of a kind."""
    return {
        "linestyle": "none",
        "marker": kind.marker,
        "markersize": size,
        "markerfacecolor": ink(kind.colour) if kind.is_filled else "none",
        "markeredgecolor": ink("paper") if kind.is_filled else ink(kind.colour),
        "markeredgewidth": 0.6 if kind.is_filled else 1.1,
    }


def kind_key_height(kinds: Sequence[Kind], width_px: float) -> float:
    """Pixels that `kind_key` takes."""
    return len(_lines(kinds, width_px)) * ROW_PX + 6


def kind_key(figure: Figure, kinds: Sequence[Kind]) -> None:
    """Write mark and label of each kind along the figure's upper edge, in as many lines."""
    width, _ = figure.get_size_inches() * canvas.PX_PER_INCH
    lines = _lines(kinds, width)
    made = canvas.axes(figure, 0, 0, width, len(lines) * ROW_PX)
    made.set_axis_off()
    made.set_xlim(0, width)
    made.set_ylim(len(lines) * ROW_PX, 0)
    for row, line in enumerate(lines):
        x = 10.0
        for kind in line:
            y = (row + 0.5) * ROW_PX
            made.plot([x], [y], clip_on=False, **dress(kind, 6.5))
            canvas.write(made, x + 9, y, kind.label, size=canvas.SMALL_PX)
            x += _taken(kind)


def _lines(kinds: Sequence[Kind], width_px: float) -> list[list[Kind]]:
    lines: list[list[Kind]] = [[]]
    x = 10.0
    for kind in kinds:
        if lines[-1] and x + _taken(kind) > width_px:
            lines.append([])
            x = 10.0
        lines[-1].append(kind)
        x += _taken(kind)
    return lines


def _taken(kind: Kind) -> float:
    return MARK_PX + canvas.text_width([kind.label], canvas.SMALL_PX) + GAP_PX
