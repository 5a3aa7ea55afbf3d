"""Robustness: does a probe hold across shapes of templates, and how many templates does it need?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects.intervals import t_quantile
from emo_harness.probe.clustered import LEVEL, Estimate
from emo_harness.probe.strict.centring import template_sums
from emo_harness.probe.strict.gram import moments
from emo_harness.probe.strict.layer_probes import decide
from emo_harness.probe.strict.linear_fits import mean_difference
from emo_harness.probe.strict.one_dimension import Strict
from emo_harness.probe.strict.rounds import TRUE, sums_of, template_counts
from emo_harness.probe.strict.tally import Key, Tally, result

Floats = NDArray[np.float32]
CURVE_PARTS = ("E2", "E4")
_NAN = float("nan")


def by_shape(found: Strict, site: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each pooled probe's accuracy on every shape of template while it was unseen.

    Returns:
        Rows of results (split "shape": the mean over shapes, each counted alike, with Student's t
        over shapes), and one entry per shape, features and method.
    """
    tally, targets = found.pooled.tallies[0], found.targets
    names, shape = np.unique(np.array(targets.shapes, object).astype(str), return_inverse=True)
    of_row = shape[targets.template]
    rows, shapes = [], []
    for key in tally.keys:
        if key.kind != "probe":
            continue
        right = tally.right(key, "E2") + tally.right(key, "E4")
        times = tally.times_asked("E2") + tally.times_asked("E4")
        asked = np.bincount(of_row, times, len(names))
        accuracy = np.bincount(of_row, right, len(names)) / np.maximum(asked, 1)
        there = asked > 0
        shapes += [
            {
                "features": key.features,
                "method": key.method,
                "shape": str(names[k]),
                "example": targets.template_texts[int(np.flatnonzero(shape == k)[0])],
                "n_templates": int((shape == k).sum()),
                "n_prompts": int(asked[k]),
                "accuracy": float(accuracy[k]),
            }
            for k in np.flatnonzero(there)
        ]
        estimate = _mean_of(accuracy[there], int(times.sum()), targets.word[times > 0])
        rows.append(
            result(
                targets.dimension, site, key, "shape", estimate, np.full(len(found.rounds), _NAN)
            )
            | {"n_templates": int(there.sum()), "n_seeds": len(found.rounds)}
        )
    return rows, shapes


def learning_curve(found: Strict, seed: int = 0) -> list[dict[str, Any]]:
    """Accuracy of the mean difference over all layers by the number of templates it was fitted on.

    In every seed the seen templates are taken in random order, with and without negation in turn;
    the words stay those of the split.

    Returns:
        Dictionaries of features, split, n_templates (fitted on), accuracy, low, high.
    """
    targets, vectors, rounds = found.targets, found.vectors, found.rounds
    fewest = min(int(one.split.seen_templates.sum()) for one in rounds)
    sizes = [size for size in (2, 4, 8, 16, 32, 64, 128, 256, 512) if size < fewest] + [fewest]
    features = ("raw", "centred")
    counts = template_counts(rounds, targets)
    n_templates, n_layers = len(targets.negates), len(vectors.layers)
    orders = [
        _in_turn(one.split.seen_templates, targets.negates, seed, k) for k, one in enumerate(rounds)
    ]
    decisions = [
        np.zeros((len(features) * len(sizes), len(one.held_out)), np.float32) for one in rounds
    ]
    for place in range(n_layers):
        columns = vectors.layer(place)
        values = np.ascontiguousarray(vectors.scaled[: len(targets), columns])
        weights = np.concatenate([one.weights[:3] for one in rounds])
        summed = template_sums(values, targets.template, weights, n_templates)
        summed = summed.reshape(len(rounds), 3, n_templates, -1)
        for number, one in enumerate(rounds):
            sums = sums_of(summed[number, 1:], counts[number, :2])
            asked, at = values[one.held_out], targets.template[one.held_out]
            line = 0
            for feature in features:
                centres = summed[number, 0] if feature == "centred" else None
                fits = []
                for size in sizes:
                    chosen = orders[number][:size]
                    taken = None if centres is None else centres[chosen]
                    part = sums.only(chosen)
                    unused = np.ones(values.shape[1])
                    fits.append(
                        mean_difference(moments(part, unused, taken), vectors.scale[columns])
                    )
                made = decide(asked, fits, centres, at)
                decisions[number][line : line + len(sizes)] += made
                line += len(sizes)
    keys = [Key(str(size), "probe", True, feature) for feature in features for size in sizes]
    tally = Tally(targets, keys, CURVE_PARTS)
    for one, made in zip(rounds, decisions, strict=True):
        tally.add(one.split, made, one.labels[TRUE])
    return [
        {
            "features": key.features,
            "method": "mean-difference",
            "split": part,
            "n_templates": int(key.method),
            "accuracy": estimate.mean,
            "low": estimate.low,
            "high": estimate.high,
        }
        for part in CURVE_PARTS
        for key, estimate in zip(keys, tally.estimates(part), strict=True)
    ]


def _in_turn(
    seen: NDArray[np.bool_], negates: NDArray[np.bool_], seed: int, number: int
) -> NDArray[np.int64]:
    """The seen templates in random order, one without and one with negation in turn."""
    rng = np.random.default_rng([seed, 4, number])
    plain = rng.permutation(np.flatnonzero(seen & ~negates))
    negated = rng.permutation(np.flatnonzero(seen & negates))
    rank = np.concatenate([np.arange(len(plain)) * 2, np.arange(len(negated)) * 2 + 1])
    order: NDArray[np.int64] = np.concatenate([plain, negated])[np.argsort(rank, kind="stable")]
    return order


def _mean_of(shares: NDArray[np.float64], n_prompts: int, words: NDArray[np.int64]) -> Estimate:
    n = len(shares)
    mean = float(shares.mean()) if n else _NAN
    half = float(t_quantile(LEVEL, n - 1) * shares.std(ddof=1) / n**0.5) if n > 1 else _NAN
    low, high = (max(mean - half, 0.0), min(mean + half, 1.0)) if n > 1 else (_NAN, _NAN)
    return Estimate(mean, low, high, n_prompts, len(np.unique(words)), n)
