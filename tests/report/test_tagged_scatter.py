"""Points in a plane: none hides another, none leaves its place by more than is said."""

from __future__ import annotations

import numpy as np
import pytest

from emo_harness.report.figures.tagged_scatter import (
    APART_PX,
    FURTHEST_PX,
    SIZE_PX,
    set_apart,
    tagged_scatter,
)


def in_pixels(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.asarray((places - low) / (high - low) * SIZE_PX)


@pytest.mark.parametrize("n", [1, 2, 7, 50, 600])
def test_marks_at_one_place_are_apart_and_near_it(n: int) -> None:
    points = np.concatenate([np.tile([3.0, 4.0], (n, 1)), [[1.0, 1.0], [9.0, 9.0]]])
    places, low, high = set_apart(points)
    moved = np.linalg.norm(in_pixels(places, low, high) - in_pixels(points, low, high), axis=1)
    assert moved.max() <= FURTHEST_PX and moved[0] == 0 and (moved[n:] == 0).all()
    marks = in_pixels(places[:n], low, high)
    between = np.linalg.norm(marks[:, None] - marks[None], axis=2)[~np.eye(n, dtype=bool)]
    assert between.min(initial=99) >= min(APART_PX, FURTHEST_PX / np.sqrt(n)) * 0.9
    inside = in_pixels(places, low, high)
    assert (inside >= 0).all() and (inside <= SIZE_PX).all()


def test_points_apart_stay_where_they_are_and_all_is_the_same_each_time() -> None:
    points = np.array([[1.0, 2.0], [3.0, 2.5], [8.0, 7.0]])
    assert (set_apart(points)[0] == points).all()
    tied = np.tile([1.0, 5.0], (30, 1))
    assert (set_apart(tied)[0] == set_apart(tied)[0]).all()


def test_hollow_points_come_last_in_the_key_and_first_on_paper() -> None:
    points = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 3.0]])
    drawn = tagged_scatter(
        points, ["twins", "fear", "joy"], ("x", "y"), "n", "t", "a", hollow="twins"
    ).file
    assert drawn.index("fear") < drawn.index("joy") < drawn.index("twins")
