"""Geometry: what probes found inside the models of these runs."""

from __future__ import annotations

from emo_harness.report.blocks import Block, Section
from emo_harness.report.contents import ReportContents
from emo_harness.report.geometry import GeometryNumbers, section_blocks
from emo_harness.report.posthoc import read_posthoc

ORDER = 82

INTRO = (
    "Valence and arousal inside the model, before any question of the run: where words of emotion "
    "lie in its activations, and how well probes read them on words and templates they never saw, "
    "beside controls that know no emotion. Nothing here says that what can be read is used."
)


def section(contents: ReportContents) -> Section | None:
    """Build the section, where `emo probe plot --run` was run."""
    blocks: list[Block] = []
    for number, one in enumerate(read_posthoc(contents.run_folders, "geometry", GeometryNumbers)):
        blocks += section_blocks(one, f"geometry-{number}")
    return Section("geometry", "Inside the model", INTRO, blocks) if blocks else None
