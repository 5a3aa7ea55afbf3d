"""Pictures: what emotional images do to scores, and whether any picture would."""

from __future__ import annotations

from emo_harness.report.blocks import Section
from emo_harness.report.contents import ReportContents
from emo_harness.report.visual.panels import beside_sentences, visual_panels

ORDER = 74

INTRO = (
    "The same questions with a picture beside them. A picture may change answers merely by being "
    "there, so each is held against pictures without emotion: the neutral twin shows the same "
    "scene without it, the scrambled copies have the same pixels or the same spatial frequencies "
    "and show nothing. Emotion matters only as far as a picture does more than these."
)


def section(contents: ReportContents) -> Section | None:
    """Build the section, where pictures were asked."""
    if not contents.visual:
        return None
    blocks = [
        *visual_panels(contents.visual),
        *beside_sentences(contents.claims, contents.visual),
    ]
    return Section("visual", "Pictures", INTRO, blocks)
