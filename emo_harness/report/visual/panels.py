"""What images do, laid out: one panel per family, and images beside sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from emo_harness.effects import Gain
from emo_harness.report import verdict_words
from emo_harness.report.blocks import Block, Cell, Column, Figure, Prose, Table, without_same
from emo_harness.report.boards import MODES
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.figures.forest import ForestRow, ForestTerms, forest
from emo_harness.report.numerals import (
    count_cell,
    decimals_for,
    gain,
    gain_cell,
    percent_cell,
    probability_cell,
    text_cell,
)
from emo_harness.report.plain_text import slug
from emo_harness.report.visual.effects import CombinedRow, VisualEffects, VisualRow
from emo_harness.report.visual.words import asked, panel_sentence, told_gain

PART = (
    " In the table “3 of 6” after a contrast says that so many of the row's images have a control "
    "of that kind, and are held against their own."
)
FACETS = {"concept": "by concept", "level": "by level of need", "arousal": "by arousal"}
ROW_COLUMNS = (
    Column("images"),
    Column("by", filtered=True),
    Column("images asked", numeric=True),
    Column("n", "questions", numeric=True),
    Column("gain pp", "over control", numeric=True),
    Column("q", "over the rows of this kind (Benjamini and Hochberg)", numeric=True),
    Column("over neutral twins", "pp: the same scene without emotion", numeric=True),
    Column("over pixel-scrambled", "pp: the same colours, no scene", numeric=True),
    Column("q scrambled", "of the column before", numeric=True),
    Column(
        "over phase-scrambled", "pp: the same spectrum but for contrast, no scene", numeric=True
    ),
    Column("over plain grey", "pp", numeric=True),
    Column("over no image", "pp", numeric=True),
)
COMBINED_COLUMNS = (
    Column("image and sentence"),
    Column("n", "questions", numeric=True),
    Column("gain pp", "over control", numeric=True),
    Column("over the image alone", "pp", numeric=True),
    Column("over the sentence alone", "pp", numeric=True),
)
BESIDE_COLUMNS = (
    Column("model", filtered=True),
    Column("stimuli", filtered=True),
    Column("family"),
    Column("benchmark", filtered=True),
    Column("mode", filtered=True),
    Column("n", "questions", numeric=True),
    Column("control %", numeric=True),
    Column("gain pp", numeric=True),
    Column("over neutral placebos", "pp", numeric=True),
    Column("verdict"),
)


def visual_panels(effects: Iterable[VisualEffects]) -> list[Block]:
    """A sentence, a figure and a table for every family of images."""
    return [block for number, one in enumerate(effects) for block in _panel(one, number)]


def beside_sentences(claims: Sequence[FamilyClaim], visual: Sequence[VisualEffects]) -> list[Block]:
    """Families of images beside those of sentences that the same model was asked."""
    shown = {(one.label, one.board, one.family) for one in visual}
    models = {claim.model for claim in claims if _key(claim) in shown}
    told = [claim for claim in claims if claim.model in models]
    if all(_key(claim) in shown for claim in told):
        return []
    table = Table(
        "visual-beside",
        "Images beside sentences",
        BESIDE_COLUMNS,
        [_beside_cells(claim, _key(claim) in shown) for claim in told],
    )
    return [without_same(table, "model", "mode", "benchmark")]


def _panel(one: VisualEffects, number: int) -> list[Block]:
    title = f"Gains of {one.family} images, {asked(one)}, {one.label}"
    name = f"visual-{slug(one.family)}-{number}"
    decimals = decimals_for([_half(row.gain) for row in one.rows])
    told = Prose(panel_sentence(one, decimals))
    if not one.combined:
        return [told, _figure(one, name, title, decimals)]
    table = Table(
        f"{name}-combined",
        f"An image with a sentence, {asked(one)}, {one.label}",
        COMBINED_COLUMNS,
        [_combined_cells(row, decimals) for row in one.combined],
    )
    return [told, table]


def _figure(one: VisualEffects, name: str, title: str, decimals: int) -> Figure:
    whole = one.rows[0]
    n = len(whole.arms)
    lines = [_line(whole, "1 image" if n == 1 else f"all {n} images", decimals)]
    for facet, heading in FACETS.items():
        own = [row for row in one.rows if row.facet == facet]
        if len(own) > 1:
            lines.append(ForestRow(heading))
            lines += [_line(row, f"{row.name}, {len(row.arms)}", decimals) for row in own]
    alt = f"Forest plot. {title}. " + " ".join(
        f"{row.name}: {told_gain(row.gain, decimals)}." for row in one.rows if row.facet != "image"
    )
    terms = ForestTerms(
        f"gain over {one.control}, pp (band: margin of {one.margin_pp:g} pp)",
        "95% interval",
        "their pixel-scrambled copies",
    )
    copied = whole.against["pixel-scrambled"].n_images
    some = "" if copied in (0, n) else f" (of the {copied} of {n} images that have one)"
    part = any(
        found.n_images not in (0, len(r.arms)) for r in one.rows for found in r.against.values()
    )
    diamonds = (
        f" Diamonds: pixel-scrambled copies{some}, which is what an image without a scene does."
        if copied
        else ""
    )
    return Figure(
        name,
        f"{title}. Right, and in the table: gain [95% interval] in pp.{diamonds}"
        f"{PART if part else ''}",
        alt,
        forest(lines, one.margin_pp, name, title, alt, terms),
        Table(f"{name}-table", title, ROW_COLUMNS, [_cells(row, decimals) for row in one.rows]),
    )


def _line(row: VisualRow, label: str, decimals: int) -> ForestRow:
    found = row.gain
    return ForestRow(
        label,
        found.mean_pp,
        found.low_pp,
        found.high_pp,
        placebo=row.against["pixel-scrambled"].controls_gain.mean_pp,
        numbers=gain(found.mean_pp, found.low_pp, found.high_pp, decimals),
        tone=verdict_words.bounds_tone(found.low_pp, found.high_pp),
    )


def _cells(row: VisualRow, decimals: int) -> list[Cell]:
    return [
        text_cell(row.name, "strong" if row.facet == "all" else ""),
        text_cell(row.facet),
        count_cell(len(row.arms)),
        count_cell(row.gain.n),
        _gain_cell(row.gain, decimals),
        probability_cell(row.q),
        _contrast_cell(row, "neutral", decimals),
        _contrast_cell(row, "pixel-scrambled", decimals),
        probability_cell(row.q_scrambled),
        _contrast_cell(row, "phase-scrambled", decimals),
        _contrast_cell(row, "grey", decimals),
        _contrast_cell(row, "no-image", decimals),
    ]


def _combined_cells(row: CombinedRow, decimals: int) -> list[Cell]:
    return [
        text_cell(row.arm),
        count_cell(row.gain.n),
        _gain_cell(row.gain, decimals),
        _gain_cell(row.over_image, decimals),
        _gain_cell(row.over_sentence, decimals),
    ]


def _beside_cells(claim: FamilyClaim, is_visual: bool) -> list[Cell]:
    both = is_visual and "+" in claim.family
    kind = "images with sentences" if both else "images" if is_visual else "sentences"
    tone = verdict_words.bounds_tone(claim.gain_low_pp, claim.gain_high_pp)
    return [
        text_cell(claim.label, "strong"),
        text_cell(kind),
        text_cell(claim.family),
        text_cell(claim.benchmark),
        text_cell(MODES.get(claim.mode, claim.mode)),
        count_cell(claim.n_questions),
        percent_cell(claim.control_pct),
        gain_cell(claim.gain_pp, claim.gain_low_pp, claim.gain_high_pp, tone=tone),
        gain_cell(claim.placebo_gain_pp, claim.placebo_low_pp, claim.placebo_high_pp),
        text_cell(claim.verdict),
    ]


def _gain_cell(found: Gain, decimals: int) -> Cell:
    tone = verdict_words.bounds_tone(found.low_pp, found.high_pp)
    return gain_cell(found.mean_pp, found.low_pp, found.high_pp, decimals, tone)


def _contrast_cell(row: VisualRow, kind: str, decimals: int) -> Cell:
    found = row.against[kind]
    cell = _gain_cell(found.gain, decimals)
    if found.n_images in (0, len(row.arms)):
        return cell
    return replace(cell, text=f"{cell.text} ({found.n_images} of {len(row.arms)})")


def _half(found: Gain) -> float:
    return (found.high_pp - found.low_pp) / 2


def _key(claim: FamilyClaim) -> tuple[object, ...]:
    return (claim.label, claim.board, claim.family)
