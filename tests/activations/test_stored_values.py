"""Stored numbers are read as what they are."""

from __future__ import annotations

import numpy as np

from emo_harness.activations.store import _as_float32


def test_every_float16_is_read_exactly() -> None:
    stored = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    found = _as_float32(stored)
    assert found.dtype == np.float32 and found.shape == stored.shape
    expected = stored.astype(np.float32)
    known = ~np.isnan(expected)
    assert (np.isnan(found) == ~known).all()
    assert (found[known] == expected[known]).all()
    assert (np.signbit(found[known]) == np.signbit(expected[known])).all()


def test_bfloat16_is_the_upper_half_of_a_float32() -> None:
    exact = np.array([0.0, -1.5, 3.0, 2.0**100, np.inf], np.float32)
    assert (_as_float32((exact.view(np.uint32) >> 16).astype(np.uint16)) == exact).all()
