"""Comparing two runs: the difference of their gains, paired by question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects import Gain, difference_of_gains, holm, mde_pp, paired_gain
from emo_harness.errors import UserError, quoted
from emo_harness.report.effect_table import FAMILY_MEAN
from emo_harness.report.groups import Group, paired_rows
from emo_harness.runs.comparable import refuse_other_prompts

Rows = NDArray[np.int64]
DOING = "comparing two runs"
CONTROL = "(control accuracy)"
ACCURACY = "(accuracy)"
# Kinds of rows that compare accuracies and not gains.
LEVELS = ("control", "accuracy")


@dataclass(frozen=True)
class ComparisonRow:
    """One family, stimulus or placebo in two runs.

    Gains and differences in percentage points, first run minus second run.

    Attributes:
        differs: what tells the second run from the first: "model", "temperature", ...
        stimulus: arm id, "(family)" for the mean over the stimuli that both runs have, or
            "(control accuracy)", whose "gains" are the two accuracies in per cent. So are those of
            "ID (accuracy)", which runs that differ in their steering have for every arm: the same
            prompts, steered or not.
        n_differing: questions on which the two differ.
        n_questions: asked in both runs; `n_only_first` and `n_only_second` in one alone.
        difference_pp, low_pp, high_pp, p: of the gains, paired by question.
        p_holm: corrected over the families; NaN elsewhere.
        mde_pp: difference that so many questions show with 80% power.
    """

    first: str
    second: str
    differs: str
    benchmark: str
    mode: str
    asked: str
    family: str
    stimulus: str
    kind: str
    n_questions: int
    n_only_first: int
    n_only_second: int
    n_differing: int
    n_stimuli: int
    first_gain_pp: float
    second_gain_pp: float
    difference_pp: float
    low_pp: float
    high_pp: float
    p: float
    p_holm: float
    method: str
    mde_pp: float
    limited: bool


def compare(first: Sequence[Group], second: Sequence[Group]) -> list[ComparisonRow]:
    """Compare what two runs have in common: benchmarks, families, stimuli, questions.

    Args:
        first, second: groups of either run, each one model under one setting.

    Raises:
        UserError: a run holds several models or settings of one task, the two have no task,
            stimulus or question in common, or different prompts, targets or stimuli under one
            name, or control shows an image in one alone.
    """
    own, other = _by_task(first, "first"), _by_task(second, "second")
    refuse_other_prompts(m for g in (*own.values(), *other.values()) for m in g.members)
    shared = [key for key in own if key in other]
    if not shared:
        raise UserError(
            DOING,
            found=f"{quoted(map(_told, own))} in the first, {quoted(map(_told, other))} in the "
            "second",
            expected="the same benchmark, mode and family of tasks in both",
            fix="name two runs of the same tasks",
        )
    for key in shared:
        _refuse_other_control(own[key], other[key])
    rows = [row for key in shared for row in _rows(own[key], other[key])]
    families = [i for i, row in enumerate(rows) if row.kind == "family"]
    corrected = holm([rows[i].p for i in families]).tolist()
    for i, p in zip(families, corrected, strict=True):
        rows[i] = replace(rows[i], p_holm=p)
    return rows


def _refuse_other_control(first: Group, second: Group) -> None:
    """A gain over a grey image is another number than a gain over no image."""
    shown = [one.head.settings.get("control_image", "") for one in (first, second)]
    if shown[0] != shown[1]:
        raise UserError(
            DOING,
            found=f"control shows {shown[0]!r} in the first and {shown[1]!r} in the second",
            expected="the same control, since gains are over control",
            fix="""ask both with --metadata '{"emo": {"control_image": "grey"}}'""",
        )


def _by_task(groups: Iterable[Group], which: str) -> dict[tuple[str, ...], Group]:
    found: dict[tuple[str, ...], Group] = {}
    for group in groups:
        if not group.head.primary:
            continue
        key = (group.head.benchmark, group.head.mode, group.head.family)
        if key in found:
            told = [f"{g.label}, placement {g.head.placement}" for g in (found[key], group)]
            raise UserError(
                DOING,
                found=f"several runs of {_told(key)} in the {which} ({quoted(told)})",
                expected="one model under one setting on each side",
                fix="name the folder of one of them; `emo report` takes many runs at once",
            )
        found[key] = group
    return found


def _told(key: tuple[str, ...]) -> str:
    return " ".join(key)


def _rows(first: Group, second: Group) -> list[ComparisonRow]:
    rows, other_rows = _paired(first, second)
    n_shared = len(rows)
    a, b = first.scores[rows], second.scores[other_rows]
    strata = first.strata[rows]
    columns = {arm.id: i for i, arm in enumerate(second.arms)}
    both = [(i, columns[arm.id]) for i, arm in enumerate(first.arms) if arm.id in columns]
    for i, j in both:
        own, other = first.arms[i], second.arms[j]
        if (own.content, own.family, own.placebo) != (other.content, other.family, other.placebo):
            raise UserError(
                DOING,
                found=f"{own.told[:60]!r} ({own.family}) and {other.told[:60]!r} ({other.family}) "
                f"under the one arm id {own.id}",
                expected="one stimulus under one id in both runs",
                fix="give the changed stimulus an id of its own and run again",
            )
    families: dict[str, list[tuple[int, int]]] = {}
    for i, j in both:
        if first.arms[i].kind == "stimulus":
            families.setdefault(first.arms[i].family, []).append((i, j))
    if not families and not any(first.arms[i].kind == "placebo" for i, _ in both):
        raise UserError(
            DOING,
            found=f"{quoted(a.id for a in first.arms[1:])} in the first, "
            f"{quoted(a.id for a in second.arms[1:])} in the second",
            expected="at least one stimulus that both runs asked",
            fix="name two runs that asked the same stimuli",
        )

    def row(pairs: Sequence[tuple[int, int]], family: str, name: str, kind: str) -> ComparisonRow:
        ours, theirs = a[:, [i for i, _ in pairs]], b[:, [j for _, j in pairs]]
        complete = ~(np.isnan(ours).any(axis=1) | np.isnan(theirs).any(axis=1))
        complete &= ~(np.isnan(a[:, 0]) | np.isnan(b[:, 0]))
        ours, theirs, own, their = (x[complete] for x in (ours, theirs, a[:, 0], b[:, 0]))
        if kind in LEVELS:
            found = paired_gain(ours.mean(axis=1), theirs.mean(axis=1), strata[complete])
            levels = 100 * ours.mean(), 100 * theirs.mean()
        else:
            found = difference_of_gains(ours, own, theirs, their, strata[complete])
            levels = 100 * (ours.mean() - own.mean()), 100 * (theirs.mean() - their.mean())
        return _row(first, second, found, levels, family, name, kind, len(pairs), n_shared)

    made = [row([(0, 0)], "control", CONTROL, "control")]
    for family, pairs in families.items():
        made.append(row(pairs, family, FAMILY_MEAN, "family"))
        made += [row([p], family, first.arms[p[0]].id, "stimulus") for p in pairs]
    made += [
        row([(i, j)], first.arms[i].family, first.arms[i].id, "placebo")
        for i, j in both
        if first.arms[i].kind == "placebo"
    ]
    if first.head.settings.get("steer") != second.head.settings.get("steer"):
        made += [
            row([(i, j)], first.arms[i].family, f"{first.arms[i].id} {ACCURACY}", "accuracy")
            for i, j in both
            if first.arms[i].kind != "control"
        ]
    return made


def _paired(first: Group, second: Group) -> tuple[Rows, Rows]:
    rows, other_rows = paired_rows(first, second)
    if not len(rows):
        raise UserError(
            DOING,
            found=f"no question of {first.head.benchmark} that both runs asked",
            expected="runs on the same questions",
            fix="use the same data and the same --limit or --samples for both",
        )
    return rows, other_rows


def _row(
    first: Group,
    second: Group,
    found: Gain,
    levels: tuple[float, float],
    family: str,
    name: str,
    kind: str,
    n_stimuli: int,
    n_shared: int,
) -> ComparisonRow:
    head = first.head
    return ComparisonRow(
        first=first.label,
        second=second.label,
        differs=", ".join(_differing(first, second)) or "no setting",
        benchmark=head.benchmark,
        mode=head.mode,
        asked=head.family,
        family=family,
        stimulus=name,
        kind=kind,
        n_questions=found.n,
        n_only_first=len(first.row_of) - n_shared,
        n_only_second=len(second.row_of) - n_shared,
        n_differing=found.n_differing,
        n_stimuli=n_stimuli,
        first_gain_pp=float(levels[0]),
        second_gain_pp=float(levels[1]),
        difference_pp=found.mean_pp,
        low_pp=found.low_pp,
        high_pp=found.high_pp,
        p=found.p,
        p_holm=float("nan"),
        method=found.method,
        mde_pp=mde_pp(found),
        limited=first.limited or second.limited,
    )


def _differing(first: Group, second: Group) -> list[str]:
    """Names of what the two runs differ in, with both values."""
    told = []
    for name in ("model", "placement"):
        values = getattr(first.head, name), getattr(second.head, name)
        if values[0] != values[1]:
            told.append(f"{name} {values[0]} / {values[1]}")
    own, other = first.head.settings, second.head.settings
    for name in dict.fromkeys([*own, *other]):
        if own.get(name) != other.get(name):
            told.append(f"{name} {own.get(name, 'default')} / {other.get(name, 'default')}")
    return told
