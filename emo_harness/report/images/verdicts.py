"""What the checks of an image set say in words: what stands out, and what warns."""

from __future__ import annotations

import math
from collections.abc import Iterator

from emo_harness.effects.rank_correlation import FEWEST
from emo_harness.report.images.numbers import (
    Bounds,
    CheckedConcept,
    FactDifference,
    ImageCheckNumbers,
    Number,
)
from emo_harness.report.numerals import count, counted, gain, mean, probability

FACT_NAMES = {
    "sharpness": "sharpness",
    "brightness": "brightness",
    "contrast": "contrast",
    "colourfulness": "colourfulness",
    "n_bytes": "file size",
    "width": "width",
    "height": "height",
}
# The family of all images together.
ALL = "all"
_MOST_NAMED = 6
# Of fewer images nothing can be said either way.
_FEWEST_TO_TELL = 3


def known(value: Number) -> float:
    """NaN where a number is unknown."""
    return math.nan if value is None else value


def bounds(values: Bounds) -> tuple[float, float, float]:
    value, low, high = (known(one) for one in values)
    return value, low, high


def percent_with_bounds(values: Bounds) -> str:
    """A share in percent with its interval.

    >>> percent_with_bounds([0.5, 0.25, 0.75]).split()
    ['50%', '[25,', '75]']
    """
    value, low, high = bounds(values)
    if math.isnan(value):
        return "unknown"
    return f"{100 * value:.0f}% [{100 * low:.0f},\u00a0{100 * high:.0f}]"


def chance_told(chance: Number) -> str:
    """What guessing would reach, in percent.

    >>> chance_told(1 / 15), chance_told(1 / 400)
    ('7%', '0.2%')
    """
    percent = 100 * known(chance)
    return f"{percent:.{0 if percent >= 1 else 1}f}%"


def sentences(one: ImageCheckNumbers) -> list[str]:
    """Findings: of each family, then what two encoders or people agree on."""
    weak = [
        part.concept or ""
        for part in one.concepts
        if part.n >= _FEWEST_TO_TELL and is_at_chance(part)
    ]
    return [
        *(told for part in one.families if (told := _of_family(part))),
        *([f"not told from guessing: {_listed(weak)}"] if weak else []),
        *_agreement(one),
        *_norms(one),
    ]


def warnings(one: ImageCheckNumbers) -> list[str]:
    """What to mend, or to know, before the set is used."""
    return [*_not_to_be_passed_on(one), *one.remarks, *_unlike_twins(one), *_alike(one)]


def is_at_chance(part: CheckedConcept) -> bool:
    """Whether an accuracy does not exceed guessing."""
    value, low, _ = bounds(part.accuracy)
    return not math.isnan(value) and low <= known(part.chance)


def varies(row: FactDifference) -> bool:
    """Whether a fact differs in any pair at all."""
    value, low, _ = row.difference.mean
    return value != 0 or low is not None


def _of_family(part: CheckedConcept) -> str:
    parts = []
    if part.accuracy[0] is not None:
        second = part.second.accuracy if part.second else None
        again = f", the second {percent_with_bounds(second)}" if second else ""
        parts.append(
            f"the encoder finds the own concept among {count(1 / known(part.chance))} in "
            f"{percent_with_bounds(part.accuracy)} of {counted(part.n, 'image')}{again}; "
            f"guessing would reach {chance_told(part.chance)}"
        )
    if part.emotion_accuracy[0] is not None:
        parts.append(
            f"the own emotion among {count(1 / known(part.emotion_chance))} in "
            f"{percent_with_bounds(part.emotion_accuracy)}, guessing "
            f"{chance_told(part.emotion_chance)}"
        )
    value, low, high = bounds(part.contrast)
    if not math.isnan(value):
        told = f"{mean(value, low, high, part.n_pairs)} in log-odds"
        clear = "sees more" if low > 0 else "sees less" if high < 0 else "does not clearly see more"
        parts.append(
            f"against its neutral twin: {told}"
            if part.n_pairs == 1
            else f"against the neutral twins: {told}"
            if math.isnan(low)
            else f"it {clear} of it than in the neutral twins, {told}, "
            f"{counted(part.n_pairs, 'pair')}"
        )
    title = "all families" if part.family == ALL else part.family
    return f"{title}: {'; '.join(parts)}" if parts else ""


def _agreement(one: ImageCheckNumbers) -> Iterator[str]:
    found = one.agreement
    if found is None:
        return
    if found.same[0] is not None:
        kappa = known(found.kappa)
        beyond = "" if math.isnan(kappa) else f" (kappa {kappa:.2f})"
        yield (
            f"the two encoders name the same concept for {percent_with_bounds(found.same)} of "
            f"{counted(found.n, 'image')}{beyond}"
        )
    rank = bounds(found.contrast.rank)
    if not math.isnan(rank[0]):
        yield f"their contrasts with twins have the rank correlation {gain(*rank, decimals=2)}"


def _norms(one: ImageCheckNumbers) -> Iterator[str]:
    for found in one.norms:
        rank = bounds(found.rank)
        if math.isnan(rank[0]):
            why = (
                "too few to correlate"
                if found.n < FEWEST
                else "all readings or all ratings are equal"
            )
            yield f"{found.dimension}: {counted(found.n, 'rated image')}, {why}"
        else:
            yield (
                f"{found.dimension} as {found.encoder} reads it and human ratings of "
                f"{counted(found.n, 'image')}: rank correlation {gain(*rank, decimals=2)}, "
                f"p {probability(known(found.p))}"
            )


def _not_to_be_passed_on(one: ImageCheckNumbers) -> Iterator[str]:
    n = sum(image.referenced == "shown" for image in one.images)
    if n:
        yield (
            f"this holds small copies of {counted(n, 'image')} that the set references because "
            "they must not be copied (--show-referenced): do not pass it on"
        )


def _unlike_twins(one: ImageCheckNumbers) -> Iterator[str]:
    by_family: dict[str, list[FactDifference]] = {}
    for row in one.matching:
        if row.differs:
            by_family.setdefault(row.family, []).append(row)
    for family, rows in by_family.items():
        told = ", ".join(
            f"{FACT_NAMES.get(row.fact, row.fact)} ({_direction(row)})" for row in rows
        )
        yield (
            f"{family}: images differ from their neutral twins in {told}; an effect of the "
            "images may be one of these"
        )


def _direction(row: FactDifference) -> str:
    higher = known(row.difference.mean[0]) > 0
    size = known(row.difference.standardised)
    told = "higher" if higher else "lower"
    return told if math.isnan(size) else f"{told} by {abs(size):.1f} sd"


def _alike(one: ImageCheckNumbers) -> Iterator[str]:
    twin_of = {image.id: image.twin_of for image in one.images}
    found = one.duplicates
    of_images = [group for group in found.groups if any(twin_of[name] is None for name in group)]
    among_twins = [group for group in found.groups if group not in of_images]
    own = [group for group in of_images if any(twin_of[name] in group for name in group)]
    if of_images:
        examples = "; ".join(", ".join(group[:4]) for group in of_images[:3])
        yield (
            f"{counted(len(of_images), 'group')} of images that look alike (perceptual hashes "
            f"differ in at most {found.most_bits} of {found.n_bits} bits): {examples}"
            f"{'; ...' if len(of_images) > 3 else ''}"
        )
    if own:
        yield (
            f"in {counted(len(own), 'group')} an image looks like its own neutral twin: its "
            "contrast may be empty"
        )
    if among_twins:
        n = sum(len(group) for group in among_twins)
        yield (
            f"{count(n)} neutral twins look like another twin: they are fewer different "
            "placebos than they seem"
        )


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
