"""Attribution as pictures: what `attribution.json` holds, as blocks of a page."""

from emo_harness.report.attribution.numbers import Attribution
from emo_harness.report.attribution.page import section_blocks

__all__ = ["Attribution", "section_blocks"]
