"""Compositions: where glyphs stand, and that a twin differs in its glyphs alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.images.drawing import (
    ARRANGEMENTS,
    BACKGROUNDS,
    MARGIN,
    N_GLYPHS,
    Arrangement,
    Composition,
    Place,
    backdrop,
    draw,
    places,
)
from tests.images.emoji_font import emoji_font

ALL = [(a, n) for a in ARRANGEMENTS for n in range(N_GLYPHS[a][0], N_GLYPHS[a][1] + 1)]


def box(place: Place) -> tuple[float, float, float, float]:
    """The upright box around a turned square."""
    angle = np.radians(abs(place.turn))
    half = place.side * (np.cos(angle) + np.sin(angle)) / 2
    return place.x - half, place.y - half, place.x + half, place.y + half


@pytest.mark.parametrize(("arrangement", "n"), ALL)
def test_no_glyph_overlaps_another_or_touches_the_edge(arrangement: Arrangement, n: int) -> None:
    for seed in range(50):
        boxes = [box(p) for p in places(arrangement, n, np.random.default_rng(seed))]
        assert len(boxes) == n
        for left, top, right, bottom in boxes:
            assert min(left, top) >= MARGIN - 1e-9
            assert max(right, bottom) <= 1 - MARGIN + 1e-9
        for a, b in itertools.combinations(boxes, 2):
            apart = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
            assert apart >= -1e-9


@pytest.mark.parametrize(("arrangement", "n"), [one for one in ALL if one[0] != "scatter"])
def test_arrangement_stands_in_the_middle(arrangement: Arrangement, n: int) -> None:
    boxes = np.array([box(p) for p in places(arrangement, n, np.random.default_rng(0))])
    left, right = boxes[:, 0].min(), 1 - boxes[:, 2].max()
    assert left == pytest.approx(right)


def test_scattered_images_of_other_seeds_differ() -> None:
    drawn = {places("scatter", 6, np.random.default_rng(seed)) for seed in range(20)}
    assert len(drawn) == 20


@pytest.mark.parametrize("size", [64, 336])
@pytest.mark.parametrize(("arrangement", "n"), ALL)
def test_twin_differs_in_its_glyphs_alone(arrangement: Arrangement, n: int, size: int) -> None:
    image, twin = (
        np.asarray(
            draw(
                Composition((glyph,) * n, arrangement, "meadow"),
                emoji_font(),
                size,
                np.random.default_rng([3]),
            )
        )
        for glyph in ("U+1F631", "U+1F610")
    )
    differs = (image != twin).any(-1)
    assert differs.any()
    allowed = np.zeros((size, size), dtype=bool)
    for place in places(arrangement, n, np.random.default_rng([3])):
        left, top, right, bottom = (round(edge * size) for edge in box(place))
        allowed[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = True
    assert not (differs & ~allowed).any()


def test_equal_seeds_give_equal_pixels() -> None:
    composition = Composition(("U+1F631", "U+1F480", "U+1F631"), "scatter", "night")
    first, second, other = (
        np.asarray(draw(composition, emoji_font(), 64, np.random.default_rng(seed)))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", list(BACKGROUNDS))
def test_background_goes_from_its_top_to_its_bottom(name: str) -> None:
    background, levels = BACKGROUNDS[name], backdrop(name, 100)
    assert levels.shape == (100, 100, 3)
    assert tuple(levels[0, 0]) == background.top
    assert tuple(levels[-1, -1]) == (background.ground or background.bottom)
    assert (levels == levels[:, :1]).all()


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="nearest: 'meadow'"):
        Composition(("U+1F600",), "single", "meadows")
    with pytest.raises(UserError, match="2 glyphs in the arrangement single"):
        Composition(("U+1F600",) * 2, "single", "white")
    with pytest.raises(UserError, match="nearest: 'ring'"):
        Composition(("U+1F600",) * 5, "rings", "white")  # type: ignore[arg-type]
