"""The leaderboard: models beside each other under one benchmark, mode, placement and family."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emo_harness.effects import Gain, difference_of_gains, holm
from emo_harness.effects.verdict import ALPHA
from emo_harness.report.board_key import BoardKey
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.groups import Group, paired_rows


@dataclass(frozen=True)
class LeaderboardRow:
    """One model in one board (a board is a benchmark, mode, placement and family).

    Only models on one footing are ranked against each other: those that were asked the same
    subtasks under the same stimuli.

    Attributes:
        claim: the family's claim for this model (control accuracy, gain, worst, best, n, revision).
        rank_low, rank_high: places that this model's gain may take: 1 + models reliably above it,
            to all models less those reliably below it (paired by question, Holm-corrected). None
            where its gain is unknown.
        tied: letters of the groups of models whose gains are statistically tied ("a", "ab").
        n_models: models on the same footing, this one included.
    """

    claim: FamilyClaim
    rank_low: int | None
    rank_high: int | None
    tied: str
    n_models: int = 0


def leaderboard(groups: Iterable[Group], claims: Iterable[FamilyClaim]) -> list[LeaderboardRow]:
    """Every board, its models by gain, the greatest first, unknown ones last.

    Args:
        groups: the groups that `claims` were made of.
        claims: see `claims.family_claims`.
    """
    primary = {(group.board, group.label): group for group in groups if group.head.primary}
    boards: dict[tuple[BoardKey, str], dict[object, list[FamilyClaim]]] = {}
    for claim in claims:
        group = primary[claim.board, claim.label]
        footings = boards.setdefault((claim.board, claim.family), {})
        footings.setdefault(_footing(group, claim.family), []).append(claim)
    rows = []
    for (key, family), footings in boards.items():
        for alike in footings.values():
            known = [claim for claim in alike if not math.isnan(claim.gain_pp)]
            known.sort(key=lambda claim: -claim.gain_pp)
            rows += _ranked(known, [primary[key, claim.label] for claim in known], family)
            rows += [
                LeaderboardRow(claim, None, None, "", len(known))
                for claim in alike
                if math.isnan(claim.gain_pp)
            ]
    return rows


def gains_apart(first: Group, other: Group, family: str) -> Gain:
    """The family's gain in one group minus that in another, on the questions both were asked."""
    rows, other_rows = paired_rows(first, other)
    columns, other_columns = (list(group.families[family]) for group in (first, other))
    scores, other_scores = first.scores[rows], other.scores[other_rows]
    return difference_of_gains(
        scores[:, columns],
        scores[:, 0],
        other_scores[:, other_columns],
        other_scores[:, 0],
        first.strata[rows],
    )


def tied_runs(n: int, apart: Iterable[tuple[int, int]]) -> list[range]:
    """Longest runs of neighbours none of which are apart, the order being that of their gains.

    >>> tied_runs(3, [(0, 2)])
    [range(0, 2), range(1, 3)]
    """
    pairs = {frozenset(pair) for pair in apart}
    ends: list[int] = []
    for start in range(n):
        end = max(start + 1, ends[-1] if ends else 0)
        while end < n and all(frozenset((i, end)) not in pairs for i in range(start, end)):
            end += 1
        ends.append(end)
    runs = [range(start, end) for start, end in enumerate(ends)]
    return [run for i, run in enumerate(runs) if i == 0 or run.stop > runs[i - 1].stop]


def _footing(group: Group, family: str) -> tuple[object, ...]:
    """What must be equal for two gains to be ranked: subtasks, and stimuli that have scores."""
    columns = list(group.families[family])
    asked = [group.arms[i] for i in columns if not np.isnan(group.scores[:, i]).all()]
    # Decoded stimuli of two models have the same ids and other texts.
    stimuli = sorted((arm.id, *arm.content) for arm in asked)
    return (*sorted(member.subtask for member in group.members), *stimuli)


def _ranked(
    claims: Sequence[FamilyClaim], groups: Sequence[Group], family: str
) -> list[LeaderboardRow]:
    """Rows of models on one footing, which come with the greatest gain first."""
    n = len(claims)
    pairs = list(itertools.combinations(range(n), 2))
    gains = [gains_apart(groups[a], groups[b], family) for a, b in pairs]
    adjusted = holm([gain.p for gain in gains]).tolist()
    above: list[tuple[int, int]] = []
    for (a, b), gain, p in zip(pairs, gains, adjusted, strict=True):
        if p <= ALPHA and gain.low_pp > 0:
            above.append((a, b))
        elif p <= ALPHA and gain.high_pp < 0:
            above.append((b, a))
    letters = [""] * n
    for number, run in enumerate(tied_runs(n, above)):
        for place in run:
            letters[place] += _letter(number)
    return [
        LeaderboardRow(
            claim,
            rank_low=1 + sum(lower == place for _, lower in above),
            rank_high=n - sum(higher == place for higher, _ in above),
            tied=letters[place],
            n_models=n,
        )
        for place, claim in enumerate(claims)
    ]


def _letter(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    first = _letter(number // 26 - 1) if number >= 26 else ""
    return first + chr(ord("a") + number % 26)
