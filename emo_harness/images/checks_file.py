"""What checks leave behind: a table of images, facts for the manifest, numbers for a report."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_harness.effects.mean_interval import MeanInterval
from emo_harness.effects.rank_correlation import RankCorrelation
from emo_harness.images.check import CheckedPart, ImageChecks
from emo_harness.images.clip_encoder import ClipEncoder
from emo_harness.images.concept_numbers import ConceptNumbers
from emo_harness.images.encoder_scores import EncoderScores
from emo_harness.images.image_entry import ImageEntry
from emo_harness.images.near_duplicates import N_BITS

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA_VERSION = 1
SECOND = "second_"
# Images of one concept that a page shows, the most doubtful ones, and of all concepts together.
MOST_SHOWN = 12
MOST_SHOWN_IN_ALL = 600
# What of an image's row a report reads.
_READ = ("probability_concept", "predicted", "probability_emotion", "emotion_predicted")
_READ_TOO = ("twin_contrast", "alignment")
_REPORTED = (
    *("id", "family", "concept", "arousal", "twin_of", "duplicate_of"),
    *("sharpness", "brightness", "contrast", "colourfulness", "width", "height", "n_bytes"),
    *_READ,
    *_READ_TOO,
    *(f"{SECOND}{name}" for name in (*_READ, *_READ_TOO)),
)
# Decimals of what goes into a manifest, which people read.
_DECIMALS = 4


def image_rows(checks: ImageChecks) -> list[dict[str, Any]]:
    """One row per image, twins too, with every number; unknown ones are None."""
    return [_row(checks, place) for place in range(len(checks.images.entries))]


def checks_table(checks: ImageChecks) -> DataFrame:
    """`image_rows` as a data frame, for `checks.parquet`."""
    import pandas as pd

    return pd.DataFrame(image_rows(checks))


def checked_entries(checks: ImageChecks) -> list[ImageEntry]:
    """The manifest's entries with what was found."""
    identity = {"id", "family", "concept", "arousal", "twin_of", "width", "height"}
    found = []
    for entry, row in zip(checks.images.entries, image_rows(checks), strict=True):
        facts = {
            key: round(value, _DECIMALS) if isinstance(value, float) else value
            for key, value in row.items()
            if key not in identity and value is not None
        }
        found.append(entry.model_copy(update={"checks": facts}))
    return found


def checks_numbers(
    checks: ImageChecks, encoders: Sequence[ClipEncoder], *, show_referenced: bool = False
) -> dict[str, Any]:
    """What a report shows, as JSON values.

    Thumbnails of a concept's most doubtful images and their twins are `data:` addresses; all
    other images have None.

    Args:
        show_referenced: thumbnails of referenced images too, which must not be passed on.
    """
    shown = _shown(checks)
    rows = [
        {key: row[key] for key in _REPORTED if key in row}
        | (_pixels(checks, place, show_referenced) if place in shown else {"thumbnail": None})
        for place, row in enumerate(image_rows(checks))
    ]
    n_twins = sum(entry.twin_of is not None for entry in checks.images.entries)
    found = {
        "schema_version": SCHEMA_VERSION,
        "set": checks.images.name,
        "n_images": len(rows) - n_twins,
        "n_twins": n_twins,
        "made": sorted({entry.made.how for entry in checks.images.entries}),
        "encoders": [{"name": encoder.name, "identity": encoder.identity} for encoder in encoders],
        "emotions": list(checks.scores[0].emotions) if checks.scores else [],
        "concepts": [_part(part) for part in checks.parts],
        "families": [_part(part) for part in checks.families],
        "matching": [
            {"family": family, **asdict(one), "difference": _bounds_of(one.difference)}
            for family, found in checks.matching.items()
            for one in found
        ],
        "norms": [
            {"encoder": scores.encoder, "dimension": name, **_correlation(one)}
            for scores, by_name in zip(checks.scores, checks.norms, strict=True)
            for name, one in by_name.items()
        ],
        "agreement": _agreement(checks),
        "duplicates": {
            "most_bits": checks.duplicates.most_bits,
            "n_bits": N_BITS,
            "groups": [
                [checks.images.entries[place].id for place in group]
                for group in checks.duplicates.groups
            ],
        },
        "remarks": list(checks.remarks),
        "images": rows,
    }
    return _known(found)


def _row(checks: ImageChecks, place: int) -> dict[str, Any]:
    entry, facts = checks.images.entries[place], checks.measured.facts[place]
    same_as = int(checks.duplicates.of[place])
    row: dict[str, Any] = {
        "id": entry.id,
        "family": entry.family,
        "concept": entry.concept,
        "arousal": entry.arousal,
        "twin_of": entry.twin_of,
        "duplicate_of": checks.images.entries[same_as].id if same_as != place else None,
        **asdict(facts),
    }
    for scores, prefix in zip(checks.scores, ("", SECOND), strict=False):
        row |= {f"{prefix}{key}": value for key, value in _readings(scores, place).items()}
    return _known(row)


def _readings(scores: EncoderScores, place: int) -> dict[str, Any]:
    probabilities = scores.emotion_probabilities[place]
    return {
        "encoder": scores.encoder,
        "probability_concept": float(scores.probability_concept[place]),
        "predicted": scores.concepts[scores.predicted[place]],
        "probability_emotion": float(scores.probability_emotion[place]),
        "emotion_predicted": scores.emotions[scores.emotion_predicted[place]],
        "twin_contrast": float(scores.twin_contrast[place]),
        "alignment": float(scores.alignment[place]),
        "valence": float(scores.valence[place]),
        "arousal_read": float(scores.arousal[place]),
        **{f"p_{name}": float(p) for name, p in zip(scores.emotions, probabilities, strict=True)},
    }


def _part(part: CheckedPart) -> dict[str, Any]:
    told: dict[str, Any] = {
        "concept": part.concept,
        "family": part.family,
        "level": part.level,
        "emotion": part.emotion,
        "n": part.n,
        "n_twins": part.n_twins,
        "n_duplicates": part.n_duplicates,
    }
    numbers = [_numbers(one) for one in part.numbers]
    return told | (numbers[0] if numbers else {}) | {"second": numbers[1] if numbers[1:] else None}


def _numbers(found: ConceptNumbers) -> dict[str, Any]:
    told = asdict(found)
    del told["n"]
    return told


def _agreement(checks: ImageChecks) -> dict[str, Any] | None:
    found = checks.agreement
    if found is None:
        return None
    contrast = _correlation(found.contrast)
    return {"n": found.n, "same": found.same, "kappa": found.kappa, "contrast": contrast}


def _shown(checks: ImageChecks) -> set[int]:
    """Places of the images that a page shows, and of their twins."""
    entries = checks.images.entries
    by_concept: dict[tuple[str, str], list[int]] = {}
    for place, entry in enumerate(entries):
        if entry.twin_of is None:
            by_concept.setdefault((entry.family, entry.concept), []).append(place)
    doubt = np.zeros(len(entries))
    if checks.scores:
        scores = checks.scores[0]
        doubt = np.nan_to_num(scores.probability_concept, nan=0.0)
    in_turn = [
        (turn, place)
        for places in by_concept.values()
        for turn, place in enumerate(sorted(places, key=lambda one: float(doubt[one])))
        if turn < MOST_SHOWN
    ]
    # Every concept's most doubtful image, then every concept's next.
    chosen = [place for _, place in sorted(in_turn, key=lambda one: one[0])[:MOST_SHOWN_IN_ALL]]
    return {*chosen, *(int(checks.twins[place]) for place in chosen)} - {-1}


def _pixels(checks: ImageChecks, place: int, show_referenced: bool) -> dict[str, Any]:
    """An image's thumbnail; of one that must not be copied, that it is here or kept back."""
    address = _address(checks.measured.thumbnails[place])
    if checks.images.entries[place].referenced is None:
        return {"thumbnail": address}
    if show_referenced:
        return {"thumbnail": address, "referenced": "shown"}
    return {"thumbnail": None, "referenced": "withheld"}


def _address(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")


def _correlation(found: RankCorrelation) -> dict[str, Any]:
    return {"n": found.n, "rank": [found.value, found.low, found.high], "p": found.p}


def _bounds_of(found: MeanInterval) -> dict[str, Any]:
    return {
        "n": found.n,
        "mean": [found.mean, found.low, found.high],
        "standardised": found.standardised,
    }


def _known(value: Any) -> Any:
    """JSON values: what is no number becomes None, tuples become lists."""
    if isinstance(value, dict):
        return {key: _known(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_known(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
