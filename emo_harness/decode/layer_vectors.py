"""Layer vectors: what is decoded at each layer, of every source and of its controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from emo_harness.decode.family_vectors import (
    Averaged,
    Floats,
    averaged,
    family_vector,
    generator,
    permuted,
    random_like,
)
from emo_harness.decode.meta_prompt import DecodeSettings
from emo_harness.decode.pooling import PooledStimuli
from emo_harness.decode.stimulus_prompts import PLACEBO
from emo_harness.errors import UserError
from emo_harness.stimuli.decoding import DecodedKind


@dataclass(frozen=True)
class LayerVector:
    """A vector, or one per position, that is to be decoded; see `stimuli.Decoding`.

    Attributes:
        vectors: (n_positions, *shape) of one layer.
        counts: (n_positions,) how many stimuli have each position.
        is_difference: between means, so that what all vectors have in common is not in it.
    """

    source: str
    kind: DecodedKind
    control_of: str | None
    vector: str
    draw: int
    vectors: Floats
    counts: tuple[int, ...]

    @property
    def is_difference(self) -> bool:
        return self.vector == "contrast"


@dataclass
class _Source:
    """What is decoded of one source, at all layers.

    Attributes:
        metas: by vector name.
        deals: the same of permuted labels.
    """

    metas: dict[str, Averaged]
    deals: list[Averaged] = field(default_factory=list)


class LayerVectors:
    """What is decoded of stimuli that were read: of every layer and source its meta vectors, and
    the controls beside them.

    Args:
        pooled: what was read.
        sources: groups of `pooled`.
        settings: how.

    Attributes:
        layers: of the model.
        remarks: what is to be told of the controls.

    Raises:
        UserError: a contrast without placebos.
    """

    def __init__(
        self, pooled: PooledStimuli, sources: Sequence[str], settings: DecodeSettings
    ) -> None:
        self.layers = pooled.layers
        self.remarks: list[str] = []
        self._settings = settings
        placebos = pooled.stimuli(PLACEBO)
        self._neutral = (
            averaged([pooled.vectors(PLACEBO, one) for one in placebos]) if placebos else None
        )
        if not placebos:
            self._refuse_contrast()
            self.remarks.append(
                "no neutral placebo: no overlap with them, and no controls neutral and permuted"
            )
        if settings.vector == "each":
            self.remarks.append(
                "single stimuli have no labels to deal anew: there is no control permuted; random "
                "vectors are as long as a source's stimuli on average"
            )
        self._sources = {
            source: self._source(pooled, source, frozenset(placebos)) for source in sources
        }
        if self._neutral is not None:
            # No longer a text than those that it stands beside.
            metas = [of for one in self._sources.values() for of in one.metas.values()]
            self._neutral = self._neutral.first(max(len(of.counts) for of in metas))

    def at(self, place: int) -> Iterator[LayerVector]:
        """What is decoded at `layers[place]`, the placebos' mean first.

        Random numbers depend on the seed, the control, its source, layer and draw alone, so that
        another control or layer does not change them.
        """
        settings, layer = self._settings, self.layers[place]
        if self._neutral is not None:
            yield LayerVector(
                PLACEBO, "neutral", None, "mean", 0, *self._of_layer(self._neutral, place)
            )
        for source, of_source in self._sources.items():
            metas = {name: self._of_layer(of, place) for name, of in of_source.metas.items()}
            for name, at_layer in metas.items():
                yield LayerVector(source, "meta", None, name, 0, *at_layer)
            vectors, counts = _typical(list(metas.values()))
            for draw in range(settings.n_random):
                rng = generator(settings.seed, f"random:{source}", layer, draw)
                drawn = random_like(vectors, rng)
                yield LayerVector(source, "random", source, settings.vector, draw, drawn, counts)
            for draw, of in enumerate(of_source.deals):
                at_layer = self._of_layer(of, place)
                yield LayerVector(source, "permuted", source, settings.vector, draw, *at_layer)

    def _source(self, pooled: PooledStimuli, source: str, placebos: frozenset[str]) -> _Source:
        settings = self._settings
        ids = pooled.stimuli(source)
        own = {one: pooled.vectors(source, one) for one in ids if one not in placebos}
        if settings.vector == "each":
            return _Source({one: averaged([of]) for one, of in own.items()})
        members = list(own.values())
        beside = [pooled.vectors(source, one) for one in ids if one in placebos]
        if not beside:
            self._refuse_contrast(source)
        found = _Source({settings.vector: family_vector(members, beside, settings.vector)})
        deals: set[frozenset[int]] = set()
        for draw in range(settings.n_permuted):
            # One deal for all layers, as a family is one.
            rng = generator(settings.seed, f"permuted:{source}", draw)
            dealt = permuted(members, beside, rng)
            # Of few stimuli there are few deals; one that is repeated tells nothing more.
            who = frozenset(map(id, dealt[0])) if dealt else frozenset()
            if dealt and who not in deals:
                deals.add(who)
                found.deals.append(family_vector(*dealt, settings.vector))
        if len(deals) < settings.n_permuted and beside:
            self.remarks.append(
                f"{source}: of {settings.n_permuted} deals of labels {len(deals)} are different, "
                "since it has few stimuli and placebos"
            )
        return found

    def _of_layer(self, of: Averaged, place: int) -> tuple[Floats, tuple[int, ...]]:
        n = self._settings.length if self._settings.pooling == "positions" else None
        return of.values[:n, place], of.counts[:n]

    def _refuse_contrast(self, source: str = "families") -> None:
        if self._settings.vector == "contrast":
            raise UserError(
                f"setting {source} against neutral placebos",
                found="no neutral placebo that was read beside it",
                expected="at least one",
                fix="name placebos with --placebos, or decode the mean itself: --vector mean",
            )


def _typical(each: Sequence[tuple[Floats, tuple[int, ...]]]) -> tuple[Floats, tuple[int, ...]]:
    """Vectors as long as the given ones on average, at the positions that half of them have."""
    if len(each) == 1:
        return each[0]
    lengths = [_norms(vectors) for vectors, _ in each]
    shape = each[0][0].shape[1:]
    mean = averaged([of.reshape(-1, 1) for of in lengths])
    unit = np.zeros(shape, np.float32)
    unit.flat[0] = 1
    return mean.values.reshape(-1, *[1] * len(shape)) * unit, mean.counts


def _norms(vectors: Floats) -> Floats:
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    norms: Floats = np.linalg.norm(flat, axis=1).astype(np.float32)
    return norms
