"""Validity: what could have gone wrong, and everything that made these numbers."""

from __future__ import annotations

import math

from emo_harness.report.blocks import Block, Cell, Column, Prose, Section, Table, without_same
from emo_harness.report.boards import Board, boards, whole
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.contents import ReportContents
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.numerals import (
    bounds_cell,
    count_cell,
    gain_cell,
    percent_cell,
    pp_cell,
    probability_cell,
    text_cell,
)
from emo_harness.report.placed import placed

ORDER = 200

INTRO = (
    "A stimulus can move a score without moving ability: answers in another form that the "
    "filter cannot read, refusals, prompts cut because they do not fit. These shares should be "
    "about equal under all arms. Placebos should have gains about zero."
)
KINDS = ("placebo", "stimulus", "controls")
CONTROLS = (
    "Controls of decoded stimuli (random vectors, placebos decoded alike, and so on) are no "
    "placebos in this sense; what they do is under Decoded stimuli."
)
IMAGES = (
    "Images without emotion are placebos too, and need not have gains about zero: what they do is "
    "what the mere presence of an image does. Effects of images are held against them under Images."
)
ARM_COLUMNS = (
    Column("model", filtered=True),
    Column("asked", "benchmark, mode and placement", filtered=True),
    Column("arm"),
    Column("kind", filtered=True),
    Column("unparsed %", "answers that the filter could not read", numeric=True),
    Column("cut %", "prompts that did not fit the context", numeric=True),
    Column("refused %", "answers that look like a refusal", numeric=True),
    Column("answer length", "characters, mean", numeric=True),
)
PLACEBO_COLUMNS = (
    Column("placebo"),
    Column("text"),
    Column("model", filtered=True),
    Column("asked", "benchmark, mode and placement", filtered=True),
    Column("n", "questions", numeric=True),
    Column("gain pp", "over control, with its 95% interval", numeric=True),
    Column("length", "of the sentence, in tokens, else words", numeric=True),
)
CLAIM_COLUMNS = (
    Column("model"),
    Column("family"),
    Column("gain pp", "all questions", numeric=True),
    Column("gain pp, parsed only", "answers parsed under both arms", numeric=True),
    Column("against self-check pp", numeric=True),
    Column("relative gain %", "gain over control accuracy, Fieller interval", numeric=True),
    Column("remark"),
)
OTHERWISE_COLUMNS = (
    Column("model"),
    Column("family"),
    Column("interval pp", "these stimuli, as in the verdict", numeric=True),
    Column("bootstrap pp", "over questions", numeric=True),
    Column("like these, pp", "as in the verdict", numeric=True),
    Column("like these, bootstrap pp", "over questions and stimuli", numeric=True),
    Column("p", "as in the verdict, before correction", numeric=True),
    Column(
        "p, relabelled",
        "if all answers to a question were exchangeable; too small where stimuli change them alike",
        numeric=True,
    ),
    Column("p, equivalence", "two one-sided tests, of a gain beyond the margin", numeric=True),
    Column("spread pp", "standard deviation over repeats of a question", numeric=True),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section."""
    by_model = _by_model(contents)
    if not contents.claims and not by_model:
        return None
    found = boards(contents)
    arms = [cells for rows in by_model for cells in _arm_cells(rows)]
    placebos = [_placebo_cells(row) for rows in by_model for row in rows if row.kind == "placebo"]
    blocks: list[Block] = []
    if contents.remarks:
        blocks.append(Prose("What was merged or left out:", "note", contents.remarks))
    if found:
        blocks.append(
            Table(
                "validity-claims",
                "Gains on parsed answers alone, against the self-check, and relative",
                CLAIM_COLUMNS,
                [_claim_cells(claim, board) for board in found for claim in board.claims],
            )
        )
    if any(not math.isnan(claim.boot_low_pp) for claim in contents.claims):
        blocks.append(
            Table(
                "validity-otherwise",
                "The same gains reckoned otherwise",
                OTHERWISE_COLUMNS,
                [_otherwise_cells(claim, board) for board in found for claim in board.claims],
            )
        )
    if placebos:
        table = Table("validity-placebos", "Placebo gains", PLACEBO_COLUMNS, placebos)
        blocks.append(without_same(table, "asked"))
        if any(row.kind == "placebo" and row.image_concept for rows in by_model for row in rows):
            blocks.append(Prose(IMAGES, "note"))
        if any(row.is_decoded_control for row in contents.rows):
            blocks.append(Prose(CONTROLS, "note"))
    if arms:
        table = Table(
            "validity-arms",
            "Unparsed, cut and refused answers, and their length, by arm",
            ARM_COLUMNS,
            arms,
            search=len(arms) > 12,
            collapsed=len(arms) > 12,
        )
        blocks.append(without_same(table, "asked"))
    return Section("validity", "Validity", INTRO, blocks)


def _otherwise_cells(claim: FamilyClaim, board: Board) -> list[Cell]:
    return [
        text_cell(claim.label, "strong"),
        text_cell(board.short or board.family),
        bounds_cell(claim.gain_low_pp, claim.gain_high_pp, 2),
        bounds_cell(claim.boot_low_pp, claim.boot_high_pp, 2),
        bounds_cell(claim.like_low_pp, claim.like_high_pp, 2),
        bounds_cell(claim.like_boot_low_pp, claim.like_boot_high_pp, 2),
        probability_cell(claim.p),
        probability_cell(claim.p_relabelled),
        probability_cell(claim.p_equivalence),
        Cell(claim.within_sd_pp, percent_cell(claim.within_sd_pp).text),
    ]


def _by_model(contents: ReportContents) -> list[list[EffectRow]]:
    """Rows of single arms on all questions, by model and task, each once."""
    asked: dict[tuple[str, ...], list[EffectRow]] = {}
    for row in contents.rows:
        if row.primary and row.kind in KINDS and not row.is_decoded_control:
            asked.setdefault((row.label, *row.board), []).append(row)
    made = []
    for rows in asked.values():
        once: dict[tuple[str, str], EffectRow] = {}
        for row in whole(rows):
            once.setdefault((row.family, row.stimulus), row)
        made.append(list(once.values()))
    return made


def _asked(row: EffectRow) -> str:
    return f"{row.benchmark} {row.mode}, {placed([row])}"


def _arm_cells(rows: list[EffectRow]) -> list[list[Cell]]:
    first = rows[0]

    def cells(arm: str, kind: str, shares: tuple[float, ...], chars: float) -> list[Cell]:
        return [
            text_cell(first.label),
            text_cell(_asked(first)),
            text_cell(arm, "strong"),
            text_cell(kind),
            *(percent_cell(share) for share in shares),
            count_cell(chars),
        ]

    control = (
        first.unparsed_control_pct,
        first.truncated_control_pct,
        first.refused_control_pct,
    )
    made = [cells("control", "control", control, first.answer_chars_control)]
    for row in rows:
        shares = (row.unparsed_arm_pct, row.truncated_arm_pct, row.refused_arm_pct)
        kind = row.family if row.kind == "stimulus" else "placebo"
        name = row.stimulus
        if row.kind == "controls":
            kind, name = "control of decoded", f"{name}, mean of {row.n_stimuli}"
        made.append(cells(name, kind, shares, row.answer_chars_arm))
    return made


def _placebo_cells(row: EffectRow) -> list[Cell]:
    return [
        text_cell(row.stimulus, "strong"),
        text_cell(row.text),
        text_cell(row.label),
        text_cell(_asked(row)),
        count_cell(row.n_questions),
        gain_cell(row.gain_pp, row.gain_low_pp, row.gain_high_pp, 2),
        count_cell(row.length),
    ]


def _claim_cells(claim: FamilyClaim, board: Board) -> list[Cell]:
    remarks = [claim.parsing_flag]
    if math.isnan(claim.relative_pct) and claim.relative_refused:
        remarks.append(f"relative gain: {claim.relative_refused}")
    relative = (
        pp_cell(math.nan)
        if math.isnan(claim.relative_pct)
        else gain_cell(claim.relative_pct, claim.relative_low_pct, claim.relative_high_pct, 1)
    )
    return [
        text_cell(claim.label, "strong"),
        text_cell(board.short or board.family),
        gain_cell(claim.gain_pp, claim.gain_low_pp, claim.gain_high_pp, 2),
        gain_cell(claim.parsed_gain_pp, claim.parsed_low_pp, claim.parsed_high_pp, 2),
        gain_cell(claim.self_check_gain_pp, claim.self_check_low_pp, claim.self_check_high_pp, 2),
        relative,
        text_cell("; ".join(remark for remark in remarks if remark)),
    ]
