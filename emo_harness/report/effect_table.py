"""The effect table: one row per model, benchmark, family, stimulus and subtask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects import Gain, paired_gain
from emo_harness.prompt_tokens import PromptLimit, PromptTokens
from emo_harness.runs import ArmScores, RunArm

ALL_SUBTASKS = "(all)"
FAMILY_MEAN = "(family)"


@dataclass(frozen=True)
class EffectRow:
    """How one arm (or a family's mean) compares with control and with its placebo.

    Shares are in per cent, gains in percentage points with 95% intervals; NaN is unknown.

    Attributes:
        asked: the family of the task that was run: attack, prompt, negative, all.
        family: the stimuli's own family, which is another one for a user's own set.
        stimulus: arm id, or "(family)" for the mean over the family's stimuli.
        subtask: a subtask, or "(all)" for the questions of all that were run together.
        n_subtasks: how many subtasks that is.
        kind: `family`, `stimulus` or `placebo`.
        n_stimuli: how many stimuli the row averages over.
        gain_method: how the interval was made (see `effects.paired_gain`).
        placebo: what `gain_vs_placebo_pp` is against: the neutral placebo nearest in length, or
            "(mean)" of the neutral ones for a family.
        length: of the stimulus, in `length_unit` (tokens of the run's tokenizer, else words).
        limited: the run asked a part of the questions; not for reporting.
        settings: how the model was run, JSON.
        stimuli_sha256: content hash of all arms' stimuli.
    """

    model: str
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
    n_stimuli: int
    control_pct: float
    arm_pct: float
    gain_pp: float
    gain_low_pp: float
    gain_high_pp: float
    gain_method: str
    n_differing: int
    placebo: str
    gain_vs_placebo_pp: float
    gain_vs_placebo_low_pp: float
    gain_vs_placebo_high_pp: float
    unparsed_control_pct: float
    unparsed_arm_pct: float
    truncated_control_pct: float
    truncated_arm_pct: float
    length: float
    length_unit: str
    limited: bool
    text: str
    settings: str
    stimuli_sha256: str


@dataclass(frozen=True)
class _Block:
    """Scores to be compared: a subtask, or every subtask of a benchmark on top of each other."""

    head: ArmScores
    subtask: str
    n_subtasks: int
    scores: NDArray[np.float64]
    unparsed: NDArray[np.bool_]
    truncated: NDArray[np.bool_] | None
    limited: bool


def effect_rows(scores: Iterable[ArmScores]) -> list[EffectRow]:
    """Every row, benchmarks together first, then subtask by subtask.

    Args:
        scores: what `runs.read_scores` gave; only equal models, settings, arms, metrics and
            filters are put together.
    """
    groups: dict[tuple[str, ...], list[ArmScores]] = {}
    for item in scores:
        key = (
            item.model,
            item.benchmark,
            item.mode,
            item.family,
            item.placement,
            item.stimuli_sha256,
            json.dumps(item.settings, sort_keys=True),
            item.metric,
            item.filter,
        )
        groups.setdefault(key, []).append(item)
    rows: list[EffectRow] = []
    for group in groups.values():
        lengths = _Lengths(group[0].limit, group[0].arms)
        blocks = [_stacked(group)]
        if len(group) > 1:
            blocks += [_stacked([item]) for item in group]
        for block in blocks:
            rows.extend(_rows_of(block, lengths))
    return rows


def _stacked(group: Sequence[ArmScores]) -> _Block:
    cut = [item.truncated for item in group]
    known = [c for c in cut if c is not None]
    return _Block(
        head=group[0],
        subtask=ALL_SUBTASKS if len(group) > 1 else group[0].subtask,
        n_subtasks=len(group),
        scores=np.concatenate([item.scores for item in group]),
        unparsed=np.concatenate([item.unparsed for item in group]),
        truncated=np.concatenate(known) if len(known) == len(cut) else None,
        limited=any(item.limited for item in group),
    )


class _Lengths:
    """Lengths of the arms' sentences, to find the placebo nearest to a stimulus."""

    def __init__(self, limit: PromptLimit | None, arms: Sequence[RunArm]) -> None:
        tokens = PromptTokens.for_limit(limit)
        self.unit = "tokens" if tokens else "words"
        self._of = {
            arm.id: tokens.count(arm.text, special=False) if tokens else len(arm.text.split())
            for arm in arms
        }

    def __getitem__(self, arm_id: str) -> int:
        return self._of[arm_id]


def _rows_of(block: _Block, lengths: _Lengths) -> Iterator[EffectRow]:
    arms = block.head.arms
    neutral = [i for i, a in enumerate(arms) if a.placebo == "neutral"]
    families: dict[str, list[int]] = {}
    for i, arm in enumerate(arms):
        if arm.kind == "stimulus":
            families.setdefault(arm.family, []).append(i)
    for family, members in families.items():
        yield _row(block, lengths, members, neutral, family, FAMILY_MEAN, "family")
        for i in members:
            nearest = _nearest(i, neutral, arms, lengths)
            yield _row(block, lengths, [i], nearest, family, arms[i].id, "stimulus")
    for i, arm in enumerate(arms):
        if arm.kind == "placebo":
            yield _row(block, lengths, [i], [], arm.family, arm.id, "placebo")


def _nearest(
    i: int, neutral: Sequence[int], arms: Sequence[RunArm], lengths: _Lengths
) -> list[int]:
    """The neutral placebo nearest in length; the shorter one of two at equal distance."""
    length = lengths[arms[i].id]
    by_distance = sorted(
        neutral, key=lambda j: (abs(lengths[arms[j].id] - length), lengths[arms[j].id])
    )
    return by_distance[:1]


def _row(
    block: _Block,
    lengths: _Lengths,
    members: Sequence[int],
    placebos: Sequence[int],
    family: str,
    stimulus: str,
    kind: str,
) -> EffectRow:
    head, arms = block.head, block.head.arms
    arm = block.scores[:, members].mean(axis=1)
    control = block.scores[:, 0]
    gain = paired_gain(arm, control)
    unknown = Gain(0, 0, float("nan"), float("nan"), float("nan"), "none")
    against = paired_gain(arm, block.scores[:, placebos].mean(axis=1)) if placebos else unknown
    single = kind != "family"
    return EffectRow(
        model=head.model,
        benchmark=head.benchmark,
        mode=head.mode,
        placement=head.placement,
        asked=head.family,
        family=family,
        stimulus=stimulus,
        subtask=block.subtask,
        kind=kind,
        metric=head.metric,
        filter=head.filter,
        primary=head.primary,
        n_subtasks=block.n_subtasks,
        n_questions=gain.n,
        n_stimuli=len(members),
        control_pct=100 * float(control.mean()),
        arm_pct=100 * float(arm.mean()),
        gain_pp=gain.mean_pp,
        gain_low_pp=gain.low_pp,
        gain_high_pp=gain.high_pp,
        gain_method=gain.method,
        n_differing=gain.n_differing,
        placebo="" if not placebos else arms[placebos[0]].id if single else "(mean)",
        gain_vs_placebo_pp=against.mean_pp,
        gain_vs_placebo_low_pp=against.low_pp,
        gain_vs_placebo_high_pp=against.high_pp,
        unparsed_control_pct=_share_pct(block.unparsed, [0]),
        unparsed_arm_pct=_share_pct(block.unparsed, members),
        truncated_control_pct=_share_pct(block.truncated, [0]),
        truncated_arm_pct=_share_pct(block.truncated, members),
        length=float(np.mean([lengths[arms[i].id] for i in members])),
        length_unit=lengths.unit,
        limited=block.limited,
        text=arms[members[0]].text if single else "",
        settings=json.dumps(head.settings, sort_keys=True),
        stimuli_sha256=head.stimuli_sha256,
    )


def _share_pct(flags: NDArray[np.bool_] | None, members: Sequence[int]) -> float:
    return float("nan") if flags is None else 100 * float(flags[:, members].mean())
