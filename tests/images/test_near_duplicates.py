"""Near-duplicates: copies are found, other images are not, and no pair is overlooked."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from emo_harness.errors import UserError
from emo_harness.images import near_duplicates as module
from emo_harness.images.near_duplicates import MOST_BITS, N_BITS, near_duplicates, perceptual_hash

pytest.importorskip("imagehash")


def scene(seed: int, side: int = 200) -> Image.Image:
    """Blots of colour on a plain ground, smoothed, as images have few sharp details."""
    rng = np.random.default_rng([3, seed])
    image = Image.new("RGB", (side, side), tuple(rng.integers(0, 255, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        (x, y), r = rng.integers(0, side, 2).tolist(), int(rng.integers(8, 50))
        pen.ellipse([x - r, y - r, x + r, y + r], fill=tuple(rng.integers(0, 255, 3)))
    return image.filter(ImageFilter.GaussianBlur(1.5))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality)
    return Image.open(written).convert("RGB")


def bits_apart(one: Image.Image, other: Image.Image) -> int:
    return int(np.unpackbits(perceptual_hash(one) ^ perceptual_hash(other)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_and_other_images_are_far(seed: int) -> None:
    image = scene(seed)
    copies = [
        as_jpeg(image, 50),
        image.resize((100, 100)),
        ImageEnhance.Brightness(image).enhance(1.1),
    ]
    assert max(bits_apart(image, copy) for copy in copies) <= MOST_BITS
    assert bits_apart(image, scene(seed + 100)) > N_BITS // 4


@given(st.integers(0, 300), st.integers(1, 40), st.integers(2, 9))
def test_groups_are_the_connected_parts_whatever_the_block(seed: int, n: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    # Few different bytes, so that chains of near pairs come about.
    hashes = rng.integers(0, 4, (n, 32)).astype(np.uint8)
    hashes[:, 3:] = 0
    most = 1
    near = np.unpackbits(hashes[:, None] ^ hashes[None], axis=2).sum(axis=2) <= most
    reached = np.linalg.matrix_power(near.astype(np.int64) | np.eye(n, dtype=np.int64), 1) > 0
    for _ in range(n):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    before = module._BLOCK
    module._BLOCK = block
    try:
        found = near_duplicates(hashes, most)
    finally:
        module._BLOCK = before
    assert found.of.tolist() == [int(np.flatnonzero(row)[0]) for row in reached]
    for group in found.groups:
        assert len(group) > 1 and list(group) == sorted(group)
        assert {int(found.of[place]) for place in group} == {group[0]}


def test_one_image_is_no_duplicate() -> None:
    found = near_duplicates(perceptual_hash(scene(0))[None])
    assert found.groups == () and found.of.tolist() == [0]


def test_without_the_extra_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(UserError, match="images"):
        perceptual_hash(scene(0))
