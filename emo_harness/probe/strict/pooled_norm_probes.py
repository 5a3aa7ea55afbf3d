"""Pooled norm probes: ridge regression on norms, all layers together, in every seed at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.centring import template_sums
from emo_harness.probe.strict.conjugate_gradients import Design, System, solve_systems
from emo_harness.probe.strict.gram import Moments
from emo_harness.probe.strict.layer_probes import LayerFindings, decide
from emo_harness.probe.strict.linear_fits import RIDGE_PENALTY, least_squares
from emo_harness.probe.strict.pooled_probes import (
    factorised_together,
    joined_centres,
    side_by_side,
)
from emo_harness.probe.strict.preconditioner import FullGram
from emo_harness.probe.strict.vectors import Vectors
from emo_harness.probe.targets import Bools, Ints, Targets

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NormFit:
    """What a seed's fit starts from.

    Attributes:
        number: of the round.
        feature: "raw" or "centred".
        train: (n,) bool.
        asked: (m,) rows to be answered.
        moments: of the training rows, layer by layer, for K targets.
    """

    number: int
    feature: str
    train: Bools
    asked: Ints
    moments: list[Moments]


def pooled_norm_answers(
    vectors: Vectors, targets: Targets, layers: Sequence[LayerFindings], fits: Sequence[NormFit]
) -> tuple[list[Floats], list[bool]]:
    """(K, m) predictions of each fit on the rows it is asked about, and whether it converged."""
    values = vectors.scaled[: len(targets)]
    n_templates = len(targets.negates)
    full = FullGram(values, factorised_together(vectors))
    counts = np.bincount(targets.template, minlength=n_templates).astype(np.float32)
    ones = np.ones((1, len(targets)), np.float32)
    means = template_sums(values, targets.template, ones, n_templates)[0] / counts[:, None]
    factors = {
        feature: full.factorised(
            RIDGE_PENALTY, means, joined_centres(layers, fits[0].number, feature), counts
        )
        for feature in dict.fromkeys(fit.feature for fit in fits)
    }
    joined = [side_by_side(fit.moments) for fit in fits]
    centres = [joined_centres(layers, fit.number, fit.feature) for fit in fits]
    designs = [
        Design(fit.train, its.n, its.mean, its.variances, out)
        for fit, its, out in zip(fits, joined, centres, strict=True)
    ]
    systems = [
        System(place, RIDGE_PENALTY, b) for place, its in enumerate(joined) for b in its.products
    ]
    solved = solve_systems(
        values, targets.template, designs, systems, [factors[fit.feature] for fit in fits]
    )
    answers, converged, first = [], [], 0
    for fit, its, out in zip(fits, joined, centres, strict=True):
        own = slice(first, first + len(its.products))
        first = own.stop
        linear = least_squares(its, solved.weights[own])
        answers.append(decide(values[fit.asked], [linear], out, targets.template[fit.asked]))
        converged.append(bool(solved.converged[own].all()))
    return answers, converged
