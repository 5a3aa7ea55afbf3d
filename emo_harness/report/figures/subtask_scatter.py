"""Accuracy under control against accuracy under the arm, a point per subtask, a panel per model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.palette import ink

PANEL_PX = 236
LEFT_PX, GAP_PX, TOP_PX, FOOT_PX = 46, 48, 24, 42
NAMED = 2
NAME_PX = 190


@dataclass(frozen=True)
class SubtaskPanel:
    """One model.

    Attributes:
        control_pct, arm_pct: (n_subtasks,).
        direction: (n_subtasks,) 1 or -1 where the interval of the gain leaves zero out, else 0.
    """

    label: str
    subtasks: tuple[str, ...]
    control_pct: NDArray[np.float64]
    arm_pct: NDArray[np.float64]
    direction: NDArray[np.int64]


@canvas.own_style()
def subtask_scatter(panels: Sequence[SubtaskPanel], name: str, title: str, alt: str) -> Drawing:
    """Draw the panels, at most three beside each other, all from 0 to 100 per cent."""
    per_row = min(len(panels), 3)
    n_rows = -(-len(panels) // per_row)
    step = PANEL_PX + TOP_PX + FOOT_PX
    figure = canvas.canvas(LEFT_PX + per_row * (PANEL_PX + GAP_PX), n_rows * step)
    # Bold letters are wider.
    headings = canvas.fitted_apart([panel.label for panel in panels], 0.88 * PANEL_PX)
    for number, panel in enumerate(panels):
        row, column = divmod(number, per_row)
        left = LEFT_PX + column * (PANEL_PX + GAP_PX)
        plot = canvas.axes(figure, left, TOP_PX + row * step, PANEL_PX, PANEL_PX)
        plot.set_xlim(0, 100)
        plot.set_ylim(0, 100)
        plot.set_xticks(range(0, 101, 25))
        plot.set_yticks(range(0, 101, 25))
        plot.grid(True, color=ink("band"), linewidth=0.8)
        plot.set_axisbelow(True)
        plot.plot([0, 100], [0, 100], color=ink("quiet"), linewidth=1)
        canvas.write(plot, 0, PANEL_PX + 12, headings[number], weight="bold", own_scale=False)
        plot.set_xlabel("control, % right", color=ink("quiet"), fontsize=canvas.SMALL_PX)
        if column == 0:
            plot.set_ylabel("arm, % right", color=ink("quiet"), fontsize=canvas.SMALL_PX)
        for direction, marker, colour in ((0, "o", "quiet"), (1, "^", "up"), (-1, "v", "down")):
            chosen = panel.direction == direction
            plot.plot(
                panel.control_pct[chosen],
                panel.arm_pct[chosen],
                linestyle="none",
                marker=marker,
                markersize=7 if direction else 6,
                markerfacecolor=ink(colour) if direction else "none",
                markeredgecolor=ink(colour),
                clip_on=False,
            )
        _name_moved(plot, panel)
    return canvas.drawing(figure, name, title, alt)


def _name_moved(plot: Axes, panel: SubtaskPanel) -> None:
    """Number the subtasks that moved most, and name them in the corner that is free."""
    moved = np.abs(panel.arm_pct - panel.control_pct)
    order = [int(i) for i in np.argsort(-np.nan_to_num(moved))]
    for direction, corner, line, side in ((1, (2, 96), -6.0, "left"), (-1, (98, 4), 6.0, "right")):
        named = [i for i in order if panel.direction[i] == direction][:NAMED]
        for number, i in enumerate(named, 1):
            x, y = float(panel.control_pct[i]), float(panel.arm_pct[i])
            away = -direction * 4.0
            canvas.write(plot, x + away, y - away, str(number), "ink", 9, "bold", ha="center")
            # Names read downwards in both corners.
            slot = number - 1 if direction > 0 else len(named) - number
            text = f"{number} {canvas.fitted(panel.subtasks[i], NAME_PX, 9)}"
            canvas.write(plot, corner[0], corner[1] + line * slot, text, "quiet", 9, ha=side)
