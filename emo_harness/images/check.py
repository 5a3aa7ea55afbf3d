"""Checking a set: what encoders see in its images, which look alike, and what else differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.rank_correlation import RankCorrelation, rank_correlation
from emo_harness.images.check_words import CheckWords
from emo_harness.images.clip_encoder import ClipEncoder
from emo_harness.images.clip_files import DEMO, DEMO_GENERATOR
from emo_harness.images.concept_numbers import (
    ConceptNumbers,
    EncoderAgreement,
    concept_numbers,
    encoder_agreement,
)
from emo_harness.images.encoder_scores import (
    EncoderScores,
    concepts_of,
    encoder_scores,
    twin_places,
)
from emo_harness.images.fact_differences import FactDifference, fact_differences
from emo_harness.images.image_entry import Drawn, Generated, ImageEntry
from emo_harness.images.image_set import ImageSet
from emo_harness.images.measured import MeasuredImages, measured_images
from emo_harness.images.near_duplicates import NearDuplicates, near_duplicates

Ints = NDArray[np.int64]
ALL = "all"


@dataclass(frozen=True)
class CheckedPart:
    """Images that are summed up together.

    Attributes:
        concept: None for a whole family.
        family: `ALL` for the whole set.
        level, emotion: where all images have the same.
        n_duplicates: of its images, how many look like one before them.
        numbers: per encoder.
    """

    concept: str | None
    family: str
    level: str | None
    emotion: str | None
    n: int
    n_twins: int
    n_duplicates: int
    numbers: tuple[ConceptNumbers, ...]


@dataclass(frozen=True)
class ImageChecks:
    """Everything that was found out about a set.

    Attributes:
        measured: read off the images.
        scores: per encoder, the first and perhaps a second.
        twins: (n,) place of each image's twin, -1 is none.
        parts: concepts by family.
        families: one each; the whole set too where it has several.
        matching: per family with twins, see `fact_differences`.
        norms: per encoder, rank correlations with human ratings by "valence" and "arousal"; only
            for dimensions that are rated.
        agreement: of two encoders.
        remarks: what could not be done, one sentence each.
    """

    images: ImageSet
    measured: MeasuredImages
    scores: tuple[EncoderScores, ...]
    duplicates: NearDuplicates
    twins: Ints
    parts: tuple[CheckedPart, ...]
    families: tuple[CheckedPart, ...]
    matching: dict[str, list[FactDifference]]
    norms: tuple[dict[str, RankCorrelation], ...]
    agreement: EncoderAgreement | None
    remarks: tuple[str, ...]


def check_images(
    images: ImageSet, encoders: Sequence[ClipEncoder], words: CheckWords, batch_size: int = 32
) -> ImageChecks:
    """Check a set.

    Args:
        encoders: none, one, or one and a second that was not used to choose the images.
        batch_size: images an encoder sees at once.

    Raises:
        UserError: an image cannot be opened; the extra `images` is not installed.
    """
    entries = images.entries
    measured = measured_images(images, encoders, batch_size)
    scores = tuple(
        encoder_scores(entries, vectors, encoder, words)
        for encoder, vectors in zip(encoders, measured.vectors, strict=True)
    )
    duplicates = near_duplicates(measured.hashes)
    twins = twin_places(entries)
    originals = np.array([n for n, entry in enumerate(entries) if entry.twin_of is None], np.int64)
    checked = _Checked(entries, measured, scores, duplicates, twins)
    by_family = _by(originals, [entry.family for entry in entries])
    by_concept = _by(originals, [(entry.family, entry.concept) for entry in entries])
    families = [checked.part(rows, None, family) for family, rows in by_family.items()]
    if len(families) > 1:
        families.append(checked.part(originals, None, ALL))
    return ImageChecks(
        images=images,
        measured=measured,
        scores=scores,
        duplicates=duplicates,
        twins=twins,
        parts=tuple(checked.part(rows, c, f) for (f, c), rows in by_concept.items()),
        families=tuple(families),
        matching={
            family: found
            for family, rows in by_family.items()
            if (found := fact_differences(measured.facts, *_pairs(rows, twins)))
        },
        norms=tuple(_with_norms(entries, one, originals) for one in scores),
        agreement=encoder_agreement(*scores, originals) if len(scores) == 2 else None,
        remarks=tuple(_remarks(entries, scores, twins, originals)),
    )


@dataclass(frozen=True)
class _Checked:
    entries: Sequence[ImageEntry]
    measured: MeasuredImages
    scores: tuple[EncoderScores, ...]
    duplicates: NearDuplicates
    twins: Ints

    def part(self, rows: Ints, concept: str | None, family: str) -> CheckedPart:
        own = [self.entries[row] for row in rows]
        return CheckedPart(
            concept=concept,
            family=family,
            level=_only(entry.level for entry in own),
            emotion=_only(entry.emotion for entry in own),
            n=len(rows),
            n_twins=int((self.twins[rows] >= 0).sum()),
            n_duplicates=int((self.duplicates.of[rows] != rows).sum()),
            numbers=tuple(
                concept_numbers(scores, vectors, rows, one_concept=concept is not None)
                for scores, vectors in zip(self.scores, self.measured.vectors, strict=True)
            ),
        )


def _is_of_the_demo(entry: ImageEntry) -> bool:
    made = entry.made
    return isinstance(made, Drawn) or (isinstance(made, Generated) and made.model == DEMO_GENERATOR)


def _only(values: object) -> str | None:
    found = set(values)  # type: ignore[call-overload]
    return found.pop() if len(found) == 1 else None


def _by(rows: Ints, keys: Sequence[object]) -> dict:  # type: ignore[type-arg]
    found: dict[object, list[int]] = {}
    for row in rows:
        found.setdefault(keys[row], []).append(int(row))
    return {key: np.array(own, np.int64) for key, own in found.items()}


def _pairs(rows: Ints, twins: Ints) -> tuple[Ints, Ints]:
    paired = rows[twins[rows] >= 0]
    return paired, twins[paired]


def _with_norms(
    entries: Sequence[ImageEntry], scores: EncoderScores, rows: Ints
) -> dict[str, RankCorrelation]:
    rated = {
        "valence": [entry.norms and entry.norms.valence for entry in entries],
        "arousal": [entry.norms and entry.norms.arousal for entry in entries],
    }
    read = {"valence": scores.valence, "arousal": scores.arousal}
    return {
        name: rank_correlation(
            read[name][rows], np.array([np.nan if v is None else v for v in values])[rows]
        )
        for name, values in rated.items()
        if any(values[row] is not None for row in rows)
    }


def _remarks(
    entries: Sequence[ImageEntry], scores: Sequence[EncoderScores], twins: Ints, originals: Ints
) -> list[str]:
    found = []
    strange = sum(not _is_of_the_demo(entry) for entry in entries)
    if strange and any(one.encoder == DEMO for one in scores):
        found.append(
            f"{DEMO} knows drawn emoji and nothing else: what it says of "
            f"{'this set' if strange == len(entries) else f'{strange:,} images of this set'} means "
            "nothing, neither accuracy nor correlation; name another --encoder"
        )
    found += [remark for one in scores for remark in one.remarks]
    if scores and len(concepts_of(entries)) == 1:
        found.append("the set has one concept: there is nothing to tell it from, so no accuracy")
    without = int((twins[originals] < 0).sum())
    if without == len(originals):
        found.append(
            "no image has a neutral twin: nothing here tells emotion from what the scene shows"
        )
    elif without:
        found.append(f"{without} of {len(originals)} images have no neutral twin")
    return found
