"""The statistics: numbers in, numbers out. Knows no model, no file.

Scores lie in [0, 1]; arrays are questions by arms. Every estimate is a mean of question-level
differences, carries its number of questions and says how it was made; gains are in percentage
points (`_pp`) and "unknown" is NaN. `docs/statistics.md` explains every one in words.
"""

from emo_harness.effects.bootstrap import crossed_bootstrap, paired_bootstrap, percentile_interval
from emo_harness.effects.chosen import Chosen, best_stimulus
from emo_harness.effects.difference import difference_of_gains
from emo_harness.effects.gain import (
    DIFFERING_FOR_T,
    LEVEL,
    UNKNOWN,
    Gain,
    Gains,
    gains_of_counts,
    paired_gain,
)
from emo_harness.effects.intervals import tango, wilson
from emo_harness.effects.multiplicity import benjamini_hochberg, holm
from emo_harness.effects.parsing import parsed_gain, parsing_flag
from emo_harness.effects.randomisation import (
    mcnemar,
    mean_test,
    relabelling_test,
    sign_flip_test,
)
from emo_harness.effects.relative import RelativeGain, relative_gain
from emo_harness.effects.trend import (
    Trend,
    layer_contrasts,
    layer_trend,
    trend_word,
    united,
)
from emo_harness.effects.two_way import between_stimuli_variance, two_way_gain
from emo_harness.effects.verdict import (
    EQUIVALENCE_LEVEL,
    MARGIN_PP,
    Verdict,
    mde_pp,
    questions_needed,
    tost,
    verdict,
)

__all__ = [
    "DIFFERING_FOR_T",
    "EQUIVALENCE_LEVEL",
    "LEVEL",
    "MARGIN_PP",
    "UNKNOWN",
    "Chosen",
    "Gain",
    "Gains",
    "RelativeGain",
    "Trend",
    "Verdict",
    "benjamini_hochberg",
    "best_stimulus",
    "between_stimuli_variance",
    "crossed_bootstrap",
    "difference_of_gains",
    "gains_of_counts",
    "holm",
    "layer_contrasts",
    "layer_trend",
    "mcnemar",
    "mde_pp",
    "mean_test",
    "paired_bootstrap",
    "paired_gain",
    "parsed_gain",
    "parsing_flag",
    "percentile_interval",
    "questions_needed",
    "relabelling_test",
    "relative_gain",
    "sign_flip_test",
    "tango",
    "tost",
    "trend_word",
    "two_way_gain",
    "united",
    "verdict",
    "wilson",
]
