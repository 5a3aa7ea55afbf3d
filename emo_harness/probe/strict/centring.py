"""Centring: each template's own offset taken out, without a look at what is held out.

    x'_{wt} = x_{wt} - (m+_t + m-_t) / 2,

with m+_t, m-_t the means over the *training* words of either pole in template t. In templates that
were trained on, only training rows are averaged. In unseen templates the same words' rows are:
their poles are known from training, the template's own label (does it negate?) is not used, and no
held-out word enters anywhere. `neutral_means` is the second form: the mean of neutral words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.probe.strict.splits import E2, TRAIN, Split
from emo_harness.probe.targets import Ints, Targets

Floats = NDArray[np.float32]


def centring_weights(targets: Targets, split: Split) -> Floats:
    """(n,) float32, such that a template's centre is the weighted sum of its rows.

    Raises:
        UserError: a template lacks training words of one pole.
    """
    part = split.part
    used = (part == TRAIN) | (part == E2)
    return balanced_weights(targets, used)


def balanced_weights(targets: Targets, used: NDArray[np.bool_]) -> Floats:
    """(n,) 1 / (2 n_tp) on the `used` rows of template t and pole p, else 0.

    Raises:
        UserError: a template has used rows of one pole alone.
    """
    n_templates = len(targets.negates)
    high = targets.poles[targets.word] == 1
    key = targets.template * 2 + high
    counts = np.bincount(key, used, 2 * n_templates)
    if (counts == 0).any():
        lacking = int(np.flatnonzero(counts == 0)[0]) // 2
        raise UserError(
            f"centring templates on {targets.dimension}",
            found=f"no word of one pole in {targets.template_texts[lacking]!r}",
            expected="words of both poles in every template",
            fix="use more words, or the same words in all templates",
        )
    return np.where(used, 0.5 / counts[key], 0.0).astype(np.float32)


def template_sums(values: Floats, template: Ints, weights: Floats, n_templates: int) -> Floats:
    """Weighted sums of each template's rows.

    Args:
        values: (n, d) float32.
        template: (n,) ascending.
        weights: (k, n) float32.

    Returns:
        (k, n_templates, d) float32.
    """
    sums = np.zeros((len(weights), n_templates, values.shape[1]), np.float32)
    edges = np.searchsorted(template, np.arange(n_templates + 1))
    for number in range(n_templates):
        rows = slice(edges[number], edges[number + 1])
        sums[:, number] = weights[:, rows] @ values[rows]
    return sums


def neutral_means(neutral: Floats, neutral_template: Ints, n_templates: int) -> Floats | None:
    """(n_templates, d) mean of the neutral words; None where a template has none of them."""
    counts = np.bincount(neutral_template, minlength=n_templates)
    if not len(neutral) or (counts == 0).any():
        return None
    weights = (1 / counts[neutral_template]).astype(np.float32)[None]
    return template_sums(neutral, neutral_template, weights, n_templates)[0]
