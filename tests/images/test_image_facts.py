"""Facts of images: known cases, independent formulas, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from emo_harness.images.fact_differences import fact_differences
from emo_harness.images.image_facts import SIDE_PX, ImageFacts, image_facts


def noise(seed: int, side: int = SIDE_PX) -> Image.Image:
    rng = np.random.default_rng([5, seed])
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def facts(image: Image.Image) -> ImageFacts:
    return image_facts(image, 100)


def test_plain_images_have_known_facts() -> None:
    grey = facts(Image.new("RGB", (40, 20), (51, 51, 51)))
    assert (grey.sharpness, grey.contrast, grey.colourfulness) == pytest.approx((0, 0, 0))
    assert grey.brightness == pytest.approx(0.2)
    assert (grey.width, grey.height, grey.n_bytes) == (40, 20, 100)
    # One colour: no spread, and 0.3 times the distance from grey; rg = 1, yb = 1/2.
    red = facts(Image.new("RGB", (9, 9), (255, 0, 0)))
    assert red.colourfulness == pytest.approx(0.3 * np.hypot(1, 0.5))
    assert red.brightness == pytest.approx(0.299)


def test_halves_of_black_and_white_have_the_largest_contrast() -> None:
    image = Image.new("L", (SIDE_PX, SIDE_PX), 0)
    image.paste(255, (0, 0, SIDE_PX // 2, SIDE_PX))
    assert facts(image.convert("RGB")).contrast == pytest.approx(0.5)


def test_sharpness_and_colourfulness_are_their_formulas() -> None:
    image = noise(0)
    rgb = np.asarray(image, float) / 255
    luma = rgb @ [0.299, 0.587, 0.114]
    found = facts(image)
    assert found.sharpness == pytest.approx(ndimage.laplace(luma)[1:-1, 1:-1].var())
    # In the authors' units, which are 255 times ours.
    r, g, b = np.moveaxis(255 * rgb, 2, 0)
    rg, yb = r - g, 0.5 * (r + g) - b
    theirs = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert 255 * found.colourfulness == pytest.approx(theirs)


def test_blurring_lowers_sharpness_and_leaves_brightness() -> None:
    sharp, soft = facts(noise(1)), facts(noise(1).filter(ImageFilter.GaussianBlur(2)))
    assert soft.sharpness < sharp.sharpness / 10
    assert soft.brightness == pytest.approx(sharp.brightness, abs=0.01)


def test_facts_do_not_depend_on_how_large_the_file_is() -> None:
    # Smooth content: nothing is lost in the smaller copy.
    large = noise(2, 40).resize((1024, 1024), Image.Resampling.BICUBIC)
    small = large.resize((512, 512), Image.Resampling.LANCZOS)
    one, other = facts(large), facts(small)
    for name in ("sharpness", "brightness", "contrast", "colourfulness"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=0.05), name


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (3000, 1), (5, 5)])
def test_any_size_has_facts(size: tuple[int, int]) -> None:
    found = facts(Image.new("RGB", size, (10, 20, 30)))
    assert np.isfinite([found.sharpness, found.contrast, found.colourfulness]).all()


def test_images_brighter_than_their_twins_are_told_and_equal_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    twins = [ImageFacts(0.1, b, 0.2, 0.1, 64, 64, 900) for b in rng.normal(0.5, 0.1, 12)]
    images = [
        ImageFacts(s, twin.brightness + shift, 0.2, 0.1, 64, 64, 900)
        for twin, s, shift in zip(
            twins, rng.normal(0.1, 0.02, 12), rng.normal(0.1, 0.02, 12), strict=True
        )
    ]
    found = {
        row.fact: row
        for row in fact_differences([*images, *twins], np.arange(12), np.arange(12, 24))
    }
    bright = found["brightness"]
    assert bright.differs and bright.difference.mean == pytest.approx(0.1, abs=0.02)
    assert bright.images - bright.twins == pytest.approx(bright.difference.mean)
    assert [name for name, row in found.items() if row.differs] == ["brightness"]
    assert np.isnan(found["width"].p_adjusted)


def test_false_alarms_are_as_rare_as_they_say() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        drawn = rng.normal(0.5, 0.1, (40, 4))
        rows = [ImageFacts(*values, 64, 64, int(n)) for values, n in zip(
            drawn, rng.integers(900, 1100, 40), strict=True
        )]  # fmt: skip
        found = fact_differences(rows, np.arange(20), np.arange(20, 40))
        alarms += any(row.differs for row in found)
    assert alarms / 300 <= 0.08


def test_a_fact_that_differs_by_the_same_in_all_pairs_differs_though_it_has_no_p() -> None:
    rng = np.random.default_rng(2)
    images = [ImageFacts(*rng.random(4), 512, 64, 900) for _ in range(6)]
    twins = [ImageFacts(*rng.random(4), 336, 64, 900) for _ in range(6)]
    found = fact_differences([*images, *twins], np.arange(6), np.arange(6, 12))
    rows = {row.fact: row for row in found}
    assert rows["width"].differs and not rows["height"].differs
    for name, mean in (("width", 176), ("height", 0)):
        assert rows[name].difference.mean == mean and np.isnan(rows[name].p_adjusted)


def test_no_pair_no_table() -> None:
    assert fact_differences([], np.array([], int), np.array([], int)) == []
