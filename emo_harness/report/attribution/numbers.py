"""What `attribution.json` holds, as `emo attribute` writes it; None is unknown. Unit: nats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from emo_harness.validation import Strict

Method = Literal[
    "leave-one-out",
    "integrated-gradients",
    "gradient-x-input",
    "gradient-norm",
    "attention-rollout",
]
Number = float | None
# Estimate, low, high of a 95% interval.
Bounds = Annotated[list[Number], Field(min_length=3, max_length=3)]


class StimulusShare(Strict):
    """How much of all |contribution| over a prompt's words falls on the stimulus.

    Attributes:
        equal_share: what it would be if every word had the same.
    """

    family: str
    method: Method
    subtask: str
    n: int
    share: Bounds
    equal_share: Number = None


class WholeStimulus(Strict):
    """What a stimulus adds as a whole: the target's log-probability with it minus under control.

    Attributes:
        arm: None is the mean over the family's arms.
    """

    family: str
    arm: str | None
    subtask: str
    n: int
    contribution: Bounds


class StimulusWord(Strict):
    """One word of one stimulus: its mean contribution over `n` questions."""

    family: str
    arm: str
    position: int
    word: str
    subtask: str
    method: Method
    n: int
    contribution: Bounds


class TopWord(Strict):
    """A word wherever a family's stimuli hold it: `n_arms` of them, `n` questions."""

    family: str
    word: str
    method: Method
    n_arms: int
    n: int
    contribution: Bounds
    q: Number


class AttributedGroup(Strict):
    """One model, benchmark, mode, placement and family that the task was run with."""

    model: str
    benchmark: str
    mode: str
    placement: str
    asked: str
    n_questions: int
    n_prompts: int
    shares: list[StimulusShare]
    whole: list[WholeStimulus] = Field(default_factory=list)
    words: list[StimulusWord]
    top_words: list[TopWord]


class RankAgreement(Strict):
    """Mean over questions, and their prompts, of a Spearman correlation over a prompt's words."""

    method: Method
    n_prompts: int
    rank: Bounds


class Convergence(Strict):
    """Of integrated gradients: prompts, those that never settled, and steps taken."""

    n: int
    n_unconverged: int
    steps: dict[str, int]
    largest_delta: Number


class Piece(Strict):
    """A stretch of a prompt; all of them joined are the prompt.

    Attributes:
        text: "" for a special token that the tokenizer adds.
    """

    text: str
    role: Literal["stimulus", "prompt", "special", "space"]
    scores: dict[Method, Number]


class AttributedSide(Strict):
    """A prompt of one arm, and what was answered to it.

    Attributes:
        agreement: rank agreement with leave-one-word-out in this prompt.
        converged: of integrated gradients; None where they were not taken.
    """

    log_probability: Number
    score: Number
    answer: str | None
    agreement: dict[Method, Number]
    converged: bool | None
    pieces: list[Piece]


class Skipped(Strict):
    """Prompts that were left out, by why."""

    too_long: int
    without_target: int
    stimulus_not_found: int


class ShownFlip(Strict):
    """One question under control and under a stimulus."""

    benchmark: str
    subtask: str
    doc_id: int
    kind: Literal["fixed", "broke", "chosen"]
    family: str
    arm: str
    stimulus_text: str
    target: str
    control: AttributedSide
    arm_side: AttributedSide


class Attribution(Strict):
    """`posthoc/attribution.json`, as `emo attribute` writes it.

    Attributes:
        model: read in; `is_same_model` whether it made the run's scores.
        forced: what differs from the run, where `--force` was given.
        baseline: of integrated gradients.
        n_flips: how many the run has, of which some are shown.
        unknown: why a method has no scores, by method.
        randomised: agreement with the same model with random weights; near zero is right.
    """

    schema_version: Literal[1]
    model: str
    is_same_model: bool
    forced: str | None
    methods: Annotated[list[Method], Field(min_length=1)]
    baseline: str | None
    seed: int
    n_questions: int
    n_flips: int | None = None
    skipped: Skipped | None = None
    unknown: dict[str, str] = Field(default_factory=dict)
    groups: list[AttributedGroup]
    agreement: list[RankAgreement]
    convergence: Convergence | None
    randomised: list[RankAgreement]
    shown: list[ShownFlip]
