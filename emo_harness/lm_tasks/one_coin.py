"""Scoring that guesses: where upstream draws an answer by chance, all arms get the same draw.

lm-eval's MMMU draws one of the options where it cannot read an answer. Two arms with the same
answer would then be right and wrong by luck, and the difference would look like an effect.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

Scores = dict[str, Any]


def scored_with_one_coin(
    score: Callable[[Any], Scores], answers: Sequence[Any], question: str
) -> tuple[list[Scores], list[bool]]:
    """Score one question's answers; the first is control's.

    Control is scored as upstream scores it alone: the shared generator moves on by what its
    scoring draws and by nothing else, so that control's numbers are upstream's over the whole
    run. The other arms see the generator as control did where that drew, else one that
    depends on the question alone.

    Args:
        score: of one answer; may draw from Python's shared generator.
        question: tells questions apart.

    Returns:
        The scores, and whether an answer's scoring drew, which is to say that it was not read.
    """
    before = random.getstate()
    scores = [score(answers[0])]
    after = random.getstate()
    drew = [after != before]
    shared = before if drew[0] else random.Random(question).getstate()  # noqa: S311
    try:
        for answer in answers[1:]:
            random.setstate(shared)
            scores.append(score(answer))
            drew.append(random.getstate() != shared)
    finally:
        random.setstate(after)
    return scores, drew
