"""Label places: where names go beside crowded points, so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.report.figures import canvas

Box = tuple[float, float, float, float]
# Tried in this order: right, left, above, below, then the diagonals, near before far.
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_NEAR_PX, _FAR_PX = 6.0, 14.0


@dataclass(frozen=True)
class LabelPlace:
    """A label's middle, in pixels from the plot's lower left corner; `point` numbers its point."""

    point: int
    x_px: float
    y_px: float
    is_far: bool


def label_places(
    points_px: NDArray[np.float64],
    labels: Sequence[str],
    order: Sequence[int],
    size_px: tuple[float, float],
    font_px: float,
    mark_px: float = 3.5,
) -> list[LabelPlace]:
    """Give every label, in an order of importance, the first place that is free.

    A label without a free place is left out: its point stays, and the figure's table names it.

    Args:
        points_px: (n, 2) from the plot's lower left corner.
        order: points to be labelled, the most important first.
        size_px: of the plot.
    """
    taken = _Grid(size_px)
    for x, y in points_px:
        taken.add((x - mark_px, y - mark_px, x + mark_px, y + mark_px))
    found = []
    for number in order:
        x, y = (float(v) for v in points_px[number])
        width, height = canvas.text_width([labels[number]], font_px), font_px + 1
        for away in (_NEAR_PX, _FAR_PX):
            place = _free(taken, x, y, width, height, away, size_px)
            if place is not None:
                taken.add(_box(*place, width, height))
                found.append(LabelPlace(number, *place, away == _FAR_PX))
                break
    return found


def _free(
    taken: _Grid,
    x: float,
    y: float,
    width: float,
    height: float,
    away: float,
    size_px: tuple[float, float],
) -> tuple[float, float] | None:
    for right, up in _SIDES:
        slant = 0.75 if right and up else 1.0
        place = (
            x + right * (width / 2 + away * slant),
            y + up * (height / 2 + (away - 2) * slant),
        )
        box = _box(*place, width, height)
        inside = box[0] >= 0 and box[1] >= 0 and box[2] <= size_px[0] and box[3] <= size_px[1]
        if inside and taken.is_free(box):
            return place
    return None


def _box(x: float, y: float, width: float, height: float) -> Box:
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


class _Grid:
    """Boxes by the coarse cells they touch, so that hundreds of labels are placed quickly."""

    cell_px = 40.0

    def __init__(self, size_px: tuple[float, float]) -> None:
        self._boxes: dict[tuple[int, int], list[Box]] = {}
        self._size_px = size_px

    def add(self, box: Box) -> None:
        for cell in self._cells(box):
            self._boxes.setdefault(cell, []).append(box)

    def is_free(self, box: Box) -> bool:
        return not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
            for cell in self._cells(box)
            for other in self._boxes.get(cell, ())
        )

    def _cells(self, box: Box) -> list[tuple[int, int]]:
        first, low, last, high = (math.floor(v / self.cell_px) for v in box)
        return [(i, j) for i in range(first, last + 1) for j in range(low, high + 1)]
