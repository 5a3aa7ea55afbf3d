"""Cosines of axes: between dimensions, methods, layers and sites, where they share a space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emo_harness.axes import Axis

# All of these read or write the residual stream, so a direction means the same in each layer.
RESIDUAL = ("attn_out", "mlp_out", "resid_pre", "resid_post")
MOST_ROWS = 120
Row = dict[str, Any]


def axis_cosines(axes: Sequence[Axis]) -> list[Row]:
    """Matrices of cosines, as JSON values: `title`, `labels`, `cosines`, `chance`.

    `chance` is the standard deviation of a random direction's cosine, 1 / sqrt(dim); activations
    that vary in few directions make larger ones common. Axes of keys and values are compared
    within one layer alone, as every layer and head has a space of its own; axes of the residual
    stream also between layers and sites.
    """
    found = []
    for site in dict.fromkeys(axis.site for axis in axes):
        own = [axis for axis in axes if axis.site == site]
        groups: dict[tuple[int, int], list[Axis]] = {}
        for axis in own:
            groups.setdefault((len(axis.layers), axis.vectors.shape[1]), []).append(axis)
        for same in groups.values():
            alike = [axis for axis in same if axis.layers == same[0].layers]
            if len(alike) > 1:
                found.append(_whole(site, alike))
                found.append(_by_layer(site, alike))
    residual = [axis for axis in axes if axis.site in RESIDUAL]
    if sum(len(axis.layers) for axis in residual) > 1:
        found += _across(residual)
    return found


def label(axis: Axis, axes: Sequence[Axis]) -> str:
    """An axis's name, with site and method where the others differ in them."""
    parts = [axis.name]
    if len({other.site for other in axes}) > 1:
        parts.append(axis.site)
    methods = {str(other.facts.get("method", "")) for other in axes}
    if len(methods) > 1 and axis.facts.get("method"):
        parts.append(str(axis.facts["method"]))
    return ", ".join(parts)


def _whole(site: str, axes: list[Axis]) -> Row:
    return {
        "title": f"{site}: all layers together",
        "kind": "whole",
        "labels": [label(axis, axes) for axis in axes],
        "cosines": [[_number(one.cosine(other)) for other in axes] for one in axes],
        "chance": 1 / math.sqrt(axes[0].vectors.size),
    }


def _by_layer(site: str, axes: list[Axis]) -> Row:
    pairs = [(a, b) for i, a in enumerate(axes) for b in axes[i + 1 :]]
    return {
        "title": f"{site}: layer by layer",
        "kind": "layers",
        "labels": [f"{label(a, axes)} · {label(b, axes)}" for a, b in pairs],
        "columns": list(axes[0].layers),
        "cosines": [[_number(float(v)) for v in a.cosines(b)] for a, b in pairs],
        "chance": 1 / math.sqrt(axes[0].vectors.shape[1]),
    }


def _across(axes: list[Axis]) -> list[Row]:
    """Every layer of every residual axis with every other, by width."""
    found = []
    for width in sorted({axis.vectors.shape[1] for axis in axes}):
        own = [axis for axis in axes if axis.vectors.shape[1] == width]
        rows = [(axis, layer) for axis in own for layer in axis.layers][:MOST_ROWS]
        units = np.concatenate([axis.units for axis in own])[:MOST_ROWS].astype(np.float64)
        cosines = units @ units.T
        found.append(
            {
                "title": "residual stream: between layers and sites",
                "kind": "across",
                "labels": [f"{label(axis, own)} {layer}" for axis, layer in rows],
                "cosines": [[_number(float(v)) for v in row] for row in cosines],
                "chance": 1 / math.sqrt(width),
            }
        )
    return found


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
