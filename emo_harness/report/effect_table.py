"""The effect table: one row per model, benchmark, family, stimulus and subtask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emo_harness.effects import Gain, benjamini_hochberg, mcnemar
from emo_harness.report.board_key import BoardKey
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.groups import ALL_SUBTASKS, Group
from emo_harness.report.scope import Comparison, Scope, scopes_of
from emo_harness.runs import RunArm

__all__ = ["ALL_SUBTASKS", "FAMILY_MEAN", "EffectRow", "effect_rows", "theory_name"]

FAMILY_MEAN = "(family)"
NAN = float("nan")
_DEMAND = {True: "yes", False: "no", None: ""}


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
        placebo: what `gain_vs_placebo_pp` is against: the neutral placebo nearest in length, or
            "(mean)" of the neutral ones for a mean over stimuli.
        gain_vs_self_check_pp: against the self-check, which asks to check without affect.
        gain_parsed_pp: on answers parsed under both arms; `parsing_flag` tells an effect that
            vanishes there. NaN where the filter is not the one reported by.
        mde_pp: gain that so many questions show with 80% power.
        verdict: of a family on all its questions, as in `claims.FamilyClaim`; "" elsewhere.
        length: of the stimulus, in `length_unit` (tokens of the run's tokenizer, else words).
        demand: "yes" if the sentence orders to check or explain, "no", "" unknown.
        answer_chars_control, answer_chars_arm: mean length of answers, characters.
        limited: the run asked a part of the questions; not for reporting.
        settings: how the model was run, JSON.
        stimuli_sha256: content hash of all arms' stimuli.
        p_exact: McNemar's exact p-value of a single right-or-wrong arm; NaN elsewhere.
        decoded_kind: of one decoded stimulus `meta`, of its control the control's kind, "" else;
            `decoded_source`, `decoded_in`, `decoded_layer`, `decoded_draw` tell which.
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

    @property
    def board(self) -> BoardKey:
        return BoardKey(self.benchmark, self.mode, self.placement, self.asked)

    @property
    def is_decoded_control(self) -> bool:
        """Whether it is one of the many single controls of decoded stimuli."""
        return self.kind == "placebo" and self.decoded_kind != ""


def effect_rows(groups: Iterable[Group], claims: Iterable[FamilyClaim] = ()) -> list[EffectRow]:
    """Every row: group by group, all subtasks together first, then subtask by subtask.

    Args:
        groups: of all runs in the report.
        claims: made of the same groups; their verdicts go into the families' rows.
    """
    verdicts = {(claim.label, claim.board, claim.family): claim.verdict for claim in claims}
    return [row for group in groups for row in _rows_of_group(group, verdicts)]


def theory_name(theory: str) -> str:
    return f"(theory: {theory})"


Verdicts = Mapping[tuple[str, BoardKey, str], str]


def _rows_of_group(group: Group, verdicts: Verdicts) -> list[EffectRow]:
    rows = [row for scope in scopes_of(group) for row in _rows_of_scope(scope, verdicts)]
    return _with_q(rows, group.subtask)


def _rows_of_scope(scope: Scope, verdicts: Verdicts) -> list[EffectRow]:
    group, head = scope.group, scope.group.head
    rows = []
    for family, members in group.families.items():
        is_claim = head.primary and scope.subtask == group.subtask
        told = verdicts.get((group.label, group.board, family), "") if is_claim else ""
        mean = scope.mean_of(members)
        rows.append(_row(scope, mean, members, family, FAMILY_MEAN, "family", told))
        if scope.subtask == group.subtask:
            for theory, own in _theories(group, members).items():
                mean = scope.mean_of(own)
                rows.append(_row(scope, mean, own, family, theory_name(theory), "theory"))
        rows += [
            _row(scope, scope.single(i), (i,), family, group.arms[i].id, "stimulus")
            for i in members
        ]
    rows += [
        _row(scope, scope.single(i), (i,), arm.family, arm.id, "placebo")
        for i, arm in enumerate(group.arms)
        if arm.kind == "placebo"
    ]
    if scope.subtask == group.subtask:
        for (kind, source), own in _decoded_controls(group).items():
            mean = scope.mean_of(own)
            name = f"({kind}: {source})"
            rows.append(_row(scope, mean, own, "placebo", name, "controls"))
    return rows


def _decoded_controls(group: Group) -> dict[tuple[str, str], list[int]]:
    """Columns of the controls of decoded stimuli, by kind and source."""
    found: dict[tuple[str, str], list[int]] = {}
    for i, arm in enumerate(group.arms):
        if arm.decoded is not None and arm.kind == "placebo":
            made = arm.decoded
            found.setdefault((made.kind, made.control_of or made.source), []).append(i)
    return found


def _theories(group: Group, members: Sequence[int]) -> dict[str, list[int]]:
    """Columns of a family's stimuli by theory, where there are several."""
    found: dict[str, list[int]] = {}
    for i in members:
        found.setdefault(group.arms[i].theory or "", []).append(i)
    return {theory: own for theory, own in found.items() if theory and len(found) > 1}


def _row(
    scope: Scope,
    found: Comparison,
    members: Sequence[int],
    family: str,
    stimulus: str,
    kind: str,
    verdict: str = "",
) -> EffectRow:
    group, head = scope.group, scope.group.head
    arms = [group.arms[i] for i in members]
    theories = {arm.theory or "" for arm in arms}
    demands = {arm.demand for arm in arms}
    ranks = {arm.arousal_rank for arm in arms}
    lengths = group.lengths
    gain, placebo, check, parsed = found.gain, found.placebo, found.self_check, found.parsed
    return EffectRow(
        model=head.model,
        label=group.label,
        benchmark=head.benchmark,
        mode=head.mode,
        placement=head.placement,
        asked=head.family,
        family=family,
        stimulus=stimulus,
        subtask=scope.subtask,
        kind=kind,
        metric=head.metric,
        filter=head.filter,
        primary=head.primary,
        n_subtasks=scope.n_subtasks,
        n_questions=gain.n,
        n_lost=scope.n_questions - gain.n,
        n_stimuli=len(members),
        control_pct=found.control_pct,
        arm_pct=found.control_pct + gain.mean_pp,
        gain_pp=gain.mean_pp,
        gain_low_pp=gain.low_pp,
        gain_high_pp=gain.high_pp,
        gain_method=gain.method,
        n_differing=gain.n_differing,
        p=gain.p,
        q=NAN,
        placebo=found.placebo_id,
        gain_vs_placebo_pp=placebo.mean_pp,
        gain_vs_placebo_low_pp=placebo.low_pp,
        gain_vs_placebo_high_pp=placebo.high_pp,
        gain_vs_self_check_pp=check.mean_pp,
        gain_vs_self_check_low_pp=check.low_pp,
        gain_vs_self_check_high_pp=check.high_pp,
        gain_parsed_pp=parsed.mean_pp,
        gain_parsed_low_pp=parsed.low_pp,
        gain_parsed_high_pp=parsed.high_pp,
        parsing_flag=found.parsing_flag,
        mde_pp=found.mde_pp,
        verdict=verdict,
        unparsed_control_pct=scope.share_pct("unparsed", (0,)),
        unparsed_arm_pct=scope.share_pct("unparsed", members),
        truncated_control_pct=scope.share_pct("truncated", (0,)),
        truncated_arm_pct=scope.share_pct("truncated", members),
        refused_control_pct=scope.share_pct("refused", (0,)),
        refused_arm_pct=scope.share_pct("refused", members),
        answer_chars_control=scope.mean("answer_chars", (0,)),
        answer_chars_arm=scope.mean("answer_chars", members),
        length=float(np.mean([lengths[arm.id] for arm in arms])),
        length_unit=lengths.unit,
        theory=theories.pop() if len(theories) == 1 else "",
        demand=_DEMAND[demands.pop()] if len(demands) == 1 else "",
        arousal_rank=float(ranks.pop() or NAN) if len(ranks) == 1 else NAN,
        limited=group.limited,
        text=arms[0].text if kind in ("stimulus", "placebo") else "",
        settings=json.dumps(head.settings, sort_keys=True),
        stimuli_sha256=head.stimuli_sha256,
        p_exact=_exact_p(gain) if len(members) == 1 and scope.is_binary else NAN,
        **(_decoded(arms[0]) if kind in ("stimulus", "placebo") else {}),
    )


def _decoded(arm: RunArm) -> dict[str, Any]:
    made = arm.decoded
    if made is None:
        return {}
    return {
        "decoded_kind": made.kind,
        "decoded_source": made.control_of or made.source,
        "decoded_in": made.model,
        "decoded_layer": float(made.layer),
        "decoded_draw": float(made.draw),
    }


def _exact_p(gain: Gain) -> float:
    surplus = round(gain.mean_pp / 100 * gain.n) if gain.n else 0
    return float(mcnemar((gain.n_differing + surplus) / 2, (gain.n_differing - surplus) / 2))


def _with_q(rows: list[EffectRow], whole: str) -> list[EffectRow]:
    """Fill in q over each family's map: stimuli by subtasks, or by the one there is."""
    single = whole != ALL_SUBTASKS
    corrected = list(rows)
    for family in {row.family for row in rows if row.kind == "stimulus"}:
        cells = [
            i
            for i, row in enumerate(rows)
            if row.kind == "stimulus"
            and row.family == family
            and (single or row.subtask != ALL_SUBTASKS)
        ]
        q = benjamini_hochberg([rows[i].p for i in cells])
        for i, value in zip(cells, q.tolist(), strict=True):
            corrected[i] = replace(rows[i], q=value)
    return corrected
