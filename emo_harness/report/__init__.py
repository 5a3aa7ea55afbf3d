"""Reports: from run folders to a page that a person can read and tables that a script can load."""

from emo_harness.report.build import Report, build
from emo_harness.report.contents import ReportContents
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.effect_text import markdown
from emo_harness.report.exports import write_report
from emo_harness.report.page import write_page

__all__ = [
    "EffectRow",
    "Report",
    "ReportContents",
    "build",
    "markdown",
    "write_page",
    "write_report",
]
