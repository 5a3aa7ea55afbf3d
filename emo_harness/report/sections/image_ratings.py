"""Ratings: what the model itself says of the images' valence and arousal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from emo_harness.report import verdict_words
from emo_harness.report.blocks import Block, Cell, Column, Figure, Prose, Section, Table
from emo_harness.report.contents import ReportContents
from emo_harness.report.figures.tagged_scatter import tagged_scatter
from emo_harness.report.numerals import (
    MINUS,
    UNKNOWN,
    count_cell,
    counted,
    percent_cell,
    probability_cell,
    text_cell,
)
from emo_harness.report.posthoc import read_posthoc
from emo_harness.validation import Strict

ORDER = 90
DIMENSIONS = ("valence", "arousal")
MIDDLE = 5.0
# A model that gives the nine ratings less together would rather say something else.
LITTLE_MASS = 0.5
NAN = math.nan

INTRO = (
    "A manipulation check: the model under test was asked how pleasant and how exciting each "
    "image is, from 1 to 9. An image can only act by its emotion if the model sees it: then "
    "ratings follow those of people, and emotional images are rated apart from their neutral "
    "twins."
)
OVER_COLUMNS = (
    Column("images of"),
    Column("family", filtered=True),
    Column("scale", filtered=True),
    Column("pairs", "images with a neutral twin", numeric=True),
    Column("over twins", "steps of the scale from 1 to 9, with 95% interval", numeric=True),
    Column("p", "Student's t over images, not corrected", numeric=True),
)
IMAGE_COLUMNS = (
    Column("image"),
    Column("family", filtered=True),
    Column("concept", filtered=True),
    Column("valence", "mean rating, 1 to 9", numeric=True),
    Column("arousal", "mean rating, 1 to 9", numeric=True),
    Column("norm valence", "by people", numeric=True),
    Column("norm arousal", "by people", numeric=True),
    Column("ratings %", "probability of the nine ratings together, the lower one", numeric=True),
    Column("shows"),
)


class RatedImage(Strict):
    """One image; ratings are null where an answer named none."""

    id: str
    family: str
    concept: str
    arousal_variant: str | None
    twin_of: str | None
    caption: str | None
    valence: float | None
    valence_most_probable: float | None
    valence_spread: float | None
    valence_mass: float | None
    valence_answer: str | None
    norm_valence: float | None
    arousal: float | None
    arousal_most_probable: float | None
    arousal_spread: float | None
    arousal_mass: float | None
    arousal_answer: str | None
    norm_arousal: float | None


class RankAgainstNorms(Strict):
    """Spearman's correlation with its interval."""

    n: int
    rank: list[float | None]


class OverTwins(Strict):
    """Ratings of images minus those of their twins."""

    family: str
    concept: str
    dimension: str
    n: int
    difference: list[float | None]
    p: float | None


class RatingsFile(Strict):
    """`posthoc/image_ratings.json`, as `emo images rate` writes it."""

    schema_version: int
    model: str
    method: str
    set: str
    questions: dict[str, str]
    n_images: int
    norms: dict[str, RankAgainstNorms]
    over_twins: list[OverTwins]
    mass: dict[str, float | None]
    images: list[RatedImage]


def section(contents: ReportContents) -> Section | None:
    """Build the section, where `emo images rate --run` was used."""
    files = read_posthoc(contents.run_folders, "image_ratings", RatingsFile)
    blocks = [block for number, one in enumerate(files) for block in _blocks(one, number)]
    return Section("image-ratings", "Ratings of images", INTRO, blocks) if blocks else None


def _blocks(one: RatingsFile, number: int) -> list[Block]:
    how = "by probability" if one.method == "likelihood" else "as answered"
    about = f"{one.model} on the set {one.set}, {how}"
    told = [f"{name}: “{text}”" for name, text in one.questions.items()]
    blocks: list[Block] = [
        Prose(f"{counted(one.n_images, 'image')} rated by {about}. {_norms(one)}", items=told)
    ]
    weak = [
        f"{name}: {100 * mass:.0f}%"
        for name, mass in one.mass.items()
        if mass is not None and mass < LITTLE_MASS
    ]
    if weak:
        blocks.append(
            Prose(
                "The nine ratings together are not what the model would most probably say, so its "
                f"ratings mean little (median probability: {', '.join(weak)}).",
                "warning",
            )
        )
    figure = _figure(one, f"image-ratings-{number}", about)
    if figure is not None:
        blocks.append(figure)
    if one.over_twins:
        blocks.append(
            Table(
                f"image-ratings-{number}-twins",
                f"Ratings of images minus those of their neutral twins, {about}",
                OVER_COLUMNS,
                [_over_cells(row) for row in one.over_twins],
            )
        )
    return blocks


def _norms(one: RatingsFile) -> str:
    found = [
        f"{name} {_signed(rank[0], 2)} [{_signed(rank[1], 2)}, {_signed(rank[2], 2)}] over "
        f"{counted(norm.n, 'image')}"
        for name, norm in one.norms.items()
        for rank in [[NAN if value is None else value for value in norm.rank]]
        if norm.n and not math.isnan(rank[0])
    ]
    if not found:
        return "The set has no human norms to compare with."
    return f"Rank correlation with human norms: {', '.join(found)}."


def _figure(one: RatingsFile, name: str, about: str) -> Figure | None:
    known = [p for p in one.images if p.valence is not None and p.arousal is not None]
    if not known:
        return None
    tags = ["neutral twins" if p.twin_of else p.concept for p in known]
    points = np.array([[p.valence, p.arousal] for p in known], dtype=np.float64)
    title = f"Valence and arousal of each image, rated by {about}"
    alt = f"Scatter plot. {title}. " + " ".join(_means(known, tags))
    return Figure(
        name,
        f"{title}. The lines are the middle of the scale.",
        alt,
        tagged_scatter(
            points,
            tags,
            ("valence, 1 (very unpleasant) to 9", "arousal, 1 (very calm) to 9"),
            name,
            title,
            alt,
            centre=(MIDDLE, MIDDLE),
        ),
        Table(f"{name}-table", title, IMAGE_COLUMNS, [_cells(p) for p in one.images], search=True),
    )


def _means(known: Sequence[RatedImage], tags: Sequence[str]) -> Iterator[str]:
    for tag in dict.fromkeys(tags):
        own = [p for p, other in zip(known, tags, strict=True) if other == tag]
        valence = np.mean([p.valence for p in own if p.valence is not None])
        arousal = np.mean([p.arousal for p in own if p.arousal is not None])
        yield f"{tag}: valence {valence:.1f}, arousal {arousal:.1f}."


def _over_cells(row: OverTwins) -> list[Cell]:
    mean, low, high = (NAN if value is None else value for value in row.difference)
    shown = UNKNOWN
    if not math.isnan(mean):
        ends = "" if math.isnan(low) else f" [{_signed(low, 1)}, {_signed(high, 1)}]"
        shown = f"{_signed(mean, 1)}{ends}"
    tone = verdict_words.bounds_tone(low, high)
    return [
        text_cell(row.concept, "strong" if row.concept == "(all)" else ""),
        text_cell(row.family),
        text_cell(row.dimension),
        count_cell(row.n),
        Cell((mean, low, high), shown, sort=mean, tone=tone),
        probability_cell(NAN if row.p is None else row.p),
    ]


def _cells(image: RatedImage) -> list[Cell]:
    masses = [m for m in (image.valence_mass, image.arousal_mass) if m is not None]
    return [
        text_cell(image.id),
        text_cell(image.family),
        text_cell(image.concept),
        *(
            percent_cell(NAN if value is None else value, 1)
            for value in (
                image.valence,
                image.arousal,
                image.norm_valence,
                image.norm_arousal,
            )
        ),
        percent_cell(100 * min(masses) if masses else NAN, 0),
        text_cell(image.caption or ""),
    ]


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", MINUS)
