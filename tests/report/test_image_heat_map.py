"""The heat map over an image: readable, small, self-contained, whatever the image."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import PIL.Image
import pytest

from emo_harness.report.figures.image_heat_map import (
    BUDGET_BYTES,
    as_image,
    image_heat_map,
    within_budget,
)

RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (900, 1400, 3), np.uint8)


def drawn(image: Any, values: Any, **settings: Any) -> Any:
    return image_heat_map(image, values, 0.1, "nats", "image-0", "title", "alt text", **settings)


def embedded(svg: str) -> list[PIL.Image.Image]:
    found = re.findall(r'href="data:image/png;base64,([^"]+)"', svg)
    return [PIL.Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


@pytest.mark.parametrize(
    "image",
    [
        NOISE,
        NOISE[:, :, 0],
        NOISE[:, :, :1],
        NOISE.astype(np.int64),
        NOISE / 255,
        PIL.Image.fromarray(NOISE).convert("RGBA"),
        PIL.Image.fromarray(NOISE).convert("P"),
        PIL.Image.fromarray(NOISE[:3, :]),
    ],
    ids=["rgb", "grey", "one-channel", "int64", "floating", "rgba", "palette", "flat"],
)
def test_any_image_is_drawn_within_its_budget(image: Any) -> None:
    made = drawn(image, RNG.normal(0, 0.2, (14, 14)))
    for svg in (made.inline, made.file):
        images = embedded(svg)
        assert len(images) == 2
        assert len(svg) < 3 * BUDGET_BYTES + 40_000
        # The second is grey, so that the colours over it are those of the key.
        pixels = np.asarray(images[1].convert("RGB")).astype(int)
        assert np.ptp(pixels, axis=2).max() == 0
    ElementTree.fromstring(made.file)  # noqa: S314, our own
    assert 'aria-label="alt text"' in made.inline


def test_the_image_keeps_its_shape_and_its_place_behind_the_patches() -> None:
    made = drawn(NOISE, np.full((3, 3), 0.3))
    (place,) = {re.search(r'width="([\d.]+)" height="([\d.]+)"', i)[0] for i in images(made.inline)}
    width, height = map(float, re.findall(r'"([\d.]+)"', place))
    assert width / height == pytest.approx(1400 / 900, rel=0.01)
    assert made.inline.index("<image") < made.inline.index("<path")


def images(svg: str) -> list[str]:
    return re.findall(r"<image [^>]*>", svg)


def test_noise_is_made_smaller_and_a_plain_image_is_not() -> None:
    noise, plain = (within_budget(as_image(one)) for one in (NOISE, np.zeros_like(NOISE)))
    assert len(noise) <= BUDGET_BYTES
    assert PIL.Image.open(io.BytesIO(noise)).width < PIL.Image.open(io.BytesIO(plain)).width


def test_direction_is_told_without_colour() -> None:
    """A stroke across for every patch that moves the answer, one more down where it raises."""

    def strokes(values: list[list[float]]) -> int:
        made = drawn(np.zeros((8, 8, 3), np.uint8), np.array(values)).inline
        key = drawn(np.zeros((8, 8, 3), np.uint8), np.zeros((1, 2))).inline
        return count(made) - count(key)

    def count(svg: str) -> int:
        paths = re.findall(r'<path d="([^"]*)"[^>]*stroke:var\(--ink\)', svg)
        return sum(path.count("M") for path in paths)

    assert strokes([[-0.3, 0.0]]) == 1
    assert strokes([[0.3, 0.0]]) == 2
    assert strokes([[0.3, -0.3]]) == 3
    assert strokes([[np.nan, 0.01]]) == 0


def test_transparent_pixels_are_white() -> None:
    clear = np.zeros((4, 4, 4), np.uint8)
    assert np.asarray(as_image(clear)).min() == 255


@pytest.mark.parametrize("image", [np.zeros((0, 4, 3)), np.zeros(5), np.zeros((2, 2, 2, 2))])
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="no image"):
        as_image(image)


def test_patches_need_rows_and_columns() -> None:
    with pytest.raises(ValueError, match="rows, columns"):
        drawn(NOISE, np.zeros(5))
