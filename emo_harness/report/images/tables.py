"""Tables of an image set's checks: by concept, against twins, every image."""

from __future__ import annotations

from emo_harness.report.blocks import Block, Cell, Column, Table, without_same
from emo_harness.report.images.numbers import (
    Bounds,
    CheckedConcept,
    CheckedImage,
    FactDifference,
    ImageCheckNumbers,
    Number,
    Read,
)
from emo_harness.report.images.verdicts import (
    ALL,
    FACT_NAMES,
    bounds,
    chance_told,
    is_at_chance,
    known,
    percent_with_bounds,
    varies,
)
from emo_harness.report.numerals import (
    MINUS,
    UNKNOWN,
    count_cell,
    mean_cell,
    probability_cell,
    text_cell,
)

EMOTION = (
    "share of the images of an emotion in which it is the most probable of the emotions' words, "
    "95% interval"
)
# Rows of the table of all images; more are in checks.parquet alone.
MOST_ROWS = 600
_CONCEPT_COLUMNS = (
    Column("concept"),
    Column("family", filtered=True),
    Column("images", numeric=True),
    Column("accuracy", "share whose own concept is the most probable, 95% interval", numeric=True),
    Column("chance", "what guessing would reach", numeric=True),
    Column("emotion", EMOTION, numeric=True),
    Column("own probability", "mean probability of the own concept among the set's", numeric=True),
    Column(
        "against twin",
        "log-odds of the own emotion, or of the concept where there is none, in the image less "
        "those in its neutral twin",
        numeric=True,
    ),
    Column("diversity", "mean cosine distance between two images of the concept", numeric=True),
    Column("alignment", "mean cosine of an image with its own prompt or caption", numeric=True),
    Column("look alike", "images that look like one before them", numeric=True),
)
_SECOND_COLUMNS = (
    Column("accuracy, 2nd", "of the second encoder", numeric=True),
    Column("against twin, 2nd", "of the second encoder", numeric=True),
)
_FACT_COLUMNS = (
    Column("fact"),
    Column("family", filtered=True),
    Column("pairs", numeric=True),
    Column("images", "mean", numeric=True),
    Column("twins", "mean", numeric=True),
    Column("difference", "image less twin, 95% interval", numeric=True),
    Column("in sd", "difference over the standard deviation of differences", numeric=True),
    Column("p", "of no difference, by Holm over a family's facts", numeric=True),
)
_IMAGE_COLUMNS = (
    Column("image"),
    Column("family", filtered=True),
    Column("concept", filtered=True),
    Column("predicted", "the most probable concept"),
    Column("own probability", "of its concept", numeric=True),
    Column("emotion", "the most probable emotion word"),
    Column("against twin", "see above", numeric=True),
    Column("alignment", "cosine with its prompt or caption", numeric=True),
    Column("sharpness", "variance of the Laplacian at 256 px, times 1000", numeric=True),
    Column("brightness", "0 to 1", numeric=True),
    Column("contrast", "standard deviation of brightness", numeric=True),
    Column("colourfulness", "0 is grey, 0.43 extreme", numeric=True),
    Column("bytes", numeric=True),
    Column("looks like"),
)


def checks_tables(one: ImageCheckNumbers, prefix: str) -> list[Block]:
    """By concept; facts against twins where there are twins; every image, folded."""
    blocks: list[Block] = [_concepts(one, f"{prefix}-concepts")]
    if one.matching:
        rows = [_fact_row(row) for row in one.matching if varies(row)]
        title = "Images beside their neutral twins, in what is not emotion"
        blocks.append(Table(f"{prefix}-matching", title, _FACT_COLUMNS, rows))
    told = f"the first {MOST_ROWS} " if len(one.images) > MOST_ROWS else ""
    rows = [_image_row(image) for image in one.images[:MOST_ROWS]]
    title = f"Every image and twin: {told}readings of the first encoder, and facts"
    blocks.append(Table(f"{prefix}-each", title, _IMAGE_COLUMNS, rows, search=True, collapsed=True))
    return blocks


def _concepts(one: ImageCheckNumbers, name: str) -> Table:
    has_second = len(one.encoders) > 1
    columns = [*_CONCEPT_COLUMNS, *(_SECOND_COLUMNS if has_second else ())]
    parts = [*one.families, *one.concepts]
    rows = []
    for part in parts:
        row = _concept_row(part)
        if has_second:
            row += (
                [_share_cell(part.second.accuracy), _contrast_cell(part.second)]
                if part.second
                else [Cell(None, UNKNOWN)] * 2
            )
        rows.append(row)
    breaks = frozenset({len(one.families)}) if one.concepts else frozenset()
    table = Table(name, "By concept and family", columns, rows, breaks=breaks)
    return without_same(table, "emotion", "look alike")


def _concept_row(part: CheckedConcept) -> list[Cell]:
    name = part.concept or ("all families" if part.family == ALL else "all of the family")
    return [
        text_cell(name, "" if part.concept else "strong"),
        text_cell(part.family),
        count_cell(part.n),
        _share_cell(part.accuracy, "quiet" if is_at_chance(part) else ""),
        Cell(part.chance, UNKNOWN if part.chance is None else chance_told(part.chance)),
        _share_cell(part.emotion_accuracy),
        _decimal_cell(part.probability, 2),
        _contrast_cell(part),
        _decimal_cell(part.diversity, 3),
        _decimal_cell(part.alignment, 3),
        count_cell(part.n_duplicates),
    ]


def _fact_row(row: FactDifference) -> list[Cell]:
    value, low, high = bounds(row.difference.mean)
    decimals = 0 if row.fact in ("n_bytes", "width", "height") else 3
    factor = 1000 if row.fact == "sharpness" else 1
    name = FACT_NAMES.get(row.fact, row.fact) + (" x 1000" if factor > 1 else "")
    return [
        text_cell(name, "strong" if row.differs else ""),
        text_cell(row.family),
        count_cell(row.difference.n),
        _decimal_cell(_times(row.images, factor), decimals),
        _decimal_cell(_times(row.twins, factor), decimals),
        mean_cell(factor * value, factor * low, factor * high, row.difference.n, decimals),
        _decimal_cell(row.difference.standardised, 2),
        probability_cell(known(row.p_adjusted)),
    ]


def _image_row(image: CheckedImage) -> list[Cell]:
    return [
        text_cell(image.id),
        text_cell("twin" if image.twin_of else image.family),
        text_cell(image.concept),
        text_cell(image.predicted or ""),
        _decimal_cell(image.probability_concept, 2),
        text_cell(image.emotion_predicted or ""),
        _decimal_cell(image.twin_contrast, 1),
        _decimal_cell(image.alignment, 3),
        _decimal_cell(_times(image.sharpness, 1000), 2),
        _decimal_cell(image.brightness, 2),
        _decimal_cell(image.contrast, 2),
        _decimal_cell(image.colourfulness, 2),
        count_cell(image.n_bytes),
        text_cell(image.duplicate_of or ""),
    ]


def _contrast_cell(read: Read) -> Cell:
    return mean_cell(*bounds(read.contrast), read.n_pairs)


def _share_cell(values: Bounds, tone: str = "") -> Cell:
    value, low, high = bounds(values)
    told = percent_with_bounds(values) if values[0] is not None else UNKNOWN
    return Cell((value, low, high), told, sort=value, tone=tone)


def _decimal_cell(value: Number, decimals: int) -> Cell:
    if value is None:
        return Cell(None, UNKNOWN)
    text = f"{abs(value):.{decimals}f}"
    sign = MINUS if value < 0 and float(text) > 0 else ""
    return Cell(value, f"{sign}{text}", sort=value)


def _times(value: Number, factor: float) -> Number:
    return None if value is None else factor * value
