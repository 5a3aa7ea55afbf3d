"""The leaderboard: models beside each other under one benchmark, mode, placement and family."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emo_harness.effects import Gain, difference_of_gains, holm
from emo_harness.report.claims import FamilyClaim
from emo_harness.report.groups import Floats, Group, paired_rows

ALPHA = 0.05


@dataclass(frozen=True)
class LeaderboardRow:
    """One model in one board (a board is a benchmark, mode, placement and family).

    Attributes:
        claim: the family's claim for this model (control accuracy, gain, worst, best, n, revision).
        rank_low, rank_high: places that this model's gain may take: 1 + models reliably above it,
            to all models less those reliably below it (paired by question, Holm-corrected).
        tied: letters of the groups of models whose gains are statistically tied ("a", "ab").
    """

    claim: FamilyClaim
    rank_low: int
    rank_high: int
    tied: str


def leaderboard(groups: Iterable[Group], claims: Sequence[FamilyClaim]) -> list[LeaderboardRow]:
    """Every board, its models by gain, the greatest first.

    Args:
        groups: the groups that `claims` were made of.
        claims: see `claims.family_claims`.
    """
    primary = {(_condition(g), g.label): g for g in groups if g.head.primary}
    boards: dict[tuple[str, ...], list[FamilyClaim]] = {}
    for claim in claims:
        key = (claim.benchmark, claim.mode, claim.placement, claim.asked, claim.family)
        boards.setdefault(key, []).append(claim)
    rows = []
    for (*condition, family), members in boards.items():
        members = sorted(members, key=lambda claim: -claim.gain_pp)
        own = [primary[(tuple(condition), claim.label)] for claim in members]
        rows += _board(members, own, family)
    return rows


def gains_apart(first: Group, other: Group, family: str) -> Gain:
    """The family's gain in one group minus that in another, on the questions both were asked."""
    rows, other_rows = paired_rows(first, other)
    arms, base = _scores(first, family)
    other_arms, other_base = _scores(other, family)
    return difference_of_gains(
        arms[rows], base[rows], other_arms[other_rows], other_base[other_rows], first.strata[rows]
    )


def tied_groups(n: int, apart: Iterable[tuple[int, int]]) -> list[set[int]]:
    """Largest sets of items none of which are apart (insert and absorb: Piepho 2004, JCGS 13, 456).

    >>> tied_groups(3, [(0, 2)])
    [{0, 1}, {1, 2}]
    """
    found = [set(range(n))]
    for a, b in apart:
        split = [part for part in found if a in part and b in part]
        found = [part for part in found if part not in split]
        for part in split:
            found += [part - {b}, part - {a}]
        distinct = [part for i, part in enumerate(found) if part not in found[:i]]
        found = [part for part in distinct if not any(part < other for other in distinct)]
    return sorted(found, key=sorted)


def _board(
    claims: Sequence[FamilyClaim], groups: Sequence[Group], family: str
) -> list[LeaderboardRow]:
    """Rows of one board, whose claims come with the greatest gain first."""
    pairs = list(itertools.combinations(range(len(claims)), 2))
    adjusted = holm([gains_apart(groups[a], groups[b], family).p for a, b in pairs])
    apart = [pair for pair, p in zip(pairs, adjusted.tolist(), strict=True) if p <= ALPHA]
    tied = tied_groups(len(claims), apart)
    letters = [
        "".join(_letter(i) for i, part in enumerate(tied) if number in part)
        for number in range(len(claims))
    ]
    return [
        LeaderboardRow(
            claim,
            rank_low=1 + sum(b == number for _, b in apart),
            rank_high=len(claims) - sum(a == number for a, _ in apart),
            tied=letters[number],
        )
        for number, claim in enumerate(claims)
    ]


def _letter(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    first = _letter(number // 26 - 1) if number >= 26 else ""
    return first + chr(ord("a") + number % 26)


def _scores(group: Group, family: str) -> tuple[Floats, Floats]:
    columns = list(group.families[family])
    return np.asarray(group.scores[:, columns]), group.scores[:, 0]


def _condition(group: Group) -> tuple[str, ...]:
    head = group.head
    return (head.benchmark, head.mode, head.placement, head.family)
