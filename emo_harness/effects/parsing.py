"""Differential parsing: is an effect only that answers could not be read?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.gain import Gain, paired_gain

Floats = NDArray[np.float64]


def parsed_gain(
    arms: Floats,
    base: Floats,
    unparsed_arms: NDArray[np.bool_],
    unparsed_base: NDArray[np.bool_],
    strata: NDArray[np.int64] | None = None,
) -> Gain:
    """The gain on answers that were parsed under both arms.

    Over several arms, a question counts with the mean over the arms whose answer was parsed. An
    answer that is not parsed is no random loss, so this is a check and not a better estimate.

    Args:
        arms: (n, m) float64 scores; base: (n,) float64 scores of the same questions.
        unparsed_arms: (n, m) bool; unparsed_base: (n,) bool.
        strata: (n,) int, the subtask of each question.
    """
    usable = ~(unparsed_arms | unparsed_base[:, None] | np.isnan(arms))
    n_usable = usable.sum(axis=1)
    sums = np.where(usable, arms, 0.0).sum(axis=1)
    mean = np.where(n_usable > 0, sums / np.maximum(n_usable, 1), np.nan)
    return paired_gain(mean, base, strata)


def parsing_flag(gain: Gain, parsed: Gain) -> str:
    """Tell what excluding unparsed answers does to an effect; "" if it stays.

    An effect vanishes when its sign turns, or when its interval takes in zero and less than half of
    it is left (with fewer questions an interval may take in zero for its width alone).

    >>> parsing_flag(Gain(9, 9, 5, 1, 9, 0, "t", 2), Gain(7, 0, 0, -3, 3, 1, "score", 2))
    'vanishes when unparsed answers are left out'
    """
    if not (gain.low_pp > 0 or gain.high_pp < 0):
        return ""
    if parsed.n < 2:
        return "cannot be checked: hardly an answer was parsed under both arms"
    same_sign = gain.mean_pp * parsed.mean_pp > 0
    half_kept = same_sign and abs(parsed.mean_pp) >= abs(gain.mean_pp) / 2
    holds_zero = parsed.low_pp <= 0 <= parsed.high_pp
    if not same_sign or (holds_zero and not half_kept):
        return "vanishes when unparsed answers are left out"
    return ""
