"""A plane's numbers: coordinates and how they fit poles and norms, as JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.geometry.circumplex import (
    angle_test,
    procrustes,
    quadrant_accuracy,
    rank_correlation,
)
from emo_harness.probe.geometry.plane import Plane
from emo_harness.probe.geometry.word_means import WordMeans

N_DRAWS = 1_000
Row = dict[str, Any]
Floats = NDArray[np.float64]


def plane_numbers(
    plane: Plane, means: WordMeans, norms: Floats | None, rng: np.random.Generator
) -> Row:
    """A plane's coordinates and how well they fit poles and norms.

    No p-value is given in sample: axes that were fitted on words put these where they belong, so
    exchanging words is no fair comparison.
    """
    poles = np.stack([means.poles(name) for name in plane.names], axis=1)
    groups = means.groups

    def of(reference: Floats, *, is_poles: bool) -> Row:
        found: Row = {"against": "poles" if is_poles else "norms"}
        two = len(plane.names) == 2 and np.isfinite(reference).any(axis=0).all()
        if two and is_poles:
            found["quadrants"] = asdict(
                quadrant_accuracy(plane.points, poles, groups, rng, N_DRAWS)
            )
        if two:
            # A pole of 0 on both dimensions, or norms in the very middle, have no direction.
            found["angles"] = asdict(angle_test(plane.points, reference, groups, rng, N_DRAWS))
        found["ranks"] = {
            name: asdict(
                rank_correlation(plane.points[:, i], reference[:, i], groups, rng, N_DRAWS)
            )
            for i, name in enumerate(plane.names)
        }
        if two and not is_poles:
            found["procrustes"] = asdict(procrustes(plane.points, reference, groups, rng, N_DRAWS))
        return found

    fits = [of(poles, is_poles=True)]
    if norms is not None:
        fits.append(of(norms, is_poles=False))
    if plane.in_sample:
        fits = [_without_p(fit) for fit in fits]
    return {
        "how": plane.how,
        "in_sample": plane.in_sample,
        "names": list(plane.names),
        "points": [[number(v) for v in point] for point in plane.points],
        "fits": [known(fit) for fit in fits],
        "by_layer": [
            {"layer": layer, **known(_at_layer(points, poles))}
            for layer, points in zip(plane.layers, plane.by_layer, strict=True)
        ],
    }


def _at_layer(points: Floats, poles: Floats) -> Row:
    """Of one layer: how often a word is on its pole's side, per axis, and in its quadrant."""
    sides = {}
    for i in range(points.shape[1]):
        poled = np.abs(poles[:, i]) == 1
        right = np.sign(points[poled, i]) == poles[poled, i]
        sides[f"side_{i}"] = float(right.mean()) if poled.any() else math.nan
    crossed = (np.abs(poles) == 1).all(axis=1)
    in_quadrant = (np.sign(points[crossed]) == poles[crossed]).all(axis=1)
    return {**sides, "quadrants": float(in_quadrant.mean()) if crossed.any() else math.nan}


def _without_p(fit: Any) -> Any:
    if isinstance(fit, Mapping):
        return {key: math.nan if key == "p" else _without_p(value) for key, value in fit.items()}
    return fit


def known(value: Any) -> Any:
    """JSON values at any depth: what is unknown becomes None."""
    if isinstance(value, Mapping):
        return {key: known(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [known(item) for item in value]
    return number(value) if isinstance(value, float) else value


def number(value: float) -> float | None:
    """Six digits, None where it is unknown."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
