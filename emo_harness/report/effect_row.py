"""One row of the effect table: an arm, or the mean of several, on a subtask or on all."""

from __future__ import annotations

import json
from dataclasses import dataclass

from emo_harness.report.board_key import BoardKey

NAN = float("nan")


@dataclass(frozen=True)
class EffectRow:
    """How one arm (or the mean of several) compares with control and with its placebo.

    Shares are in per cent, gains in percentage points with 95% intervals; NaN is unknown.

    Attributes:
        label: the model's name, with the settings that tell it apart from others of that name.
        asked: the family of the task that was run: attack, prompt, negative, all.
        family: the stimuli's own family, which is another one for a user's own set.
        stimulus: arm id, "(family)" for the mean over the family's stimuli, "(theory: NAME)" for
            the mean over those of one theory, "(random: SOURCE)" and the like over the controls of
            a source's decoded stimuli (both on all questions together).
        subtask: a subtask, or "(all)" for the questions of all that were run together.
        n_subtasks: how many subtasks that is.
        kind: `family`, `theory`, `stimulus`, `placebo`, or `controls` (of decoded stimuli, mean).
        n_questions: questions scored under every arm concerned; `n_lost` others were not.
        n_stimuli: how many stimuli the row averages over.
        gain_method: how the interval was made (see `effects.Gain`).
        p: of no gain, not corrected; exact (McNemar, relabelling) where few questions differ.
        q: after Benjamini-Hochberg over the stimulus-by-subtask map of one family; NaN elsewhere.
        placebo: what `gain_vs_placebo_pp` is against: the neutral placebo nearest in length (of an
            image its own twin), or "(mean)" of the neutral ones for a mean over stimuli (of
            images those that have a twin are held against their twins).
        gain_vs_self_check_pp: against the self-check, which asks to check without affect.
        gain_parsed_pp: on answers parsed under both arms; `parsing_flag` tells an effect that
            vanishes there. NaN where the filter is not the one reported by.
        mde_pp: gain that so many questions show with 80% power.
        verdict: of a family on all its questions, as in `claims.FamilyClaim`; "" elsewhere.
        length: of the sentence, in `length_unit` (tokens of the run's tokenizer, else words);
            NaN where none was asked.
        demand: "yes" if the sentence orders to check or explain, "no", "" unknown.
        answer_chars_control, answer_chars_arm: mean length of answers, characters.
        limited: the run asked a part of the questions; not for reporting.
        settings: how the model was run, JSON.
        stimuli_sha256: content hash of all arms' stimuli.
        p_exact: McNemar's exact p-value of a single right-or-wrong arm; NaN elsewhere.
        decoded_kind: of one decoded stimulus `meta`, of its control the control's kind, "" else;
            `decoded_source`, `decoded_in`, `decoded_layer`, `decoded_draw` tell which.
        image_concept, image_level, image_arousal: what the image of a single arm shows; "" where
            it has none, or none is known.
    """

    model: str
    label: str
    benchmark: str
    mode: str
    placement: str
    asked: str
    family: str
    stimulus: str
    subtask: str
    kind: str
    metric: str
    filter: str
    primary: bool
    n_subtasks: int
    n_questions: int
    n_lost: int
    n_stimuli: int
    control_pct: float
    arm_pct: float
    gain_pp: float
    gain_low_pp: float
    gain_high_pp: float
    gain_method: str
    n_differing: int
    p: float
    q: float
    placebo: str
    gain_vs_placebo_pp: float
    gain_vs_placebo_low_pp: float
    gain_vs_placebo_high_pp: float
    gain_vs_self_check_pp: float
    gain_vs_self_check_low_pp: float
    gain_vs_self_check_high_pp: float
    gain_parsed_pp: float
    gain_parsed_low_pp: float
    gain_parsed_high_pp: float
    parsing_flag: str
    mde_pp: float
    verdict: str
    unparsed_control_pct: float
    unparsed_arm_pct: float
    truncated_control_pct: float
    truncated_arm_pct: float
    refused_control_pct: float
    refused_arm_pct: float
    answer_chars_control: float
    answer_chars_arm: float
    length: float
    length_unit: str
    theory: str
    demand: str
    arousal_rank: float
    limited: bool
    text: str
    settings: str
    stimuli_sha256: str
    p_exact: float = NAN
    decoded_kind: str = ""
    decoded_source: str = ""
    decoded_in: str = ""
    decoded_layer: float = NAN
    decoded_draw: float = NAN
    image_concept: str = ""
    image_level: str = ""
    image_arousal: str = ""

    @property
    def board(self) -> BoardKey:
        control = json.loads(self.settings).get("control_image", "")
        return BoardKey(self.benchmark, self.mode, self.placement, self.asked, control)

    @property
    def is_decoded_control(self) -> bool:
        """Whether it is one of the many single controls of decoded stimuli."""
        return self.kind == "placebo" and self.decoded_kind != ""
