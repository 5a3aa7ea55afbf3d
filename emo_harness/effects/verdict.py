"""Verdicts: raises, lowers, no difference larger than the margin, or not enough questions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from emo_harness.effects.gain import Gain

Floats = NDArray[np.float64]
Word = Literal["raises", "lowers", "no difference", "undecided", "unknown"]
MARGIN_PP = 1.0
ALPHA = 0.05
POWER = 0.80
# An equivalence verdict rests on this interval: two one-sided tests, at 3.25% each so that they are
# wrong in at most 5% where the interval is approximate (Student's t where all differing questions
# differ one way: exactly 5.9% at 4.5% each, 4.8% at 3.25%).
EQUIVALENCE_LEVEL = 0.935
# "Stimuli like these" from fewer stimuli than this carry no claim.
FEWEST_STIMULI = 10
_Z = float(special.ndtri(1 - ALPHA / 2))
_Z_EQUIVALENCE = float(special.ndtri((1 + EQUIVALENCE_LEVEL) / 2))
_Z_POWER = float(special.ndtri(POWER))
# Power of both one-sided tests together at a true gain of zero.
_Z_BOTH_SIDES = float(special.ndtri((1 + POWER) / 2))


@dataclass(frozen=True)
class Verdict:
    """What may be said of a gain.

    Attributes:
        word: `raises` or `lowers` (the corrected p-value is at most 0.05 and the 95% interval
            leaves zero out), `no difference` (the gain is within the margin by two one-sided
            tests; this goes first), `undecided`, or `unknown` (fewer than two questions).
        needs: for `undecided`, about how many would decide; NaN else.
        needs_what: "questions", or "stimuli" where more questions would not help.
    """

    word: Word
    needs: float = math.nan
    needs_what: str = "questions"

    def __str__(self) -> str:
        if self.word == "no difference":
            return "no difference larger than the margin"
        if self.word == "undecided" and not math.isnan(self.needs):
            return f"undecided: needs about {round_up(self.needs):,} {self.needs_what}"
        return self.word


def verdict(
    gain: Gain,
    narrow: Gain,
    p_adjusted: float,
    margin_pp: float = MARGIN_PP,
    n_stimuli: int = 0,
    between_variance: float = 0.0,
) -> Verdict:
    """Judge a gain.

    Args:
        gain: with its 95% interval.
        narrow: the same gain with its interval at `EQUIVALENCE_LEVEL`.
        p_adjusted: its p-value after correction for the other claims.
        margin_pp: the largest gain that is still called no difference, above 0.
        n_stimuli, between_variance: for a gain of "stimuli like these", see
            `two_way.between_stimuli_variance`.
    """
    if margin_pp <= 0:
        raise ValueError(f"margin {margin_pp} must be above 0")
    if gain.method == "none" or math.isnan(gain.low_pp):
        return Verdict("unknown")
    if -margin_pp < narrow.low_pp and narrow.high_pp < margin_pp:
        return Verdict("no difference")
    if p_adjusted <= ALPHA and gain.low_pp > 0:
        return Verdict("raises")
    if p_adjusted <= ALPHA and gain.high_pp < 0:
        return Verdict("lowers")
    between_pp = 100 * math.sqrt(max(between_variance, 0.0))
    needs = questions_needed(gain, margin_pp, between_pp)
    if math.isinf(needs) or 0 < n_stimuli < FEWEST_STIMULI:
        factor = (between_pp / _deciding_se_pp(gain, margin_pp, _Z)) ** 2
        return Verdict("undecided", max(n_stimuli * max(factor, 1.1), FEWEST_STIMULI), "stimuli")
    return Verdict("undecided", needs)


def mde_pp(gain: Gain) -> float:
    """Minimum detectable effect: the gain that so many questions show with 80% power.

    (z(0.975) + z(0.8)) SE, for questions that vary as these do, percentage points.
    """
    return (_Z + _Z_POWER) * gain.se_pp


def questions_needed(gain: Gain, margin_pp: float, between_pp: float = 0.0) -> float:
    """About how many questions would decide.

    So many that a gain as large as the margin is shown with 80% power and a gain of zero is called
    no difference with 80% power. Where there are so many already, the true gain lies near the
    margin; then so many that the observed gain, were it the true one, would be judged either way.

    Args:
        gain: undecided, with its 95% interval.
        margin_pp: the margin.
        between_pp: standard error that more questions do not lessen.

    Returns:
        infinity where no number of questions would decide for `between_pp` being too large.
    """
    wanted = _deciding_se_pp(gain, margin_pp, gain.quantile)
    if between_pp >= wanted:
        return math.inf
    over_questions = max(gain.se_pp**2 - between_pp**2, 0.0)
    return gain.n * max(over_questions / (wanted**2 - between_pp**2), 1.1)


def _deciding_se_pp(gain: Gain, margin_pp: float, quantile: float) -> float:
    """The standard error that would decide, see `questions_needed`.

    Args:
        quantile: of the 95% interval; a t quantile of few degrees of freedom asks for a smaller
            standard error, and more questions do not change it.
    """
    detection = quantile + _Z_POWER
    equivalence = quantile * _Z_EQUIVALENCE / _Z + _Z_BOTH_SIDES
    wanted = margin_pp / max(detection, equivalence)
    if gain.se_pp > wanted:
        return wanted
    size = abs(gain.mean_pp)
    return max(size / detection, (margin_pp - size) / equivalence)


def tost(difference: Floats, margin: float) -> float:
    """P-value of equivalence by two one-sided t tests (Schuirmann 1987, J. Pharmacok. 15, 657).

    Args:
        difference: (n,) float64, paired differences.
        margin: equivalence margin on the same scale, above 0.

    Returns:
        the larger of the p-values against mean <= -margin and against mean >= margin.
    """
    n = len(difference)
    if n < 2:
        return math.nan
    se = float(difference.std(ddof=1)) / math.sqrt(n)
    mean = float(difference.mean())
    if se == 0:
        return 0.0 if abs(mean) < margin else 1.0
    below = special.stdtr(n - 1, -(mean + margin) / se)
    above = special.stdtr(n - 1, (mean - margin) / se)
    return float(max(below, above))


def round_up(number: float) -> int:
    """Two leading digits, upwards: an estimate should not look exact."""
    if number <= 10:
        return math.ceil(number)
    unit = 10 ** (math.floor(math.log10(number)) - 1)
    return math.ceil(number / unit - 1e-9) * unit
