"""Reports: from run folders to tables that a person can read and a script can load."""

from emo_harness.report.effect_table import EffectRow, effect_rows
from emo_harness.report.exports import markdown, write_exports

__all__ = ["EffectRow", "effect_rows", "markdown", "write_exports"]
