"""What counts as a failed image, and how failures are written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emo_harness.images.failures import (
    BLACK,
    BLACK_LEVEL,
    CONSTANT,
    CONSTANT_RANGE,
    ENDS_PERCENT,
    FAILURES,
    Failure,
    read_failures,
    record_failure,
    tidy_failures,
    why_failed,
)

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("colour", [(128, 128, 128), (255, 0, 0), (255, 255, 255)])
def test_one_colour_is_no_image_whatever_the_last_bits(colour: tuple[int, int, int]) -> None:
    levels = np.full((64, 64, 3), colour, dtype=np.uint8)
    assert why_failed(levels) == CONSTANT
    jitter = RNG.integers(-2, 3, levels.shape)
    assert why_failed(np.clip(levels + jitter, 0, 255).astype(np.uint8)) == CONSTANT


def test_a_black_frame_is_one_with_hot_pixels_too() -> None:
    levels = RNG.integers(0, BLACK_LEVEL, (64, 64, 3), dtype=np.uint8)
    levels[3, 3] = 255
    assert why_failed(levels) == BLACK


def test_dark_pale_and_sparse_images_are_images() -> None:
    ramp = np.linspace(0, 1, 64)[None, :, None] * np.ones((64, 1, 3))
    assert why_failed((ramp * 30).astype(np.uint8)) is None
    assert why_failed((245 + ramp * 10).astype(np.uint8)) is None
    line = np.full((64, 64, 3), 255, dtype=np.uint8)
    line[32, 20:44] = 0
    assert why_failed(line) is None
    one_channel = np.zeros((64, 64, 3), dtype=np.uint8)
    one_channel[..., 2] = (ramp[..., 0] * 255).astype(np.uint8)
    assert why_failed(one_channel) is None


@given(arrays(np.uint8, (9, 11, 3), elements=st.integers(0, 20)))
def test_it_is_what_sorted_levels_say(levels: np.ndarray) -> None:
    cut = int(levels.shape[0] * levels.shape[1] * ENDS_PERCENT / 100)
    ranked = np.sort(levels.reshape(-1, 3), axis=0)
    low, high = ranked[cut].astype(int), ranked[len(ranked) - 1 - cut].astype(int)
    expected = None
    if high.max() <= BLACK_LEVEL:
        expected = BLACK
    elif (high - low).max() <= CONSTANT_RANGE:
        expected = CONSTANT
    assert why_failed(levels) == expected


def test_a_line_that_broke_off_costs_itself_alone(tmp_path: Path) -> None:
    failures = [Failure(id="fear-1", attempt=i, seed=i, reason="a black frame") for i in range(3)]
    for one in failures:
        record_failure(tmp_path, one)
    assert read_failures(tmp_path) == failures
    path = tmp_path / FAILURES
    path.write_bytes(path.read_bytes()[:-20])
    assert read_failures(tmp_path) == failures[:2]


def test_tidied_failures_come_once_and_in_order(tmp_path: Path) -> None:
    later, first = (Failure(id=name, attempt=0, seed=1, reason="") for name in ("b", "a"))
    stranger = Failure(id="c", attempt=0, seed=1, reason="")
    for one in (later, first, later, stranger):
        record_failure(tmp_path, one)
    tidy_failures(tmp_path, {"a": 0, "b": 1}, read_failures(tmp_path))
    assert read_failures(tmp_path) == [first, later]
    tidy_failures(tmp_path, {}, read_failures(tmp_path))
    assert not (tmp_path / FAILURES).exists()
