"""Axes: directions in activation space, in raw units.

An axis holds one vector per layer: the displacement that moves an activation from the mean of one
class to the mean of the other, as far as the axis sees it. Its length is therefore the class-mean
distance along the axis, and a dose of 1.0 moves by just that. Axes are values: they can be added,
subtracted, scaled and compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, nearest, quoted
from emo_harness.whole_file import write_whole

SCHEMA = 1
METADATA = "emo_axes"
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Axis:
    """A direction at one site.

    Attributes:
        name: what it measures, e.g. "valence".
        site: where its activations are read, see `activations.sites`.
        layers: of the model, one per vector.
        vectors: (n_layers, dim) float32, raw units: from the low class to the high one, as long as
            the distance of the class means along it. Keys and values are flattened head by head.
        origin: (n_layers, dim) float32, raw units: halfway between the class means.
        scale: (n_layers, dim) float32: the standard deviations that a standardised fit divided by;
            1 where it was fitted in raw units.
        facts: about the model, the corpus and the fit; JSON values.
    """

    name: str
    site: str
    layers: tuple[int, ...]
    vectors: Floats
    origin: Floats
    scale: Floats
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (len(self.layers), self.vectors.shape[-1])
        for part in (self.vectors, self.origin, self.scale):
            if part.shape != expected:
                raise ValueError(f"{part.shape} where {expected} was expected")

    @property
    def distances(self) -> Floats:
        """(n_layers,) class-mean distance along the axis."""
        return np.linalg.norm(self.vectors, axis=1)

    @property
    def units(self) -> Floats:
        """(n_layers, dim) the direction alone, of length 1; 0 where the classes do not differ."""
        lengths = self.distances[:, None]
        return np.divide(self.vectors, lengths, out=np.zeros_like(self.vectors), where=lengths > 0)

    def coordinates(self, activations: Floats) -> Floats:
        """Where activations lie along the axis.

        (x - origin) . v / |v|^2: -0.5 at the mean of the low class, +0.5 at that of the high one.

        Args:
            activations: (n, n_layers, dim) or (n, n_layers, n_kv_heads, head_dim), raw units.

        Returns:
            (n, n_layers) float32; NaN at layers where the classes do not differ.
        """
        flat = activations.reshape(len(activations), len(self.layers), -1) - self.origin
        squared = (self.vectors**2).sum(axis=1)
        squared = np.where(squared > 0, squared, np.nan).astype(np.float32)
        return np.einsum("nld,ld->nl", flat, self.vectors) / squared

    def coordinate(self, activations: Floats) -> Floats:
        """Where activations lie along the axis, all its layers taken as one long vector.

        Args:
            activations: as for `coordinates`.

        Returns:
            (n,) float32; layers count by the squared distance of their class means.
        """
        squared = (self.vectors**2).sum(axis=1)
        by_layer = np.nan_to_num(self.coordinates(activations))
        total = float(squared.sum())
        return (by_layer @ squared / total if total else np.full(len(by_layer), np.nan)).astype(
            np.float32
        )

    def cosines(self, other: Axis) -> Floats:
        """(n_layers,) cosine with another axis, layer by layer."""
        self._must_match(other)
        return (self.units * other.units).sum(axis=1)

    def cosine(self, other: Axis) -> float:
        """Cosine of the two axes over all layers together, each as one long vector."""
        self._must_match(other)
        lengths = float(np.linalg.norm(self.vectors) * np.linalg.norm(other.vectors))
        return float((self.vectors * other.vectors).sum()) / lengths if lengths else math.nan

    def only(self, layers: Sequence[int]) -> Axis:
        """The axis at some of its layers.

        Raises:
            UserError: it has no such layer.
        """
        missing = [layer for layer in layers if layer not in self.layers]
        if missing or not layers:
            raise UserError(
                f"taking layers of the axis {self.name!r}",
                found=f"layer {missing[0]}" if missing else "no layer",
                expected=f"layers among {quoted(map(str, self.layers), 40)}",
                fix="name other layers, or fit the axis on more of them",
            )
        places = [self.layers.index(layer) for layer in layers]
        return replace(
            self,
            layers=tuple(layers),
            vectors=self.vectors[places],
            origin=self.origin[places],
            scale=self.scale[places],
        )

    def orthogonal_to(self, other: Axis) -> Axis:
        """What is left of the axis without its part along another, layer by layer."""
        units = other.units
        self._must_match(other)
        along = (self.vectors * units).sum(axis=1, keepdims=True)
        return replace(self, vectors=self.vectors - along * units)

    def random_like(self, rng: np.random.Generator) -> Axis:
        """An axis of random directions with the same length in every layer."""
        drawn = rng.standard_normal(self.vectors.shape).astype(np.float32)
        drawn *= (self.distances / np.linalg.norm(drawn, axis=1))[:, None]
        return replace(self, name=f"random like {self.name}", vectors=drawn)

    def __neg__(self) -> Axis:
        return replace(self, vectors=-self.vectors)

    def __mul__(self, factor: float) -> Axis:
        return replace(self, vectors=self.vectors * np.float32(factor))

    __rmul__ = __mul__

    def __add__(self, other: Axis) -> Axis:
        self._must_match(other)
        return replace(
            self,
            name=f"{self.name} + {other.name}",
            vectors=self.vectors + other.vectors,
            origin=((self.origin + other.origin) / 2).astype(np.float32),
        )

    def __sub__(self, other: Axis) -> Axis:
        return replace(self + -other, name=f"{self.name} - {other.name}")

    def _must_match(self, other: Axis) -> None:
        mine = (self.site, self.layers, self.vectors.shape)
        others = (other.site, other.layers, other.vectors.shape)
        if mine != others:
            raise UserError(
                f"putting the axes {self.name!r} and {other.name!r} together",
                found=f"{_place(other)}",
                expected=f"{_place(self)}, as the first has",
                fix="fit both on the same site, layers and model",
            )


def save_axes(path: Path, axes: Sequence[Axis]) -> None:
    """Write axes into one safetensors file, atomically; equal axes give equal bytes.

    Raises:
        ValueError: two axes have one name and site.
    """
    from safetensors.numpy import save_file

    keys = [f"{axis.name}@{axis.site}" for axis in axes]
    if len(set(keys)) < len(keys):
        raise ValueError(f"two axes of one name and site among {keys}")
    tensors = {
        f"{key}/{part}": np.ascontiguousarray(getattr(axis, part), np.float32)
        for key, axis in zip(keys, axes, strict=True)
        for part in ("vectors", "origin", "scale")
    }
    described = {
        key: {
            "name": axis.name,
            "site": axis.site,
            "layers": list(axis.layers),
            "facts": dict(axis.facts),
        }
        for key, axis in zip(keys, axes, strict=True)
    }
    # One entry alone: safetensors writes several in an order of chance.
    metadata = {METADATA: json.dumps({"schema": SCHEMA, "axes": described}, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda partial: save_file(tensors, partial, metadata))


def load_axes(path: Path) -> list[Axis]:
    """Read axes that `save_axes` wrote.

    Raises:
        UserError: no such file, or no axes in it.
    """
    from safetensors import SafetensorError, safe_open

    doing = f"reading axes from {path}"
    fix = "fit axes with `emo probe fit STORE --out axes.safetensors`"
    try:
        if not path.is_file():
            raise UserError(doing, found="no such file", expected="a file of axes", fix=fix)
        with safe_open(path, framework="numpy") as file:
            written = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            if written.get("schema") != SCHEMA:
                raise ValueError("tensors that are no axes")
            return [_axis(key, one, file) for key, one in written["axes"].items()]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = " ".join(str(error).split())[:200]
        raise UserError(doing, found=found, expected="a file of axes", fix=fix) from error


def _axis(key: str, described: Mapping[str, Any], file: Any) -> Axis:
    layers, facts = described["layers"], described["facts"]
    if len(set(layers)) < len(layers) or any(type(layer) is not int for layer in layers):
        raise ValueError(f"{key}: layers {layers} that are no different whole numbers")
    if not isinstance(facts.get("model") or {}, Mapping):
        raise ValueError(f"{key}: facts of no model")
    return Axis(
        described["name"],
        described["site"],
        tuple(layers),
        file.get_tensor(f"{key}/vectors"),
        file.get_tensor(f"{key}/origin"),
        file.get_tensor(f"{key}/scale"),
        facts,
    )


def named_axis(axes: Sequence[Axis], name: str, site: str | None = None) -> Axis:
    """The axis of a name, and of a site where there are several.

    Raises:
        UserError: there is none, or more than one.
    """
    found = [axis for axis in axes if axis.name == name and site in (None, axis.site)]
    if len(found) == 1:
        return found[0]
    known = quoted([f"{axis.name} at {axis.site}" for axis in axes])
    names = {axis.name for axis in axes}
    where = f" at the site {site!r}" if site else ""
    raise UserError(
        f"choosing the axis {name!r}{where}",
        found=f"{len(found)} of that name{where}" + ("" if name in names else nearest(name, names)),
        expected=f"one of {known}",
        fix="name one of them, and the site where it occurs at several",
    )


def _place(axis: Axis) -> str:
    shape = f"{len(axis.layers)} layers of {axis.vectors.shape[1]} numbers"
    return f"site {axis.site}, {shape} (layers {quoted(map(str, axis.layers), 6)})"
