"""What images do, laid out: one panel per family, and images beside sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from emo_harness.effects import Gain
from emo_harness.report import verdict_words
from emo_harness.report.blocks import Block, Cell, Column, Figure, Prose, Table, without_same
from emo_harness.report.boards import MODES
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.figures.forest import ForestRow, ForestTerms, forest
from emo_harness.report.numerals import (
    count_cell,
    counted,
    decimals_for,
    gain,
    gain_cell,
    percent_cell,
    probability_cell,
    text_cell,
)
from emo_harness.report.plain_text import slug
from emo_harness.report.visual.effects import CONTROLS, CombinedRow, VisualEffects, VisualRow

FACETS = {"concept": "by concept", "level": "by level of need", "arousal": "by arousal"}
CONTROL_NAMES = {
    "neutral": "neutral twins",
    "pixel-scrambled": "pixel-scrambled",
    "phase-scrambled": "phase-scrambled",
    "grey": "plain grey",
    "no-image": "no image",
}
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
    Column("over phase-scrambled", "pp: the same spectrum, no scene", numeric=True),
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
    asked = _asked(one)
    title = f"Gains of {one.family} images, {asked}, {one.label}"
    name = f"visual-{slug(one.family)}-{number}"
    decimals = decimals_for([_half(row.gain) for row in one.rows])
    blocks: list[Block] = [Prose(panel_sentence(one, decimals))]
    blocks.append(_figure(one, name, title, decimals))
    if one.combined:
        blocks.append(
            Table(
                f"{name}-combined",
                f"An image with a sentence, {asked}, {one.label}",
                COMBINED_COLUMNS,
                [_combined_cells(row, decimals) for row in one.combined],
            )
        )
    return blocks


def panel_sentence(one: VisualEffects, decimals: int) -> str:
    """What the images of a family did, and whether it is more than that of any image."""
    whole = one.rows[0]
    told = (
        f"{one.label}, {_asked(one)}, {one.family}: {counted(len(whole.arms), 'image')} of "
        f"the set {' and '.join(one.sets)} changed the score by {_told(whole.gain, decimals)} over "
        f"control ({one.control})."
    )
    compared = [
        f"{_told(whole.against[kind], decimals)} over {_plural(kind)}"
        for kind in CONTROLS
        if not math.isnan(whole.against[kind].mean_pp)
    ]
    if compared:
        told += f" Held against other images: {', '.join(compared)}."
    if not math.isnan(one.high_over_low.mean_pp):
        told += f" Images of high arousal minus those of low: {_told(one.high_over_low, decimals)}."
    return f"{told} {_meaning(whole)}"


def _meaning(whole: VisualRow) -> str:
    twin, scrambled = whole.against["neutral"], whole.against["pixel-scrambled"]
    if math.isnan(twin.mean_pp) and math.isnan(scrambled.mean_pp):
        return "No control image was asked, so emotion cannot be told from any image's effect."
    known = [g for g in (twin, scrambled) if not math.isnan(g.mean_pp)]
    if all(_is_clear(g) for g in known) and len({g.mean_pp > 0 for g in known}) == 1:
        return "That is more than the mere presence of an image does."
    if _is_clear(whole.gain):
        return "It cannot be told from what the mere presence of an image does."
    return "An effect of what the images show is not seen here."


def _figure(one: VisualEffects, name: str, title: str, decimals: int) -> Figure:
    lines = [_line(one.rows[0], f"all {len(one.rows[0].arms)} images", decimals)]
    for facet, heading in FACETS.items():
        own = [row for row in one.rows if row.facet == facet]
        if len(own) > 1:
            lines.append(ForestRow(heading))
            lines += [_line(row, f"{row.name}, {len(row.arms)}", decimals) for row in own]
    alt = f"Forest plot. {title}. " + " ".join(
        f"{row.name}: {_told(row.gain, decimals)}." for row in one.rows if row.facet != "image"
    )
    terms = ForestTerms(
        f"gain over {one.control}, pp (band: margin of {one.margin_pp:g} pp)",
        "95% interval",
        "their pixel-scrambled copies",
    )
    return Figure(
        name,
        f"{title}. The diamonds are copies of the same images with their pixels in random "
        "order: what an image without a scene does. Right: gain [95% interval] in pp.",
        alt,
        forest(lines, one.margin_pp, name, title, alt, terms),
        Table(f"{name}-table", title, ROW_COLUMNS, [_cells(row, decimals) for row in one.rows]),
    )


def _line(row: VisualRow, label: str, decimals: int) -> ForestRow:
    found, scrambled = row.gain, row.against["pixel-scrambled"]
    return ForestRow(
        label,
        found.mean_pp,
        found.low_pp,
        found.high_pp,
        placebo=found.mean_pp - scrambled.mean_pp,
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
        _gain_cell(row.against["neutral"], decimals),
        _gain_cell(row.against["pixel-scrambled"], decimals),
        probability_cell(row.q_scrambled),
        _gain_cell(row.against["phase-scrambled"], decimals),
        _gain_cell(row.against["grey"], decimals),
        _gain_cell(row.against["no-image"], decimals),
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


def _told(found: Gain, decimals: int) -> str:
    return f"{gain(found.mean_pp, found.low_pp, found.high_pp, decimals)} pp"


def _plural(kind: str) -> str:
    name = CONTROL_NAMES[kind]
    return (
        f"their {name}" if kind == "neutral" else f"their {name} copies" if "-s" in kind else name
    )


def _asked(one: VisualEffects) -> str:
    return f"{one.board.benchmark}, {MODES.get(one.board.mode, one.board.mode)}"


def _half(found: Gain) -> float:
    return (found.high_pp - found.low_pp) / 2


def _is_clear(found: Gain) -> bool:
    return verdict_words.bounds_tone(found.low_pp, found.high_pp) != "quiet"


def _key(claim: FamilyClaim) -> tuple[object, ...]:
    return (claim.label, claim.board, claim.family)
