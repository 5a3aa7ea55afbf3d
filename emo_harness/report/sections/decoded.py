"""Decoded stimuli: what families mean inside a model, and what that does as a stimulus."""

from __future__ import annotations

from emo_harness.report.blocks import Section
from emo_harness.report.contents import ReportContents
from emo_harness.report.decoded.decode_file import DecodeFile, file_blocks
from emo_harness.report.decoded.panels import depth_panels
from emo_harness.report.posthoc import read_posthoc

ORDER = 78

MEANT = (
    "The stimuli of a family, averaged inside a model at a layer and turned into words by the "
    "model's own vocabulary, make a meta prompt. Put back into prompts as a stimulus, it should do "
    "more than random vectors turned into words, than neutral sentences treated alike, and than "
    "its own words shuffled, if its words carry what the family means. "
)
ASKED = "Whether later layers score better is tested, and “no difference” is a possible answer."
READ = "Here words were only read: no meta prompt was asked, so that nothing is tested."


def section(contents: ReportContents) -> Section | None:
    """Build the section, where decoded stimuli were asked or `emo decode --run` was used."""
    files = read_posthoc(contents.run_folders, "decode", DecodeFile)
    blocks = [*depth_panels(contents.decoded), *file_blocks(files)]
    intro = MEANT + (ASKED if contents.decoded else READ)
    return Section("decoded", "Decoded stimuli", intro, blocks) if blocks else None
