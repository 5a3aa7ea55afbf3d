"""Flips: questions whose answer a stimulus turned, and how strongly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emo_harness.attribution.sample import (
    AT_A_TIME,
    AskedQuestion,
    SampledGroup,
    question_key,
    read_questions,
)
from emo_harness.runs import ArmScores, RunArm, read_answers

# Of so many flips the strongest are looked for.
MOST_FLIPS = 2_000
# A flip is a score that crosses this: right or wrong, or more often right than wrong.
HALF = 0.5
FlipKind = Literal["fixed", "broke"]


@dataclass(frozen=True)
class Flip:
    """A question whose score crosses one half between control and an arm.

    Attributes:
        strength: change of the target's log-probability from control to arm, nats, without sign.
    """

    group: SampledGroup
    member: ArmScores
    row: int
    arm: RunArm
    kind: FlipKind
    strength: float

    def question(self) -> AskedQuestion:
        return next(read_questions(self.member, [self.row]))


# Log-probabilities of targets: (question, arm id) each to nats, NaN where it cannot be had.
Scorer = Callable[[Sequence[tuple[AskedQuestion, str]]], NDArray[np.float64]]


def strongest_flips(
    groups: Sequence[SampledGroup],
    n_flips: int,
    rng: np.random.Generator,
    scorer: Scorer,
    can_be_shown: Callable[[Flip], bool] = lambda flip: True,
) -> tuple[list[Flip], int]:
    """The flips with the largest change of the target's log-probability, and how many there are.

    A question comes a second time only where fewer questions flipped than flips are wanted. Logged
    log-likelihoods are compared where there are some; else `scorer` is asked, of at most
    `MOST_FLIPS` flips that are drawn.

    Args:
        groups: stimuli among their arms are looked at, in all of their questions.
        can_be_shown: asked from the strongest on; where it refuses, the next takes the place.
    """
    every = [flip for group in groups for flip in _flips(group)]
    drawn = every
    if len(every) > MOST_FLIPS:
        numbers = np.sort(rng.choice(len(every), MOST_FLIPS, replace=False))
        drawn = [every[number] for number in numbers]
    if not n_flips:
        return [], len(every)
    by_question: dict[tuple[str, str, str, int], list[Flip]] = {}
    for flip in _with_strength(drawn, scorer):
        by_question.setdefault(question_key(flip.member, flip.row), []).append(flip)
    turns = []
    for of_question in by_question.values():
        of_question.sort(key=_weakness)
        turns += [(turn, *_weakness(flip), flip) for turn, flip in enumerate(of_question)]
    in_order = (one[-1] for one in sorted(turns, key=lambda one: one[:-1]))
    best = itertools.islice(filter(can_be_shown, in_order), n_flips)
    return sorted(best, key=_weakness), len(every)


def _weakness(flip: Flip) -> tuple[float, str, int, str]:
    return (-flip.strength, flip.member.task, flip.row, flip.arm.id)


def _flips(group: SampledGroup) -> Iterator[Flip]:
    wanted = {arm.id: arm for arm in group.arms if arm.kind == "stimulus"}
    for member in group.members:
        columns = [i for i, arm in enumerate(member.arms) if arm.id in wanted]
        control, scores = member.scores[:, :1], member.scores[:, columns]
        fixed = (control < HALF) & (scores >= HALF)
        broke = (control >= HALF) & (scores < HALF)
        for row, place in np.argwhere(fixed | broke).tolist():
            arm = wanted[member.arms[columns[place]].id]
            kind: FlipKind = "fixed" if fixed[row, place] else "broke"
            yield Flip(group, member, row, arm, kind, float("nan"))


def _with_strength(flips: Sequence[Flip], scorer: Scorer) -> Iterator[Flip]:
    """The flips whose strength can be had, a few questions in memory at a time."""
    by_row: dict[tuple[int, int], list[Flip]] = {}
    for flip in flips:
        by_row.setdefault((id(flip.member), flip.row), []).append(flip)
    rows = list(by_row.values())
    for first in range(0, len(rows), AT_A_TIME):
        some = rows[first : first + AT_A_TIME]
        answers = read_answers(own[0].member.lines[own[0].row] for own in some)
        asked = [
            (flip, AskedQuestion(flip.member, flip.row, answer))
            for own, answer in zip(some, answers, strict=True)
            for flip in own
        ]
        changes = np.array([q.logged(flip.arm.id) - q.logged(q.control) for flip, q in asked])
        unknown = np.flatnonzero(np.isnan(changes))
        pairs = [
            (asked[i][1], arm) for i in unknown for arm in (asked[i][0].arm.id, asked[i][1].control)
        ]
        if pairs:
            values = scorer(pairs).reshape(-1, 2)
            changes[unknown] = values[:, 0] - values[:, 1]
        for (flip, _), change in zip(asked, np.abs(changes).tolist(), strict=True):
            if not np.isnan(change):
                yield replace(flip, strength=change)
