"""What a report is made of, before any of it is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emo_harness.report.ablation import AblationRow
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.flips import Flip
from emo_harness.report.leaderboard import LeaderboardRow

if TYPE_CHECKING:
    from emo_harness.report.decoded import DecodedDepth
    from emo_harness.report.visual import VisualEffects
    from emo_harness.runs import RunFacts


@dataclass(frozen=True)
class ReportContents:
    """Everything the sections may show.

    Attributes:
        rows: every effect, see `effect_table`.
        claims: one per model, benchmark, mode, placement and family.
        leaderboard: the same claims as boards.
        flips: at most a few hundred; `n_flips` is how many there are.
        ablations: empty unless runs differ in a factor.
        facts: one per results file.
        margin_pp: the largest gain still called no difference.
        remarks: what was merged or left out, one sentence each.
        run_folders: where a section finds `posthoc/` files.
        command: the command line that made this report.
        decoded: what decoded stimuli do by layer; empty unless there are some.
        visual: what families of images do; empty unless there are some.
    """

    rows: tuple[EffectRow, ...]
    claims: tuple[FamilyClaim, ...]
    leaderboard: tuple[LeaderboardRow, ...]
    flips: tuple[Flip, ...]
    n_flips: int
    ablations: tuple[AblationRow, ...]
    facts: tuple[RunFacts, ...]
    margin_pp: float
    remarks: tuple[str, ...]
    run_folders: tuple[Path, ...]
    command: str
    decoded: tuple[DecodedDepth, ...] = ()
    visual: tuple[VisualEffects, ...] = ()
