"""Corrections for asking many questions of the same data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def holm(p: ArrayLike) -> Floats:
    """Adjusted p-values that keep the family-wise error rate (Holm 1979, Scand. J. Stat. 6, 65).

    The i-th smallest of k is max over j <= i of (k - j + 1) p_(j), at most 1. For confirmatory
    claims, fixed beforehand.

    Args:
        p: (k,) p-values; NaN (unknown) stays NaN and is not counted.
    """
    return _adjusted(np.asarray(p, dtype=np.float64), _holm)


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Adjusted p-values (q-values) that keep the false discovery rate.

    The i-th smallest of k is min over j >= i of k p_(j) / j, at most 1 (Benjamini & Hochberg 1995,
    J. R. Stat. Soc. B 57, 289). For exploring the stimulus-by-subtask map.

    Args:
        p: (k,) p-values; NaN (unknown) stays NaN and is not counted.
    """
    return _adjusted(np.asarray(p, dtype=np.float64), _benjamini_hochberg)


def _adjusted(p: Floats, by: Callable[[Floats], Floats]) -> Floats:
    adjusted = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    if known.any():
        order = np.argsort(p[known], kind="stable")
        values = np.empty(len(order))
        values[order] = by(p[known][order])
        adjusted[known] = np.minimum(values, 1.0)
    return adjusted


def _holm(ascending: Floats) -> Floats:
    k = len(ascending)
    return np.maximum.accumulate(ascending * np.arange(k, 0, -1))


def _benjamini_hochberg(ascending: Floats) -> Floats:
    k = len(ascending)
    scaled = ascending * k / np.arange(1, k + 1)
    return np.minimum.accumulate(scaled[::-1])[::-1]
