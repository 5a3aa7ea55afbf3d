"""Pooled probes: all layers together, over all seeds.

What a fit needs of the layers (means, products, centres, dot products) is laid side by side from
`layer_probes`; only the solutions with a correlation matrix take further passes over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.centring import balanced_weights, template_sums
from emo_harness.probe.strict.conjugate_gradients import Design, System, solve_systems
from emo_harness.probe.strict.gram import Moments
from emo_harness.probe.strict.layer_probes import (
    SEEN_WORDS,
    LayerFindings,
    decide,
    methods_within,
    probe_keys,
    task_keys,
)
from emo_harness.probe.strict.linear_fits import (
    RIDGE_PENALTY,
    LinearFit,
    halfway,
    least_squares,
    mean_difference,
    penalty_of,
)
from emo_harness.probe.strict.preconditioner import MOST_TOGETHER, FullGram, Preconditioner
from emo_harness.probe.strict.rounds import SHUFFLED_POLES, TRUE, Round
from emo_harness.probe.strict.shrinkage import shrinkage
from emo_harness.probe.strict.tally import Tally
from emo_harness.probe.strict.vectors import Vectors
from emo_harness.probe.targets import Targets

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(eq=False)
class PooledFindings:
    """What all layers together gave.

    Attributes:
        tallies: of the answers.
        fits: by round and method, of the true targets and their shuffled twins, on all rows with
            raw features.
        features: that were fitted.
        steps: conjugate gradient steps by subset.
    """

    tallies: list[Tally]
    fits: dict[tuple[int, str], LinearFit]
    features: tuple[str, ...]
    steps: dict[str, int]


def probe_pooled(
    vectors: Vectors,
    targets: Targets,
    rounds: Sequence[Round],
    layers: Sequence[LayerFindings],
    step: Callable[[], object] = lambda: None,
) -> PooledFindings:
    """Fit and ask every probe of all layers together in every seed.

    Args:
        vectors: whose first rows are those of `targets`.
        layers: what each layer gave.
        step: called after every step of a solution.
    """
    values = vectors.scaled[: len(targets)]
    features = tuple(dict.fromkeys(feature for _, feature in layers[0].centres))
    grams = _full_grams(values, targets, vectors)
    ones = np.ones((1, len(targets)), np.float32)
    n_templates = len(targets.negates)
    counts = np.bincount(targets.template, minlength=n_templates).astype(np.float32)
    means = template_sums(values, targets.template, ones, n_templates)[0] / counts[:, None]
    balanced = template_sums(
        values,
        targets.template,
        balanced_weights(targets, np.ones(len(targets), bool))[None],
        n_templates,
    )[0]
    found = PooledFindings([], {}, features, {})
    for subset in targets.subsets:
        templates = np.unique(targets.template[targets.subset(subset)])
        gram = grams[subset]
        neutral = joined_centres(layers, 0, features[-1])
        factors = {
            feature: gram.factorised(
                RIDGE_PENALTY,
                means[templates],
                _of_feature(feature, balanced, neutral, templates),
                counts[templates],
            )
            for feature in features
        }
        _probe_subset(subset, vectors, targets, rounds, layers, factors, found, step)
        del factors, gram
        del grams[subset]
    return found


def _of_feature(
    feature: str, balanced: Floats, neutral: Floats | None, templates: NDArray[np.int64]
) -> Floats | None:
    if feature == "raw":
        return None
    if feature == "centred" or neutral is None:
        return balanced[templates]
    return neutral[templates]


def _full_grams(values: Floats, targets: Targets, vectors: Vectors) -> dict[str, FullGram]:
    blocks = factorised_together(vectors)
    if len(targets.subsets) == 1:
        return {"all": FullGram(values, blocks)}
    parts = {
        name: FullGram(values[targets.subset(name)], blocks) for name in ("not negated", "negated")
    }
    return {"all": parts["not negated"] + parts["negated"], **parts}


def factorised_together(vectors: Vectors) -> list[slice]:
    """Columns that a preconditioner takes together: all, or each layer's where they are many."""
    width = vectors.scaled.shape[1]
    if width <= MOST_TOGETHER:
        return [slice(0, width)]
    return [vectors.layer(place) for place in range(len(vectors.layers))]


def _probe_subset(
    subset: str,
    vectors: Vectors,
    targets: Targets,
    rounds: Sequence[Round],
    layers: Sequence[LayerFindings],
    factors: dict[str, Preconditioner],
    found: PooledFindings,
    step: Callable[[], object],
) -> None:
    own = targets.subset(subset)
    values, template = vectors.scaled[own], targets.template[own]
    features = found.features
    methods = methods_within(subset)
    designs: list[Design] = []
    systems: list[System] = []
    preconditioners: list[Preconditioner] = []
    joined = {
        (number, feature): joined_moments(layers, number, subset, feature)
        for number in range(len(rounds))
        for feature in features
    }
    for (number, feature), moments in joined.items():
        designs.append(
            Design(
                rounds[number].split.train[own],
                moments.n,
                moments.mean,
                moments.variances,
                joined_centres(layers, number, feature),
            )
        )
        preconditioners.append(factors[feature])
        for method in methods[: methods.index("mean-difference")]:
            penalty = (
                RIDGE_PENALTY
                if method == "ridge"
                else penalty_of(_shrinkage(layers, rounds, number, feature, vectors))
            )
            systems += [System(len(designs) - 1, penalty, b) for b in moments.products]
    solved = solve_systems(values, template, designs, systems, preconditioners, step=step)
    found.steps[subset] = solved.steps
    tally = Tally(targets, probe_keys(None, subset, features, methods))
    task = Tally(targets, task_keys(None, subset, features, methods), SEEN_WORDS)
    converged = np.ones((len(rounds), len(tally.keys)), bool)
    place = 0
    for number, one in enumerate(rounds):
        decisions = []
        held_out = one.held_out
        held_out = held_out[(held_out >= own.start) & (held_out < own.stop)]
        asked, at = vectors.scaled[held_out], targets.template[held_out]
        for kind, feature in enumerate(features):
            moments = joined[number, feature]
            fits = []
            for turn, method in enumerate(methods):
                if method == "mean-difference":
                    fits.append(mean_difference(moments, vectors.scale))
                else:
                    rows = slice(place, place + 2)
                    place += 2
                    make = least_squares if method == "ridge" else halfway
                    fits.append(make(moments, solved.weights[rows]))
                    first = 2 * (kind * len(methods) + turn)
                    converged[number, first : first + 2] = solved.converged[rows]
                if subset == "all" and feature == "raw":
                    found.fits[number, method] = fits[-1]
            decisions.append(decide(asked, fits, joined_centres(layers, number, feature), at))
        answers = np.concatenate(decisions)
        tally.add(one.split, answers, one.labels[TRUE])
        task.add(one.split, answers[SHUFFLED_POLES::2], one.labels[SHUFFLED_POLES])
    tally.converged = [bool(converged[:, k].all()) for k in range(len(tally.keys))]
    task.converged = tally.converged[SHUFFLED_POLES::2]
    found.tallies += [tally, task]


def joined_moments(
    layers: Sequence[LayerFindings], number: int, subset: str, feature: str
) -> Moments:
    """The layers' moments side by side, without scatter."""
    return side_by_side([one.moments[number, subset, feature] for one in layers])


def side_by_side(parts: Sequence[Moments]) -> Moments:
    """Moments of features that lie side by side on the same rows, without scatter."""
    first = parts[0]
    return Moments(
        first.n,
        np.concatenate([part.mean for part in parts]),
        first.y_means,
        np.concatenate([part.products for part in parts], axis=1),
        np.concatenate([part.variances for part in parts]),
        np.concatenate([part.high for part in parts], axis=1),
        np.concatenate([part.low for part in parts], axis=1),
        None,
    )


def joined_centres(layers: Sequence[LayerFindings], number: int, feature: str) -> Floats | None:
    """(T, L * dim) the layers' centres side by side."""
    parts = [one.centres[number, feature] for one in layers]
    return None if parts[0] is None else np.concatenate(parts, axis=1)  # type: ignore[arg-type]


def _shrinkage(
    layers: Sequence[LayerFindings],
    rounds: Sequence[Round],
    number: int,
    feature: str,
    vectors: Vectors,
) -> float:
    dots = sum(one.dots[number, feature] for one in layers)
    width = vectors.scaled.shape[1]
    return shrinkage(np.asarray(dots), rounds[number].pairs, width)
