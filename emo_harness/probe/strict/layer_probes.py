"""Layer probes: each layer by itself, and each head of it, over all seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.centring import template_sums
from emo_harness.probe.strict.gram import Moments, gram, moments
from emo_harness.probe.strict.linear_fits import (
    METHODS,
    RIDGE_PENALTY,
    LinearFit,
    halfway,
    least_squares,
    mean_difference,
    penalty_of,
    solve,
    solve_heads,
)
from emo_harness.probe.strict.rounds import SHUFFLED_POLES, TRUE, Round, sums_of
from emo_harness.probe.strict.shrinkage import dots, shrinkage
from emo_harness.probe.strict.tally import Key, Tally
from emo_harness.probe.targets import Targets

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
SHUFFLED = "shuffled labels"
CONTROL_TASK = "random-label control task"
SEEN_WORDS = ("E2", "E3")
# What the tally of a subset's control task is called, before the subset's name.
_TASK = "task "


@dataclass(eq=False)
class LayerFindings:
    """What one layer gave.

    Attributes:
        tallies: of the answers.
        moments: by round, subset and feature, without their scatter: what fits on all layers
            together start from.
        centres: by round and feature, (T, dim).
        dots: by round and feature, (4, m), see `shrinkage.dots`.
    """

    tallies: list[Tally]
    moments: dict[tuple[int, str, str], Moments] = field(default_factory=dict)
    centres: dict[tuple[int, str], Floats | None] = field(default_factory=dict)
    dots: dict[tuple[int, str], Doubles] = field(default_factory=dict)


def probe_layer(
    values: Floats,
    neutral: Floats | None,
    units: Doubles,
    layer: int,
    n_heads: int,
    targets: Targets,
    rounds: Sequence[Round],
    counts: Doubles,
) -> LayerFindings:
    """Fit and ask every probe of one layer in every seed.

    Args:
        values: (n, dim) float32, scaled.
        neutral: (T, dim) centres by neutral words, if the corpus has them.
        units: (dim,) what raw values were divided by.
        counts: see `rounds.template_counts`.
    """
    features = ("raw", "centred") + (("centred-neutral",) if neutral is not None else ())
    tallies = _tallies(targets, layer, n_heads, features)
    findings = LayerFindings(list(tallies.values()))
    weights = np.concatenate([one.weights for one in rounds])
    summed = template_sums(values, targets.template, weights, len(targets.negates))
    summed = summed.reshape(len(rounds), 4, *summed.shape[1:])
    full = _full_grams(values, targets)
    for number, one in enumerate(rounds):
        sums = sums_of(summed[number, 1:], counts[number])
        grams = _grams(full, values, targets, one)
        held_out = one.held_out
        asked = values[held_out]
        decisions: dict[str, list[Floats]] = {name: [] for name in tallies}
        for feature in features:
            centres = {"raw": None, "centred": summed[number, 0], "centred-neutral": neutral}[
                feature
            ]
            findings.centres[number, feature] = centres
            for subset in targets.subsets:
                own = targets.subset(subset)
                templates = _templates(targets, subset)
                taken = None if centres is None else centres[templates]
                found = moments(sums.only(templates), grams[subset], taken)
                findings.moments[number, subset, feature] = found.without_scatter()
                rows = slice(*np.searchsorted(held_out, [own.start, own.stop]))
                at = targets.template[held_out[rows]]
                if subset != "all":
                    fits = [_fit(method, found, units, 0.0) for method in methods_within(subset)]
                    decisions[subset].append(decide(asked[rows], fits, centres, at))
                    continue
                found_dots = dots(
                    values,
                    one.pairs,
                    found.mean,
                    found.variances,
                    n_heads,
                    targets.template,
                    centres,
                )
                together = found_dots.sum(axis=2)
                findings.dots[number, feature] = together
                shrunk = shrinkage(together, one.pairs, len(units))
                fits = [_fit(method, found, units, shrunk) for method in METHODS]
                decisions["all"].append(decide(asked, fits, centres, at))
                if "heads" in decisions and feature != "centred-neutral":
                    by_head = [
                        shrinkage(found_dots[..., head], one.pairs, len(units) // n_heads)
                        for head in range(n_heads)
                    ]
                    head_fits = [
                        _fit_heads(method, found, units, by_head, n_heads) for method in METHODS
                    ]
                    decisions["heads"].append(_decide_heads(asked, head_fits, centres, at, n_heads))
        _count(tallies, decisions, one)
    return findings


def methods_within(subset: str) -> tuple[str, ...]:
    """Those that are fitted; within negated prompts, or others, shrinkage is not estimated anew."""
    return METHODS if subset == "all" else ("ridge", "mean-difference")


def probe_keys(
    layer: int | None, subset: str, features: Sequence[str], methods: Sequence[str]
) -> list[Key]:
    """A probe and its shuffled twin, for each of the features and methods, in this order."""
    return [key for f in features for m in methods for key in _twins(m, f, layer, None, subset)]


def task_keys(
    layer: int | None, subset: str, features: Sequence[str], methods: Sequence[str]
) -> list[Key]:
    """The control task of each of the features and methods."""
    return [
        Key(CONTROL_TASK, "control", True, f, layer, subset=subset, of=m)
        for f in features
        for m in methods
    ]


def decide(
    values: Floats, fits: Sequence[LinearFit], centres: Floats | None, template: NDArray[np.int64]
) -> Floats:
    """(k, m) decisions of all targets of all fits on (m, d) rows whose centres are taken out."""
    weights = np.concatenate([fit.weights for fit in fits], axis=1).astype(np.float32)
    intercepts = np.concatenate([fit.intercepts for fit in fits]).astype(np.float32)
    decisions: Floats = (values @ weights + intercepts).T
    if centres is not None:
        decisions -= (centres @ weights)[template].T
    return decisions


def _twins(
    method: str, feature: str, layer: int | None, head: int | None, subset: str
) -> Iterator[Key]:
    yield Key(method, "probe", True, feature, layer, head, subset)
    yield Key(SHUFFLED, "control", True, feature, layer, head, subset, of=method)


def _tallies(
    targets: Targets, layer: int, n_heads: int, features: Sequence[str]
) -> dict[str, Tally]:
    made = {
        subset: Tally(targets, probe_keys(layer, subset, features, methods_within(subset)))
        for subset in targets.subsets
    }
    for subset in targets.subsets:
        keys = task_keys(layer, subset, features, methods_within(subset))
        made[_TASK + subset] = Tally(targets, keys, SEEN_WORDS)
    if n_heads > 1:
        heads = [
            key
            for feature in features[:2]
            for head in range(n_heads)
            for method in METHODS
            for key in _twins(method, feature, layer, head, "all")
        ]
        made["heads"] = Tally(targets, heads)
    return made


def _count(tallies: Mapping[str, Tally], decisions: Mapping[str, list[Floats]], one: Round) -> None:
    for name, tally in tallies.items():
        if name.startswith(_TASK):
            answers = np.concatenate(decisions[name.removeprefix(_TASK)])[SHUFFLED_POLES::2]
            tally.add(one.split, answers, one.labels[SHUFFLED_POLES])
        else:
            tally.add(one.split, np.concatenate(decisions[name]), one.labels[TRUE])


def _full_grams(values: Floats, targets: Targets) -> dict[str, Doubles]:
    """Of all rows, by subset."""
    names = targets.subsets[1:] or ("all",)
    return {name: gram(values[targets.subset(name)]) for name in names}


def _grams(
    full: Mapping[str, Doubles], values: Floats, targets: Targets, one: Round
) -> dict[str, Doubles]:
    """Of the training rows, by subset: of all rows, less those held out, which are fewer."""
    held_out = ~one.split.train
    found = {}
    for name, total in full.items():
        own = targets.subset(name)
        found[name] = total - gram(values[own][held_out[own]])
    return found if "all" in found else {"all": sum(found.values(), np.zeros(())), **found}


def _templates(targets: Targets, subset: str) -> slice:
    first = int(np.searchsorted(targets.negates, True))
    n = len(targets.negates)
    return {"all": slice(0, n), "not negated": slice(0, first), "negated": slice(first, n)}[subset]


def _fit(method: str, found: Moments, units: Doubles, shrunk: float) -> LinearFit:
    if method == "mean-difference":
        return mean_difference(found, units)
    if method == "lda":
        return halfway(found, solve(found, penalty_of(shrunk)))
    return least_squares(found, solve(found, RIDGE_PENALTY))


def _fit_heads(
    method: str, found: Moments, units: Doubles, shrunk: Sequence[float], n_heads: int
) -> tuple[Doubles, Doubles]:
    """Weights (n_heads, dim, 2) and intercepts (n_heads, 2)."""
    if method == "mean-difference":
        solved = (found.high - found.low) * units**2
    elif method == "lda":
        solved = solve_heads(found, n_heads, [penalty_of(a) for a in shrunk])
    else:
        solved = solve_heads(found, n_heads, [RIDGE_PENALTY] * n_heads)
    middle = found.mean if method == "ridge" else (found.high + found.low) / 2
    offset = (solved * middle).reshape(len(solved), n_heads, -1).sum(axis=2)
    start = found.y_means if method == "ridge" else np.zeros_like(found.y_means)
    return solved.reshape(len(solved), n_heads, -1).transpose(1, 2, 0), start - offset.T


def _decide_heads(
    values: Floats,
    fits: Sequence[tuple[Doubles, Doubles]],
    centres: Floats | None,
    template: NDArray[np.int64],
    n_heads: int,
) -> Floats:
    """(n_heads * k, m) decisions, head by head."""
    weights = np.concatenate([one for one, _ in fits], axis=2).astype(np.float32)
    intercepts = np.concatenate([one for _, one in fits], axis=1).astype(np.float32)
    by_head = values.reshape(len(values), n_heads, -1).transpose(1, 0, 2)
    decisions = by_head @ weights + intercepts[:, None]
    if centres is not None:
        at_centres = centres.reshape(len(centres), n_heads, -1).transpose(1, 0, 2) @ weights
        decisions -= at_centres[:, template]
    found: Floats = decisions.transpose(0, 2, 1).reshape(-1, len(values))
    return found
