"""What ratings say: do they follow human norms, and do emotional images differ from twins?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.mean_interval import MeanInterval, mean_interval
from emo_harness.effects.rank_correlation import RankCorrelation, rank_correlation
from emo_harness.images import ImageEntry, ImageSet
from emo_harness.rating.ask import Rated
from emo_harness.rating.remarks import remarks, why_no_correlation

Floats = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class RatingResult:
    """Ratings of an image set by one model.

    Attributes:
        model: its name; `method` how it was asked.
        entries: the images that were rated.
        ratings: by dimension.
        norms: by dimension: correlation of ratings with human norms; n = 0 without norms.
        why_no_norms: by dimension, why that correlation is unknown; "" where it is known.
        over_twins: by (family, concept), "(all)" for all concepts, and dimension: rating of an
            image minus that of its neutral twin.
        remarks: why ratings mean little, one sentence each.
    """

    model: str
    method: str
    name: str
    entries: tuple[ImageEntry, ...]
    ratings: dict[str, Rated]
    norms: dict[str, RankCorrelation]
    why_no_norms: dict[str, str]
    over_twins: dict[tuple[str, str, str], MeanInterval]
    remarks: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """What `posthoc/image_ratings.json` holds; unknown numbers are null."""
        return {
            "schema_version": 1,
            "model": self.model,
            "method": self.method,
            "set": self.name,
            "questions": {name: rated.question.text for name, rated in self.ratings.items()},
            "n_images": len(self.entries),
            "norms": {
                name: {
                    "n": found.n,
                    "rank": [_known(v) for v in (found.value, found.low, found.high)],
                    "why_unknown": self.why_no_norms[name],
                }
                for name, found in self.norms.items()
            },
            "over_twins": [
                {
                    "family": family,
                    "concept": concept,
                    "dimension": dimension,
                    "n": found.n,
                    "difference": [_known(v) for v in (found.mean, found.low, found.high)],
                    "p": _known(found.p),
                }
                for (family, concept, dimension), found in self.over_twins.items()
            ],
            "mass": {name: _known(_median(rated.mass)) for name, rated in self.ratings.items()},
            "remarks": list(self.remarks),
            "images": [self._image(i) for i in range(len(self.entries))],
        }

    def _image(self, i: int) -> dict[str, Any]:
        entry = self.entries[i]
        told: dict[str, Any] = {
            "id": entry.id,
            "family": entry.family,
            "concept": entry.concept,
            "arousal_variant": entry.arousal,
            "twin_of": entry.twin_of,
            "caption": entry.caption,
        }
        for name, rated in self.ratings.items():
            told[name] = _known(float(rated.expected[i]))
            told[f"{name}_most_probable"] = _known(float(rated.most_probable[i]))
            told[f"{name}_spread"] = _known(float(rated.spread[i]))
            told[f"{name}_mass"] = _known(float(rated.mass[i]))
            told[f"{name}_answer"] = rated.answers[i] if rated.answers else None
            told[f"norm_{name}"] = _known(_norm(entry, name))
        return told


def rating_result(
    model: str,
    method: str,
    image_set: ImageSet,
    entries: Sequence[ImageEntry],
    rated: Sequence[Rated],
) -> RatingResult:
    """Put ratings against norms and twins.

    Args:
        entries: (n,) the images, in the order of the ratings.
        rated: one per dimension.
    """
    by_name = {str(one.question.dimension): one for one in rated}
    norms = {name: np.array([_norm(entry, name) for entry in entries]) for name in by_name}
    return RatingResult(
        model=model,
        method=method,
        name=image_set.name,
        entries=tuple(entries),
        ratings=by_name,
        norms={name: rank_correlation(by_name[name].expected, norms[name]) for name in by_name},
        why_no_norms={
            name: why_no_correlation(by_name[name].expected, norms[name]) for name in by_name
        },
        over_twins=_over_twins(entries, by_name),
        remarks=tuple(remarks(by_name)),
    )


def _over_twins(
    entries: Sequence[ImageEntry], ratings: dict[str, Rated]
) -> dict[tuple[str, str, str], MeanInterval]:
    place = {entry.id: i for i, entry in enumerate(entries)}
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for twin in entries:
        if twin.twin_of is None or twin.twin_of not in place:
            continue
        own = entries[place[twin.twin_of]]
        pair = (place[own.id], place[twin.id])
        pairs.setdefault((own.family, "(all)"), []).append(pair)
        pairs.setdefault((own.family, own.concept), []).append(pair)
    return {
        (*key, name): mean_interval(
            rated.expected[[a for a, _ in found]] - rated.expected[[b for _, b in found]]
        )
        for key, found in sorted(pairs.items())
        for name, rated in ratings.items()
    }


def _norm(entry: ImageEntry, dimension: str) -> float:
    value = getattr(entry.norms, dimension) if entry.norms else None
    return NAN if value is None else float(value)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else NAN
