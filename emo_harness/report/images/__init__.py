"""Image checks as a part of a page: what `images.json` holds, and its blocks."""

from emo_harness.report.images.numbers import ImageCheckNumbers
from emo_harness.report.images.page import about, checks_page, section_blocks
from emo_harness.report.images.verdicts import sentences, varies, warnings

__all__ = [
    "ImageCheckNumbers",
    "about",
    "checks_page",
    "section_blocks",
    "sentences",
    "varies",
    "warnings",
]
