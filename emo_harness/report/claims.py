"""Claims: what may be said of a family of stimuli, one model at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass

from emo_harness.report.board_key import BoardKey

NAN = float("nan")
# In place of a verdict on stimuli like these, where the stimuli are those of several layers.
NO_SAMPLE = "not asked, as layers are not a sample of sentences"


@dataclass(frozen=True)
class ChosenStimulus:
    """The best (or worst) stimulus: chosen on one half of the questions, estimated on the other.

    Attributes:
        chosen: the stimulus chosen on each half; two different ones show that none stands out.
        gain_pp, low_pp, high_pp: cross-fitted gain with its 95% interval.
        naive: the stimulus with the greatest (least) gain on all questions.
        naive_gain_pp: its gain there, which is too good (bad) to be true.
    """

    chosen: tuple[str, str]
    gain_pp: float
    low_pp: float
    high_pp: float
    naive: str
    naive_gain_pp: float


@dataclass(frozen=True)
class FamilyClaim:
    """A family's mean gain on all questions of a benchmark, and what may be said of it.

    Shares in per cent, gains in percentage points with 95% intervals, NaN is unknown.

    Attributes:
        label: the model's name, with what tells it apart from others of that name.
        asked: the family of the task that was run; `family` is the stimuli's own.
        n_lost: questions left out because an arm has no score there.
        gain_pp, gain_low_pp, gain_high_pp, gain_method, p, p_holm, verdict: these stimuli.
        like_low_pp, like_high_pp, like_method, like_p, like_p_holm, like_verdict: sentences like
            these, the stimulus being a second random factor (same point estimate). NaN, and
            `NO_SAMPLE` the verdict, for stimuli decoded at several layers.
        placebo_*: arm minus the mean of the neutral placebos.
        self_check_*: arm minus the self-check.
        mde_pp: gain that this many questions show with 80% power.
        best, worst: None with fewer than two stimuli.
        relative_pct: gain over control accuracy (Fieller); NaN where `relative_refused` says why.
        parsed_*: gain on questions whose answers were parsed under both arms.
        parsing_flag: "" or what is wrong.
        p_relabelled: exact p-value of no effect at all, see `effects.relabelling_test`.
        boot_*, like_boot_*: bootstrap intervals over questions, and over questions and stimuli.
        within_sd_pp: standard deviation of scores over repeats of a question; NaN without repeats.
        p_equivalence: of two one-sided t tests against the margin, see `effects.tost`.
    """

    model: str
    label: str
    revision: str
    settings: str
    benchmark: str
    mode: str
    placement: str
    asked: str
    family: str
    n_questions: int
    n_lost: int
    n_subtasks: int
    n_stimuli: int
    limited: bool
    control_pct: float
    control_low_pct: float
    control_high_pct: float
    arm_pct: float
    gain_pp: float
    gain_low_pp: float
    gain_high_pp: float
    gain_method: str
    p: float
    p_holm: float
    verdict: str
    like_low_pp: float
    like_high_pp: float
    like_method: str
    like_p: float
    like_p_holm: float
    like_verdict: str
    placebo_gain_pp: float
    placebo_low_pp: float
    placebo_high_pp: float
    self_check_gain_pp: float
    self_check_low_pp: float
    self_check_high_pp: float
    margin_pp: float
    mde_pp: float
    best: ChosenStimulus | None
    worst: ChosenStimulus | None
    relative_pct: float
    relative_low_pct: float
    relative_high_pct: float
    relative_refused: str
    parsed_gain_pp: float
    parsed_low_pp: float
    parsed_high_pp: float
    parsing_flag: str
    p_relabelled: float = NAN
    boot_low_pp: float = NAN
    boot_high_pp: float = NAN
    like_boot_low_pp: float = NAN
    like_boot_high_pp: float = NAN
    within_sd_pp: float = NAN
    p_equivalence: float = NAN

    @property
    def is_over_layers(self) -> bool:
        """Whether its stimuli are those of several layers, so that none stand for others."""
        return self.like_verdict == NO_SAMPLE

    @property
    def board(self) -> BoardKey:
        control = json.loads(self.settings).get("control_image", "")
        return BoardKey(self.benchmark, self.mode, self.placement, self.asked, control)
