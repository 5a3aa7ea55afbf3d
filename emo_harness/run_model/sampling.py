"""Which questions of a run are looked at more closely, where not all are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.runs import ArmScores, occurrences

# A question wherever it was asked: benchmark, subtask, lm-eval's hash, occurrence.
_Key = tuple[str, str, str, int]


def sampled_questions(
    scores: Sequence[ArmScores], n_questions: int | None, seed: int
) -> list[NDArray[np.int64]]:
    """Draw questions, from each subtask as many as from any other, as far as it has them.

    A question that was asked in several ways (families, modes, placements, models) counts once,
    and is drawn in all of them or in none. What is drawn does not depend on what else there is to
    draw from within its subtask, so the first of many are those that few would be.

    Args:
        scores: a run's.
        n_questions: in all; None for all there are.
        seed: the same seed draws the same questions.

    Returns:
        For each of `scores` the rows of its drawn questions, ascending.

    Raises:
        UserError: fewer than one question is asked for.
    """
    keys = [
        [(one.benchmark, one.subtask, *key) for key in occurrences(one.questions)] for one in scores
    ]
    if n_questions is None:
        return [np.arange(len(own), dtype=np.int64) for own in keys]
    if n_questions < 1:
        raise UserError(
            "drawing questions of a run",
            found=f"{n_questions} questions",
            expected="at least 1",
            fix="--questions N, or leave it out for all",
        )
    subtasks: dict[tuple[str, str], list[_Key]] = {}
    for key in sorted({key for own in keys for key in own}, key=lambda key: _place(seed, key)):
        subtasks.setdefault(key[:2], []).append(key)
    # By turns; which subtasks have one more than others is drawn too.
    turns = sorted(
        (turn, _place(seed, key), key) for own in subtasks.values() for turn, key in enumerate(own)
    )
    drawn = {key for _, _, key in turns[:n_questions]}
    return [
        np.array([row for row, key in enumerate(own) if key in drawn], np.int64) for own in keys
    ]


def _place(seed: int, key: _Key) -> bytes:
    """A question's place in a random order that is its own, whatever else is drawn from."""
    return hashlib.sha256(repr((seed, *key)).encode()).digest()
