"""The blocks of one attribution: warnings, verdicts on methods, flips, stimuli, words, shares."""

from __future__ import annotations

from emo_harness.report.attribution.flip_pictures import flip_pictures
from emo_harness.report.attribution.methods import METHODS, REFERENCE, bounds, in_order
from emo_harness.report.attribution.numbers import (
    AttributedGroup,
    Attribution,
    Method,
    RankAgreement,
    Skipped,
)
from emo_harness.report.attribution.shares import stimulus_shares
from emo_harness.report.attribution.stimulus_pictures import stimulus_pictures
from emo_harness.report.attribution.top_words import top_words
from emo_harness.report.attribution.verdicts import agreement_words, change_words, sentences
from emo_harness.report.attribution.whole_stimuli import whole_stimuli
from emo_harness.report.blocks import Block, Cell, Column, Prose, Table
from emo_harness.report.boards import MODES
from emo_harness.report.numerals import UNKNOWN, count, counted, gain_cell, text_cell
from emo_harness.report.plain_text import slug

SANITY_COLUMNS = (
    Column("method"),
    Column("prompts", numeric=True),
    Column(
        "agreement",
        "rank correlation with leave-one-word-out over a prompt's words, of methods without sign "
        "with its size",
        numeric=True,
    ),
    Column("read as"),
    Column("prompts, random weights", numeric=True),
    Column(
        "agreement, random weights",
        "rank correlation with the same model with random weights; near 0 is right",
        numeric=True,
    ),
    Column("changes with the weights"),
)


def section_blocks(one: Attribution, prefix: str) -> list[Block]:
    """Everything a page shows of one file.

    Args:
        prefix: of every id.
    """
    models = list(dict.fromkeys(group.model for group in one.groups))
    blocks: list[Block] = [*_warnings(one, models)]
    blocks.append(Prose(_read(one), items=sentences(one)))
    flips = flip_pictures(one, prefix)
    if flips is not None:
        blocks.append(flips)
    for number, group in enumerate(one.groups):
        about = _about(group, len(models) > 1)
        name = f"{prefix}-{number}-{slug(about)}"
        blocks += whole_stimuli(group, about, name)
        blocks += top_words(group, about, name)
        stimuli = stimulus_pictures(group, about, name)
        if stimuli is not None:
            blocks.append(stimuli)
        blocks += stimulus_shares(group, about, name)
    if one.agreement or one.randomised:
        blocks.append(_sanity(one, f"{prefix}-sanity"))
    return blocks


def _warnings(one: Attribution, models: list[str]) -> list[Block]:
    warnings: list[Block] = []
    if not one.is_same_model:
        asked = ", ".join(models) or "the model of the run"
        told = (
            f"The scores are those of {asked}, the contributions those inside {one.model}: they "
            "tell what moves that model, not why the model asked answered as it did."
        )
        warnings.append(Prose(told, "warning"))
    if one.forced:
        warnings.append(
            Prose(f"Forced, though the run was made otherwise: {one.forced}", "warning")
        )
    return warnings


def _read(one: Attribution) -> str:
    n_prompts = sum(group.n_prompts for group in one.groups)
    baseline = (
        f" Integrated gradients start from {_baseline(one.baseline)}."
        if one.baseline and "integrated-gradients" in one.methods
        else ""
    )
    return (
        f"{counted(one.n_questions, 'question')}, {counted(n_prompts, 'prompt')}, sampled with "
        f"seed {one.seed}, read in {one.model}.{_skipped(one.skipped)}{baseline} How far each "
        "method may be trusted here:"
    )


def _skipped(found: Skipped | None) -> str:
    if found is None:
        return ""
    why = (
        (found.too_long, "longer than the model's context or cut by the run"),
        (found.without_target, "without a target"),
        (found.stimulus_not_found, "in which the stimulus was not found"),
    )
    told = [f"{count(n)} {reason}" for n, reason in why if n]
    return f" Prompts left out: {', '.join(told)}." if told else ""


def _baseline(name: str) -> str:
    known = {
        "mean": "the mean input embedding in place of every token but special ones",
        "placebo": "a placebo's mean input embedding in place of the stimulus, so that other words "
        "have none",
    }
    return known.get(name, name)


def _about(group: AttributedGroup, with_model: bool) -> str:
    parts = (group.benchmark, group.asked, MODES.get(group.mode, group.mode), group.placement)
    asked = ", ".join(dict.fromkeys(part for part in parts if part))
    return f"{group.model} on {asked}" if with_model else asked


def _sanity(one: Attribution, name: str) -> Table:
    agreement = {row.method: row for row in one.agreement}
    random = {row.method: row for row in one.randomised}
    rows = [
        _sanity_row(method, agreement.get(method), random.get(method))
        for method in in_order([*one.methods, *agreement, *random])
    ]
    return Table(name, "How far each method may be trusted", SANITY_COLUMNS, rows)


def _sanity_row(
    method: Method, agreement: RankAgreement | None, random: RankAgreement | None
) -> list[Cell]:
    is_reference = method == REFERENCE
    return [
        text_cell(METHODS[method].name, "strong"),
        Cell(agreement.n_prompts, count(agreement.n_prompts)) if agreement else _unknown(),
        _rank_cell(None if is_reference else agreement),
        text_cell("the reference" if is_reference else agreement_words(agreement)),
        Cell(random.n_prompts, count(random.n_prompts)) if random else _unknown(),
        _rank_cell(random),
        text_cell(change_words(random)),
    ]


def _rank_cell(found: RankAgreement | None) -> Cell:
    if found is None:
        return _unknown()
    value, low, high = bounds(found.rank)
    return gain_cell(value, low, high, 2)


def _unknown() -> Cell:
    return Cell(None, UNKNOWN)
