"""Verdicts: what may be said, one sentence per model and family."""

from __future__ import annotations

import math
from dataclasses import fields

from emo_harness.effects.verdict import FEWEST_STIMULI
from emo_harness.report import verdict_words
from emo_harness.report.blocks import Block, Prose, Raw, Section, Verdict, Verdicts
from emo_harness.report.boards import boards, typical_half_widths
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.contents import ReportContents
from emo_harness.report.numerals import count, decimals_for, gain, interval, percent
from emo_harness.report.plain_text import slug
from emo_harness.stimuli import VISUAL

ORDER = 10

INTRO = (
    "Gain is accuracy under the stimuli minus accuracy of the untouched prompt (control), "
    "paired by question, in percentage points (pp), with its 95% interval in brackets. The "
    "badge is the verdict on these stimuli. A claim about emotion needs two more things: the "
    "gain against the neutral placebos, and the verdict on stimuli like these."
)
LIMITED = (
    "NOT FOR REPORTING: a part of the questions was asked (--limit or --samples). "
    "Use this page to see that everything works, never as a result."
)


DECODED = (
    "Decoded families are claims like all others and are corrected with them. Where their stimuli "
    "are meta prompts of several layers, nothing is claimed of stimuli like these: layers are "
    "not drawn by chance, as sentences of a kind may be. Whether depth matters is tested under "
    "Decoded stimuli."
)
LAYERS = "Layers are not a sample of sentences: see the trend under Decoded stimuli."
NO_STIMULUS = (
    "No stimulus was asked, only placebos, so there is nothing to give a verdict on. How the "
    "placebos' accuracy differs from that of control is under Validity."
)


def section(contents: ReportContents) -> Section | None:
    """Build the section."""
    if not contents.claims and not contents.rows:
        return None
    blocks: list[Block] = []
    limited = [*(c.limited for c in contents.claims), *(r.limited for r in contents.rows)]
    if any(limited):
        blocks.append(Prose(LIMITED, "warning"))
    if not contents.claims:
        return Section("verdicts", "Verdicts", INTRO, [*blocks, Prose(NO_STIMULUS)])
    decimals = decimals_for(typical_half_widths(contents.claims))
    found = boards(contents)
    for number, board in enumerate(found):
        heading = board.title if number == 0 or len(found) > 1 else ""
        verdicts = [_verdict(claim, decimals) for claim in board.claims]
        blocks.append(Verdicts(f"verdicts-{slug(board.title)}-{number}", heading, verdicts))
    flagged = [
        f"{claim.label}, {claim.family}: {claim.parsing_flag}"
        for claim in contents.claims
        if claim.parsing_flag
    ]
    if flagged:
        blocks.append(
            Prose(
                "Parsing differs between the arms, so the gain may be one of format, not ability:",
                "warning",
                flagged,
            )
        )
    blocks.append(Prose(_corrected(contents), "note"))
    if contents.decoded:
        blocks.append(Prose(DECODED, "note"))
    return Section("verdicts", "Verdicts", INTRO, blocks)


def _corrected(contents: ReportContents) -> str:
    n = len(contents.claims)
    corrected = f", corrected for these {n} claims together (Holm)" if n > 1 else ""
    return (
        f"Verdicts are at 5%{corrected}. Margin: gains within "
        f"{contents.margin_pp:g} pp of zero count as no difference, and “no difference larger than "
        "the margin” is a finding (two one-sided tests), not a failure to find one."
    )


def _verdict(claim: FamilyClaim, decimals: int) -> Verdict:
    return Verdict(
        about=f"{claim.label} · {claim.family}",
        word=claim.verdict,
        tone=verdict_words.tone(claim.verdict),
        sentence=_sentence(claim, decimals),
        beyond=_beyond(claim, decimals),
        numbers=_numbers(claim),
    )


def _sentence(claim: FamilyClaim, decimals: int) -> str:
    subtasks = f" of {claim.n_subtasks} subtasks" if claim.n_subtasks > 1 else ""
    stimuli = f"{claim.n_stimuli} stimuli" if claim.n_stimuli > 1 else "1 stimulus"
    if not claim.n_questions:
        asked = f" of {count(claim.n_lost)}" if claim.n_lost else ""
        return f"No question{asked}{subtasks} has a score under control and all of {stimuli}."
    questions = f"{count(claim.n_questions)} question" + ("s" if claim.n_questions != 1 else "")
    lost = f", {count(claim.n_lost)} left out for a missing score" if claim.n_lost else ""
    told = (
        f"{gain(claim.gain_pp, claim.gain_low_pp, claim.gain_high_pp, decimals)} pp over {stimuli} "
        f"(n = {questions}{subtasks}{lost}; control {percent(claim.control_pct)}% right; margin "
        f"{claim.margin_pp:g} pp)"
    )
    shows, says = _shows(claim.family)
    if math.isnan(claim.placebo_gain_pp):
        no = "no placebo shows an image with a sentence" if shows and says else ""
        no = no or f"no neutral {'twin' if shows else 'placebo'} was asked"
        return f"{told}; {no}."
    against = gain(claim.placebo_gain_pp, claim.placebo_low_pp, claim.placebo_high_pp, decimals)
    held = "images with a neutral twin over it" if shows else "against the neutral placebos"
    return f"{told}; {held} {against} pp."


def _shows(family: str) -> tuple[bool, bool]:
    """Whether stimuli of the family show an image, and whether they say something."""
    visual = [part.startswith(VISUAL) for part in family.split("+")]
    return any(visual), not all(visual)


def _beyond(claim: FamilyClaim, decimals: int) -> str:
    if claim.is_over_layers:
        return LAYERS
    if claim.n_stimuli < 2:
        return "Stimuli like these: unknown, as one stimulus tells nothing of others."
    few = claim.n_stimuli < FEWEST_STIMULI
    told = f"; fewer than {FEWEST_STIMULI} stimuli do not carry a claim about others"
    closing = f"{told if few else ''}."
    if math.isnan(claim.like_low_pp):
        n = claim.n_questions
        why = "1 question is too few" if n == 1 else f"{count(n)} questions are too few"
        return f"Stimuli like these: unknown, as {why}{closing}"
    like = interval(claim.like_low_pp, claim.like_high_pp, decimals)
    if claim.like_verdict == claim.verdict and verdict_words.tone(claim.verdict) != "open":
        return f"The same for stimuli like these: {like} pp{closing}"
    return f"Stimuli like these: {claim.like_verdict}; {like} pp{closing}"


def _numbers(claim: FamilyClaim) -> dict[str, Raw]:
    """All of the claim; its best and worst stimuli are numbers of their own tables."""
    return {
        field.name: getattr(claim, field.name)
        for field in fields(claim)
        if field.name not in ("best", "worst")
    }
