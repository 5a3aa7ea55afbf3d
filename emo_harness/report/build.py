"""Building a report: from what was read of run folders to everything it may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emo_harness.effects import MARGIN_PP
from emo_harness.report.ablation import ablations
from emo_harness.report.contents import ReportContents
from emo_harness.report.decoded import decoded_depths
from emo_harness.report.effect_table import effect_rows
from emo_harness.report.family_claims import family_claims
from emo_harness.report.flips import flip_table, most_flipped
from emo_harness.report.groups import groups_of
from emo_harness.report.leaderboard import leaderboard
from emo_harness.report.repeated import repeated_remarks
from emo_harness.report.visual import visual_effects
from emo_harness.runs import RunsRead


@dataclass(frozen=True)
class Report:
    """What a report shows, and the table of all flips, which goes into a file of its own."""

    contents: ReportContents
    flips: pd.DataFrame


def build(
    read: RunsRead,
    run_folders: Sequence[Path] = (),
    margin_pp: float = MARGIN_PP,
    command: str = "",
) -> Report:
    """Make a report.

    Args:
        read: what `runs.read_runs` gave.
        run_folders: where sections look for `posthoc/` files.
        margin_pp: the largest gain that is still called no difference, percentage points.
        command: the command line that asked for the report.
    """
    groups = groups_of(read.scores)
    claims = family_claims(groups, margin_pp)
    flips = flip_table(groups)
    contents = ReportContents(
        rows=tuple(effect_rows(groups, claims)),
        claims=tuple(claims),
        leaderboard=tuple(leaderboard(groups, claims)),
        flips=tuple(most_flipped(groups)),
        n_flips=len(flips),
        ablations=tuple(ablations(claims)),
        facts=tuple(read.facts),
        margin_pp=margin_pp,
        remarks=(*read.remarks, *repeated_remarks(groups)),
        run_folders=tuple(run_folders),
        command=command,
        decoded=decoded_depths(groups, margin_pp),
        visual=visual_effects(groups, margin_pp),
    )
    return Report(contents, flips)
