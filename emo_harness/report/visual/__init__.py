"""Images as stimuli in a report: effects by what they show, and against their controls."""

from emo_harness.report.visual.effects import (
    CombinedRow,
    Contrast,
    VisualEffects,
    VisualRow,
    visual_effects,
)

__all__ = ["CombinedRow", "Contrast", "VisualEffects", "VisualRow", "visual_effects"]
