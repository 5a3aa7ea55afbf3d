"""Control images keep what they promise to keep, and lose the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emo_harness.images import controls, load_image_set
from emo_harness.images.controls import (
    SPECTRUM_TOLERANCE,
    grey,
    phase_scrambled,
    pixel_scrambled,
    rng_of,
    spectrum_match,
)

SOME = ("fear-1", "anger-3", "disgust-2", "happiness-7", "money-3", "fortress-1")


def shipped() -> Iterator[tuple[str, Image.Image]]:
    emoji = load_image_set("emoji")
    for image_id in SOME:
        yield image_id, emoji.open(emoji.entry(image_id))


def random_image(width: int, height: int, seed: int) -> Image.Image:
    """Blots of a few colours, smooth and rough, of any shape."""
    rng = np.random.default_rng([width, height, seed])
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    rough = smooth + rng.normal(0, 12, smooth.shape)
    return Image.fromarray(np.clip(rough, 0, 255).astype(np.uint8))


def mean_levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=float).mean((0, 1))


def test_grey_is_mid_grey_of_the_size() -> None:
    image = grey((30, 20))
    assert image.size == (30, 20)
    assert image.getcolors() == [(600, (128, 128, 128))]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
def test_pixel_scrambling_keeps_every_colour(width: int, height: int, seed: int) -> None:
    image = random_image(width, height, seed)
    copy = pixel_scrambled(image, rng_of(image))
    assert copy.size == image.size
    assert sorted(copy.getcolors(width * height)) == sorted(image.getcolors(width * height))


def test_pixel_scrambling_leaves_no_neighbourhood() -> None:
    for image_id, image in shipped():
        levels, mixed = (
            np.asarray(one, dtype=float)[..., 1]
            for one in (image, pixel_scrambled(image, rng_of(image)))
        )
        assert np.corrcoef(levels[:, 1:].ravel(), levels[:, :-1].ravel())[0, 1] > 0.9, image_id
        assert abs(np.corrcoef(mixed[:, 1:].ravel(), mixed[:, :-1].ravel())[0, 1]) < 0.02, image_id


@given(st.integers(8, 61), st.integers(8, 61), st.integers(0, 9))
def test_phase_scrambling_keeps_spectrum_and_means(width: int, height: int, seed: int) -> None:
    image = random_image(width, height, seed)
    copy = phase_scrambled(image, rng_of(image))
    assert copy.size == image.size
    match = spectrum_match(image, copy)
    # Rounding to whole levels comes on top where there is little contrast.
    assert match.error < SPECTRUM_TOLERANCE + 0.01
    assert 0.2 < match.contrast < 1.01
    assert np.abs(mean_levels(image) - mean_levels(copy)).max() < 0.5


def test_phase_scrambled_emoji_keep_spectrum_and_means_and_lose_the_image() -> None:
    for image_id, image in shipped():
        copy = phase_scrambled(image, rng_of(image))
        match = spectrum_match(image, copy)
        assert match.error <= SPECTRUM_TOLERANCE, image_id
        assert match.contrast > 0.25, image_id
        assert np.abs(mean_levels(image) - mean_levels(copy)).max() < 0.5, image_id
        levels, mixed = (np.asarray(one, dtype=float).ravel() for one in (image, copy))
        channels = np.tile(mean_levels(image), len(levels) // 3)
        likeness = np.corrcoef(levels - channels, mixed - channels)[0, 1]
        assert abs(likeness) < 0.5, image_id


def test_large_image_is_scrambled_at_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "MOST_SCRAMBLED_PIXELS", 20_000)
    sizes: list[tuple[int, ...]] = []
    clipped = controls._clipped
    monkeypatch.setattr(
        controls, "_clipped", lambda copy, *a: sizes.append(copy.shape) or clipped(copy, *a)
    )
    for image_id, image in shipped():
        copy = phase_scrambled(image, rng_of(image))
        assert copy.size == image.size
        assert max(height * width for height, width, _ in sizes) <= 20_000
        match = spectrum_match(image, copy)
        assert match.error < 0.2 and match.contrast > 0.25, image_id
        assert np.abs(mean_levels(image) - mean_levels(copy)).max() < 1.5, image_id
    long = random_image(50_000, 1, 1)
    assert phase_scrambled(long, rng_of(long)).size == (50_000, 1)


def test_amplitudes_are_those_of_the_full_transform() -> None:
    """`spectrum_match` uses half a spectrum; numpy's whole one says the same."""
    image = random_image(33, 24, 1)
    copy = phase_scrambled(image, rng_of(image))
    before, after = (
        np.abs(np.fft.fft2(np.asarray(one, dtype=float), axes=(0, 1))) for one in (image, copy)
    )
    before[0, 0] = after[0, 0] = 0
    contrast = (before * after).sum() / (before**2).sum()
    error = np.linalg.norm(after - contrast * before) / (contrast * np.linalg.norm(before))
    match = spectrum_match(image, copy)
    assert match.contrast == pytest.approx(contrast, rel=1e-4)
    assert match.error == pytest.approx(error, rel=1e-3)


def test_colours_go_together_as_before() -> None:
    """One field of phases for all channels: their correlations stay."""
    for image_id, image in shipped():
        before, after = (
            np.corrcoef(np.asarray(one, dtype=float).reshape(-1, 3).T)
            for one in (image, phase_scrambled(image, rng_of(image)))
        )
        assert np.abs(before - after).max() < 0.1, image_id


@pytest.mark.parametrize("scramble", [pixel_scrambled, phase_scrambled])
def test_copy_depends_on_the_pixels_alone(scramble) -> None:
    image = random_image(32, 32, 1)
    first, second = (scramble(one, rng_of(one)) for one in (image, image.copy()))
    assert np.array_equal(first, second)
    other = random_image(32, 32, 2)
    assert not np.array_equal(first, scramble(image, rng_of(other)))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (10, 200, 77)])
def test_plain_image_stays_as_it_is(colour: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (16, 12), colour)
    for scramble in (pixel_scrambled, phase_scrambled):
        assert np.array_equal(scramble(image, rng_of(image)), image)
    assert np.isnan(spectrum_match(image, image).contrast)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 1)])
def test_smallest_images_can_be_scrambled(size: tuple[int, int]) -> None:
    image = random_image(*size, 1)
    assert phase_scrambled(image, rng_of(image)).size == size
