"""Logistic probes: all layers together once per seed, and what `--full` adds to that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.logistic import fit_logistic
from emo_harness.probe.strict.gram import Moments
from emo_harness.probe.strict.layer_probes import (
    SEEN_WORDS,
    LayerFindings,
    decide,
    probe_keys,
    task_keys,
)
from emo_harness.probe.strict.linear_fits import LinearFit
from emo_harness.probe.strict.pooled_probes import joined_centres, joined_moments
from emo_harness.probe.strict.rounds import SHUFFLED_POLES, TRUE, Round
from emo_harness.probe.strict.tally import Key, Tally
from emo_harness.probe.strict.vectors import Vectors
from emo_harness.probe.targets import Ints, Targets

Floats = NDArray[np.float32]
# Reached where signals are weak; such a fit is reported as not converged.
MOST_ITERATIONS, MOST_ITERATIONS_FULL = 200, 1000
FULL_FEATURES = ("raw", "centred")


def probe_logistic(
    vectors: Vectors,
    targets: Targets,
    rounds: Sequence[Round],
    layers: Sequence[LayerFindings],
    *,
    full: bool = False,
    tell: Callable[[str], object] = lambda what: None,
) -> list[Tally]:
    """Fit all layers together on the true labels in every seed.

    Args:
        full: centred features, shuffled labels, the control task, and every layer and every head
            by itself too; heads without the control task.
        tell: called after every fit.
    """
    if not full:
        tally = Tally(targets, [Key("logistic", "probe", True, "raw")])
        _ask(
            tally, None, vectors, targets, rounds, layers, ("raw",), (TRUE,), MOST_ITERATIONS, tell
        )
        return [tally]
    tallies = []
    for place in (None, *range(len(vectors.layers))):
        layer = None if place is None else vectors.layers[place]
        tally = Tally(targets, probe_keys(layer, "all", FULL_FEATURES, ("logistic",)))
        task = Tally(targets, task_keys(layer, "all", FULL_FEATURES, ("logistic",)), SEEN_WORDS)
        both = (TRUE, SHUFFLED_POLES)
        most = MOST_ITERATIONS_FULL
        _ask(tally, place, vectors, targets, rounds, layers, FULL_FEATURES, both, most, tell, task)
        tallies += [tally, task]
        heads = range(vectors.n_heads if place is not None and vectors.n_heads > 1 else 0)
        for head in heads:
            keys = [replace(key, head=head) for key in tally.keys]
            tallies.append(Tally(targets, keys))
            _ask(
                tallies[-1],
                place,
                vectors,
                targets,
                rounds,
                layers,
                FULL_FEATURES,
                both,
                most,
                tell,
            )
    return tallies


def n_fits(seeds: int, full: bool) -> int:
    """How many fits of all layers `probe_logistic` makes, or as much work in layers and heads."""
    return seeds * (3 * len(FULL_FEATURES) * 2 if full else 1)


def _ask(
    tally: Tally,
    place: int | None,
    vectors: Vectors,
    targets: Targets,
    rounds: Sequence[Round],
    layers: Sequence[LayerFindings],
    features: Sequence[str],
    labels: Sequence[int],
    most: int,
    tell: Callable[[str], object],
    task: Tally | None = None,
) -> None:
    own = list(layers) if place is None else [layers[place]]
    columns = slice(None) if place is None else vectors.layer(place)
    where = "all layers" if place is None else f"layer {vectors.layers[place]}"
    head = tally.keys[0].head
    inside = slice(None)
    if head is not None and place is not None:
        width = vectors.dim // vectors.n_heads
        inside = slice(head * width, (head + 1) * width)
        columns = slice(columns.start + inside.start, columns.start + inside.stop)
        where += f" head {head}"
    converged = np.ones(len(tally.keys), bool)
    for number, one in enumerate(rounds):
        decisions: list[Floats] = []
        for feature in features:
            moments = joined_moments(own, number, "all", feature).only(inside)
            centres = joined_centres(own, number, feature)
            centres = None if centres is None else centres[:, inside]
            train = np.flatnonzero(one.split.train)
            x = _standardised(vectors.scaled, train, columns, moments, targets.template, centres)
            fits: list[LinearFit] = []
            for label in labels:
                fit = fit_logistic(x, one.labels[label][train] > 0, max_iterations=most)
                converged[len(decisions) * len(labels) + len(fits)] &= fit.converged
                weights = fit.coef / np.sqrt(moments.variances)
                fits.append(
                    LinearFit(
                        weights[:, None], np.array([fit.intercept - float(weights @ moments.mean)])
                    )
                )
                tell(f"{targets.dimension}: logistic, {where}")
            del x
            asked = vectors.scaled[one.held_out, columns]
            decisions.append(decide(asked, fits, centres, targets.template[one.held_out]))
        answers = np.concatenate(decisions)
        tally.add(one.split, answers, one.labels[TRUE])
        if task is not None:
            task.add(one.split, answers[SHUFFLED_POLES::2], one.labels[SHUFFLED_POLES])
    tally.converged = [bool(each) for each in converged]
    if task is not None:
        task.converged = tally.converged[SHUFFLED_POLES::2]


def _standardised(
    scaled: Floats,
    rows: Ints,
    columns: slice,
    moments: Moments,
    template: Ints,
    centres: Floats | None,
) -> Floats:
    """(m, d) training rows as the fit sees them."""
    x = np.ascontiguousarray(scaled[rows, columns])
    mean = moments.mean.astype(np.float32)
    factor = (1 / np.sqrt(moments.variances)).astype(np.float32)
    for first in range(0, len(x), 1024):
        block = slice(first, first + 1024)
        if centres is not None:
            x[block] -= centres[template[rows[block]]]
        x[block] -= mean
        x[block] *= factor
    return x
