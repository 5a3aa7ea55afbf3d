"""Image sets: what encoders see in the images that were shown."""

from __future__ import annotations

from emo_harness.report.blocks import Block, Section
from emo_harness.report.contents import ReportContents
from emo_harness.report.images import ImageCheckNumbers, section_blocks
from emo_harness.report.images.page import INTRO
from emo_harness.report.posthoc import read_posthoc

ORDER = 88


def section(contents: ReportContents) -> Section | None:
    """Build the section, where `emo images check --run` was run."""
    blocks: list[Block] = []
    for number, one in enumerate(read_posthoc(contents.run_folders, "images", ImageCheckNumbers)):
        blocks += section_blocks(one, f"images-{number}")
    return Section("images", "The images, checked", INTRO, blocks) if blocks else None
