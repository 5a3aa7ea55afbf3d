"""The effect table: one row per model, benchmark, family, stimulus and subtask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emo_harness.effects import Gain, benjamini_hochberg, mcnemar
from emo_harness.report.board_key import BoardKey
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.effect_row import EffectRow
from emo_harness.report.groups import ALL_SUBTASKS, Group
from emo_harness.report.scope import Comparison, Scope, scopes_of
from emo_harness.runs import RunArm

__all__ = ["ALL_SUBTASKS", "FAMILY_MEAN", "EffectRow", "effect_rows", "theory_name"]

FAMILY_MEAN = "(family)"
NAN = float("nan")
_DEMAND = {True: "yes", False: "no", None: ""}


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
        length=float(np.mean([lengths[arm.id] if arm.text else NAN for arm in arms])),
        length_unit=lengths.unit,
        theory=theories.pop() if len(theories) == 1 else "",
        demand=_DEMAND[demands.pop()] if len(demands) == 1 else "",
        arousal_rank=float(ranks.pop() or NAN) if len(ranks) == 1 else NAN,
        limited=group.limited,
        text=arms[0].told if kind in ("stimulus", "placebo") else "",
        settings=json.dumps(head.settings, sort_keys=True),
        stimuli_sha256=head.stimuli_sha256,
        p_exact=_exact_p(gain) if len(members) == 1 and scope.is_binary else NAN,
        **({**_decoded(arms[0]), **_shown(arms[0])} if kind in ("stimulus", "placebo") else {}),
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


def _shown(arm: RunArm) -> dict[str, str]:
    if arm.image is None:
        return {}
    return {
        "image_concept": arm.image.concept,
        "image_level": arm.image.level or "",
        "image_arousal": arm.image.arousal or "",
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
