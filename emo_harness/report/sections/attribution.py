"""Attribution: which words of the prompts move the answer."""

from __future__ import annotations

from emo_harness.report.attribution import Attribution, section_blocks
from emo_harness.report.blocks import Block, Prose, Section
from emo_harness.report.contents import ReportContents
from emo_harness.report.posthoc import read_posthoc

ORDER = 86

INTRO = (
    "Which words of a prompt move the answer: for every word, by how much the log-probability of "
    "the target answer rises or falls with it. Blue on a solid line raises, orange on a dotted "
    "line lowers, a stronger colour on a thicker line does so more; the stimulus is framed. "
    "Methods without a sign tell only how much a word matters, not which way: their words are "
    "shaded purple. A colour means the same in all prompts shown by one method. Point at a word "
    "for its number."
)
LIMITS = Prose(
    "What this may not be used for:",
    "note",
    (
        "Leaving a word out is exact for the removal of that one word, and for nothing else: words "
        "that stand in for one another each seem idle, and a prompt with a gap may be one the "
        "model has seldom seen. The other methods do not even remove the word; they estimate.",
        "None of this is causal mediation: it tells which words the answer depends on, not by "
        "which way inside the model, nor that emotion is why. Compare with the placebos' words.",
        "Words of a prompt that flipped were chosen because it flipped: read them as examples. "
        "What holds on average stands under top words and shares.",
    ),
)


def section(contents: ReportContents) -> Section | None:
    """Build the section, where `emo attribute` was run."""
    blocks: list[Block] = []
    found = read_posthoc(contents.run_folders, "attribution", Attribution)
    for number, one in enumerate(found):
        blocks += section_blocks(one, f"attribution-{number}")
    if not blocks:
        return None
    return Section("attribution", "Which words matter", INTRO, [*blocks, LIMITS])
