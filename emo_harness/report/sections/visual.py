"""Images: what emotional images do to scores, and whether any image would."""

from __future__ import annotations

from emo_harness.report.blocks import Section
from emo_harness.report.contents import ReportContents
from emo_harness.report.visual.panels import beside_sentences, visual_panels

ORDER = 74

INTRO = (
    "The same questions with an image beside them. An image may change answers merely by being "
    "there, so each is held against its own controls without emotion: the neutral twin shows the "
    "same scene without it, the scrambled copies have the same pixels or the same spatial "
    "frequencies and show nothing. Emotion matters only as far as an image does more than these."
)


def section(contents: ReportContents) -> Section | None:
    """Build the section, where images were asked."""
    if not contents.visual:
        return None
    blocks = [
        *visual_panels(contents.visual),
        *beside_sentences(contents.claims, contents.visual),
    ]
    return Section("visual", "Images", INTRO, blocks)
