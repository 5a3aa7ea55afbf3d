"""Making claims: every family of every group, corrected together."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects import (
    EQUIVALENCE_LEVEL,
    MARGIN_PP,
    UNKNOWN,
    Gain,
    best_stimulus,
    between_stimuli_variance,
    crossed_bootstrap,
    holm,
    mde_pp,
    paired_bootstrap,
    paired_gain,
    percentile_interval,
    relabelling_test,
    relative_gain,
    tost,
    two_way_gain,
    verdict,
    wilson,
)
from emo_harness.report.claims import NO_SAMPLE, ChosenStimulus, FamilyClaim
from emo_harness.report.groups import Floats, Group
from emo_harness.report.scope import Comparison, scopes_of

NAN = float("nan")
_Z = 1.959963984540054
_HALVES_SEED = 0
_RESAMPLES = 1_000
_CROSSED_RESAMPLES = 500


def family_claims(groups: Iterable[Group], margin_pp: float = MARGIN_PP) -> list[FamilyClaim]:
    """One claim per group and family, by the metric and filter that the benchmark reports.

    Holm's correction runs over all claims together, once for "these stimuli" and once for
    "stimuli like these", which is not asked of stimuli decoded at several layers.

    Args:
        groups: of all runs in the report.
        margin_pp: the largest gain that is still called no difference.
    """
    drafts = [
        _draft(group, family, members, margin_pp)
        for group in groups
        if group.head.primary
        for family, members in group.families.items()
    ]
    these = holm([draft.gain.p for draft in drafts]).tolist()
    like = holm([draft.like.p for draft in drafts]).tolist()
    return [
        draft.claim(p_these, p_like)
        for draft, p_these, p_like in zip(drafts, these, like, strict=True)
    ]


@dataclass(frozen=True)
class _Draft:
    """A claim before correction: gains with their 95% and their equivalence intervals."""

    group: Group
    family: str
    members: tuple[int, ...]
    margin_pp: float
    comparison: Comparison
    gain: Gain
    narrow: Gain
    like: Gain
    narrow_like: Gain
    between_variance: float

    def claim(self, p_holm: float, like_p_holm: float) -> FamilyClaim:
        group, head, found = self.group, self.group.head, self.comparison
        columns = list(self.members)
        arms, control = group.scores[:, columns], group.scores[:, 0]
        n = self.gain.n
        low, high = wilson(found.control_pct / 100 * n, n, _Z) if n else (NAN, NAN)
        relative = relative_gain(arms.mean(axis=1), control, group.strata)
        verdict_these = verdict(self.gain, self.narrow, p_holm, self.margin_pp)
        verdict_like = verdict(
            self.like,
            self.narrow_like,
            like_p_holm,
            self.margin_pp,
            len(columns),
            self.between_variance,
        )
        complete = ~np.isnan(group.scores[:, [0, *columns]]).any(axis=1)
        difference = arms.mean(axis=1) - control
        boot, like_boot = _bootstrapped(
            arms[complete], control[complete], group.strata[complete], (head.model, self.family)
        )
        over_layers = _is_over_layers(group, self.members)
        if over_layers:
            like_boot = (NAN, NAN)
        return FamilyClaim(
            model=head.model,
            label=group.label,
            revision=head.settings.get("revision", ""),
            settings=json.dumps(head.settings, sort_keys=True),
            benchmark=head.benchmark,
            mode=head.mode,
            placement=head.placement,
            asked=head.family,
            family=self.family,
            n_questions=n,
            n_lost=len(control) - n,
            n_subtasks=len(group.members),
            n_stimuli=len(columns),
            limited=group.limited,
            control_pct=found.control_pct,
            control_low_pct=100 * float(low),
            control_high_pct=100 * float(high),
            arm_pct=found.control_pct + self.gain.mean_pp,
            gain_pp=self.gain.mean_pp,
            gain_low_pp=self.gain.low_pp,
            gain_high_pp=self.gain.high_pp,
            gain_method=self.gain.method,
            p=self.gain.p,
            p_holm=p_holm,
            verdict=str(verdict_these),
            like_low_pp=self.like.low_pp,
            like_high_pp=self.like.high_pp,
            like_method=self.like.method,
            like_p=self.like.p,
            like_p_holm=like_p_holm,
            like_verdict=NO_SAMPLE if over_layers else str(verdict_like),
            placebo_gain_pp=found.placebo.mean_pp,
            placebo_low_pp=found.placebo.low_pp,
            placebo_high_pp=found.placebo.high_pp,
            self_check_gain_pp=found.self_check.mean_pp,
            self_check_low_pp=found.self_check.low_pp,
            self_check_high_pp=found.self_check.high_pp,
            margin_pp=self.margin_pp,
            mde_pp=mde_pp(self.gain),
            best=_chosen(group, columns, worst=False),
            worst=_chosen(group, columns, worst=True),
            relative_pct=relative.percent,
            relative_low_pct=relative.low_percent,
            relative_high_pct=relative.high_percent,
            relative_refused=relative.refused,
            parsed_gain_pp=found.parsed.mean_pp,
            parsed_low_pp=found.parsed.low_pp,
            parsed_high_pp=found.parsed.high_pp,
            parsing_flag=found.parsing_flag,
            p_relabelled=relabelling_test(arms[complete], control[complete][:, None]),
            boot_low_pp=100 * boot[0],
            boot_high_pp=100 * boot[1],
            like_boot_low_pp=100 * like_boot[0],
            like_boot_high_pp=100 * like_boot[1],
            within_sd_pp=_within_sd_pp(group, columns),
            p_equivalence=tost(difference[complete], self.margin_pp / 100),
        )


def _draft(group: Group, family: str, members: tuple[int, ...], margin_pp: float) -> _Draft:
    scope = next(scopes_of(group))
    arms, control = group.scores[:, list(members)], group.scores[:, 0]
    strata = group.strata
    comparison = scope.mean_of(members)
    over_layers = _is_over_layers(group, members)
    return _Draft(
        group,
        family,
        members,
        margin_pp,
        comparison,
        comparison.gain,
        paired_gain(arms, control, strata, EQUIVALENCE_LEVEL),
        UNKNOWN if over_layers else two_way_gain(arms, control, strata),
        UNKNOWN if over_layers else two_way_gain(arms, control, strata, EQUIVALENCE_LEVEL),
        between_stimuli_variance(arms, control),
    )


def _is_over_layers(group: Group, members: Sequence[int]) -> bool:
    """Whether stimuli were decoded at several layers, which are no sample of sentences."""
    made = [group.arms[i].decoded for i in members]
    return len({one.layer for one in made if one is not None}) > 1


def _chosen(group: Group, columns: list[int], worst: bool) -> ChosenStimulus | None:
    if len(columns) < 2:
        return None
    rng = np.random.default_rng(_HALVES_SEED)
    arms, control = group.scores[:, columns], group.scores[:, 0]
    found = best_stimulus(arms, control, rng, group.strata, worst)
    if found.gain.method == "none":
        return None
    ids = [group.arms[i].id for i in columns]
    return ChosenStimulus(
        chosen=(ids[found.halves[0]], ids[found.halves[1]]),
        gain_pp=found.gain.mean_pp,
        low_pp=found.gain.low_pp,
        high_pp=found.gain.high_pp,
        naive=ids[found.naive],
        naive_gain_pp=found.naive_gain.mean_pp,
    )


def _bootstrapped(
    arms: Floats, control: Floats, strata: NDArray[np.int64], name: tuple[str, str]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Percentile intervals of the gain over questions, and over questions times stimuli."""
    unknown = (NAN, NAN)
    if len(control) < 2:
        return unknown, unknown
    rng = np.random.default_rng(zlib.crc32("/".join(name).encode("utf-8", "replace")))
    difference = arms - control[:, None]
    over_questions = paired_bootstrap(difference.mean(axis=1), rng, _RESAMPLES, strata)
    crossed = crossed_bootstrap(difference, rng, _CROSSED_RESAMPLES) if arms.shape[1] > 1 else None
    return (
        percentile_interval(over_questions),
        unknown if crossed is None else percentile_interval(crossed),
    )


def _within_sd_pp(group: Group, columns: list[int]) -> float:
    """Root mean variance of a question's score over repeats, control and stimuli."""
    variance = group.within_variance
    if variance is None:
        return NAN
    return 100 * float(np.sqrt(np.nanmean(variance[:, [0, *columns]])))
