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
    count,
    count_cell,
    counted,
    gain,
    mean_cell,
    percent_cell,
    probability_cell,
    text_cell,
)
from emo_harness.report.posthoc import read_posthoc
from emo_harness.validation import Strict

ORDER = 90
MIDDLE = 5.0
ALL = "(all)"
TWINS = "neutral twins"
# Concepts beyond these are coloured, and told to who cannot see, by family.
MOST_COLOURS = 16
# Rows of images, and of concepts over their twins; more are in the file alone.
MOST_IMAGES = 600
MOST_CONCEPTS = 40
IN_THE_FILE = "all are in image_ratings.parquet"
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
    Column("pairs", "images with a neutral twin", numeric=True),
)
OVER = "steps of the scale from 1 to 9, with 95% interval"
P = "Student's t over images, not corrected"
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
    why_unknown: str


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
    remarks: list[str]
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
    if one.remarks:
        blocks.append(Prose("Before these ratings are read:", "warning", one.remarks))
    figure = _figure(one, f"image-ratings-{number}", about)
    if figure is not None:
        blocks.append(figure)
    if one.over_twins:
        blocks.append(_over_twins(one, f"image-ratings-{number}-twins", about))
    return blocks


def _norms(one: RatingsFile) -> str:
    untold = {norm.why_unknown for norm in one.norms.values()}
    if len(untold) == 1 and "" not in untold:
        return f"Human norms: {untold.pop()}."
    told = []
    for name, norm in one.norms.items():
        rank = gain(*_known(norm.rank), decimals=2)
        known = f"{name} {rank} over {counted(norm.n, 'image')}"
        told.append(f"{name} ({norm.why_unknown})" if norm.why_unknown else known)
    return f"Rank correlation with human norms: {'; '.join(told)}."


def _figure(one: RatingsFile, name: str, about: str) -> Figure | None:
    known = [p for p in one.images if p.valence is not None and p.arousal is not None]
    if not known:
        return None
    tags, not_coloured = _tags(known)
    points = np.array([[p.valence, p.arousal] for p in known], dtype=np.float64)
    title = f"Valence and arousal of each image, rated by {about}"
    alt = f"Scatter plot. {title}. " + " ".join(_means(known, tags))
    told = [
        "The lines are the middle of the scale; marks at one place are set around it, in a spiral"
    ]
    if TWINS in tags:
        told.append("hollow marks beneath are neutral twins")
    if not_coloured:
        told.append(not_coloured)
    rows = [_cells(p) for p in one.images[:MOST_IMAGES]]
    more = len(one.images) - len(rows)
    beyond = f": the first {count(len(rows))}, and {count(more)} more; {IN_THE_FILE}"
    return Figure(
        name,
        f"{title}. {'; '.join(told)}.",
        alt,
        tagged_scatter(
            points,
            tags,
            ("valence, 1 (very unpleasant) to 9", "arousal, 1 (very calm) to 9"),
            name,
            title,
            alt,
            centre=(MIDDLE, MIDDLE),
            hollow=TWINS,
        ),
        Table(f"{name}-table", title + (beyond if more else ""), IMAGE_COLUMNS, rows, search=True),
    )


def _tags(known: Sequence[RatedImage]) -> tuple[list[str], str]:
    """What images are coloured by; and why that is not their concept."""
    concepts = {p.concept for p in known if not p.twin_of}
    if len(concepts) <= MOST_COLOURS:
        return [TWINS if p.twin_of else p.concept for p in known], ""
    families = {p.family for p in known if not p.twin_of}
    few = len(families) <= MOST_COLOURS
    tags = [TWINS if p.twin_of else p.family if few else "images" for p in known]
    instead = "families are coloured" if few and len(families) > 1 else "all have one colour"
    return tags, f"there are {count(len(concepts))} concepts, so {instead}"


def _means(known: Sequence[RatedImage], tags: Sequence[str]) -> Iterator[str]:
    for tag in dict.fromkeys(tags):
        own = [p for p, other in zip(known, tags, strict=True) if other == tag]
        valence = np.mean([p.valence for p in own if p.valence is not None])
        arousal = np.mean([p.arousal for p in own if p.arousal is not None])
        yield f"{tag}: valence {valence:.1f}, arousal {arousal:.1f}."


def _over_twins(one: RatingsFile, name: str, about: str) -> Table:
    """Families first, then concepts; of very many those that differ the most."""
    found: dict[tuple[str, str], dict[str, OverTwins]] = {}
    for row in one.over_twins:
        found.setdefault((row.family, row.concept), {})[row.dimension] = row
    families = [key for key in found if key[1] == ALL]
    concepts = [key for key in found if key[1] != ALL]
    title = f"Ratings of images minus those of their neutral twins, {about}"
    if len(concepts) > MOST_CONCEPTS:
        title += (
            f": the {MOST_CONCEPTS} concepts that differ the most, and "
            f"{count(len(concepts) - MOST_CONCEPTS)} more; --json of emo images rate has all"
        )
        concepts = sorted(concepts, key=lambda key: -_furthest(found[key]))[:MOST_CONCEPTS]
    dimensions = list(one.questions)
    columns = list(OVER_COLUMNS)
    for dimension in dimensions:
        columns += [Column(f"{dimension} over twins", OVER, numeric=True)]
        columns += [Column(f"p, {dimension}", P, numeric=True)]
    rows = [_over_cells(found[key], dimensions) for key in (*families, *concepts)]
    return Table(name, title, columns, rows, breaks=frozenset({len(families)}))


def _furthest(by_dimension: dict[str, OverTwins]) -> float:
    return max(abs(row.difference[0] or 0.0) for row in by_dimension.values())


def _over_cells(by_dimension: dict[str, OverTwins], dimensions: Sequence[str]) -> list[Cell]:
    first = next(iter(by_dimension.values()))
    cells = [
        text_cell(first.concept, "strong" if first.concept == ALL else ""),
        text_cell(first.family),
        count_cell(max(row.n for row in by_dimension.values())),
    ]
    for dimension in dimensions:
        row = by_dimension.get(dimension)
        value, low, high = _known(row.difference) if row else (NAN, NAN, NAN)
        tone = verdict_words.bounds_tone(low, high)
        cells.append(mean_cell(value, low, high, row.n if row else 0, tone=tone))
        cells.append(probability_cell(NAN if row is None or row.p is None else row.p))
    return cells


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


def _known(values: Sequence[float | None]) -> tuple[float, float, float]:
    value, low, high = (NAN if one is None else one for one in values)
    return value, low, high
