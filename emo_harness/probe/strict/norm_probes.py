"""Norm probes: ridge regression on what people say about the words, instead of on poles.

The target of a prompt is its word's signed norm, standardised over the training words, and turned
round where the template negates. A word's score is the mean of sign x prediction over its prompts;
scores are correlated with the norms over words: those unseen (E1, E4) and those seen (E2, E3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.probe.clustered import Estimate
from emo_harness.probe.corpus.norms import Norms, load_norms
from emo_harness.probe.strict.centring import template_sums
from emo_harness.probe.strict.controls import (
    EMBEDDING,
    FLAG,
    Control,
    controls_of,
    fit_control,
    flagged,
)
from emo_harness.probe.strict.gram import TemplateSums, gram, moments
from emo_harness.probe.strict.layer_probes import SHUFFLED, decide
from emo_harness.probe.strict.linear_fits import ridge
from emo_harness.probe.strict.one_dimension import Strict
from emo_harness.probe.strict.pooled_norm_probes import NormFit, pooled_norm_answers
from emo_harness.probe.strict.rounds import Round
from emo_harness.probe.strict.splits import PARTS
from emo_harness.probe.strict.tally import Key, result
from emo_harness.probe.targets import Ints, Targets

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
FEWEST_WORDS = 20
N_DRAWS = 1000
STATISTICS = ("pearson", "spearman")
FEATURES = ("raw", "centred")


def norms_of(path: Path, targets: Targets) -> tuple[Norms, Doubles]:
    """(W,) signed norms of the words; NaN where a word has none.

    Raises:
        UserError: see `load_norms`; or too few of the words have a norm.
    """
    norms = load_norms(path, targets.dimension)
    signed = norms.signed(targets.words)
    n = int(np.isfinite(signed).sum())
    if n < FEWEST_WORDS:
        raise UserError(
            f"matching {targets.dimension} norms in {path.name} with the words of the corpus",
            found=f"{n} of {len(targets.words)} words have one",
            expected=f"at least {FEWEST_WORDS}",
            fix="use norms that cover the corpus's words",
        )
    return norms, signed


def probe_norms(
    found: Strict, signed: Doubles, site: str, embeddings: Floats | None
) -> list[dict[str, Any]]:
    """Rows of results: correlations, all layers and each, raw and centred, beside controls.

    Args:
        signed: (W,) see `norms_of`; the prompts of words without a norm are left out.
        embeddings: see `controls_of`.
    """
    targets, vectors = found.targets, found.vectors
    has = np.isfinite(signed)[targets.word]
    sign = np.where(targets.negated, -1.0, 1.0)
    scores: dict[Key, list[tuple[Round, Doubles]]] = {}
    fits: dict[tuple[int, str], NormFit] = {}

    def keep(feature: str, layer: int | None, number: int, asked: Ints, made: Floats) -> None:
        for key, decisions in zip(_keys(feature, layer), made, strict=True):
            filled = np.full(len(targets), np.nan)
            filled[asked] = decisions * sign[asked]
            scores.setdefault(key, []).append((found.rounds[number], filled))

    for place, layer in enumerate(vectors.layers):
        columns = vectors.layer(place)
        values = np.ascontiguousarray(vectors.scaled[: len(targets), columns])
        for number, one in enumerate(found.rounds):
            train = one.split.train & has
            y = _targets(targets, signed, train, one, sign)
            asked = np.flatnonzero(~one.split.train & has)
            weights = np.stack([train, train * y[0], train * y[1]]).astype(np.float32)
            sums = template_sums(values, targets.template, weights, len(targets.negates))
            x = sums.astype(np.float64)
            counts = np.stack(
                [np.bincount(targets.template, row, len(targets.negates)) for row in weights]
            ).astype(np.float64)
            total = gram(values[train])
            for feature in FEATURES:
                centres = found.layers[place].centres[number, feature]
                its = moments(TemplateSums(counts[0], x[0], counts[1:], x[1:]), total, centres)
                fits.setdefault(
                    (number, feature), NormFit(number, feature, train, asked, [])
                ).moments.append(its.without_scatter())
                made = decide(values[asked], [ridge(its)], centres, targets.template[asked])
                keep(feature, layer, number, asked, made)
    together, converged = pooled_norm_answers(vectors, targets, found.layers, list(fits.values()))
    for fit, made in zip(fits.values(), together, strict=True):
        keep(fit.feature, None, fit.number, fit.asked, made)
    if not all(converged):
        found.remarks.append("a pooled ridge regression on norms did not converge")
    for control in _flagged(targets, embeddings):
        for one in found.rounds:
            train = one.split.train & has
            y = _targets(targets, signed, train, one, sign)[0]
            answers = fit_control(control, train, y)[control.code]
            kept = np.where(~one.split.train & has, answers * sign, np.nan)
            for feature in FEATURES:
                key = Key(control.name, "control", True, feature)
                scores.setdefault(key, []).append((one, kept))
    rng = np.random.default_rng([0, 5])
    return [
        row
        for key, by_round in scores.items()
        for row in _correlations(key, by_round, targets, signed, site, rng)
    ]


def _keys(feature: str, layer: int | None) -> tuple[Key, Key]:
    return (
        Key("ridge", "probe", True, feature, layer),
        Key(SHUFFLED, "control", True, feature, layer, of="ridge"),
    )


def _targets(
    targets: Targets, signed: Doubles, train: NDArray[np.bool_], one: Round, sign: Doubles
) -> Doubles:
    """(2, n) standardised norms and shuffled ones, turned round by negation; 0 without a norm."""
    words = np.unique(targets.word[train])
    z = (signed - signed[words].mean()) / max(float(signed[words].std()), 1e-9)
    known = np.flatnonzero(np.isfinite(z))
    shuffled = np.zeros(len(z))
    rng = np.random.default_rng([one.split.seed, 6])
    shuffled[known] = z[rng.permutation(known)]
    return np.stack([np.nan_to_num(z)[targets.word] * sign, shuffled[targets.word] * sign])


def _flagged(targets: Targets, embeddings: Floats | None) -> list[Control]:
    plain = [c for c in controls_of(targets, embeddings) if c.name == EMBEDDING]
    return [replace(flagged(c, targets), name=EMBEDDING + FLAG) for c in plain]


def _correlations(
    key: Key,
    made: Sequence[tuple[Round, Doubles]],
    targets: Targets,
    signed: Doubles,
    site: str,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    rows = []
    n_words = len(targets.words)
    for number, part in enumerate(PARTS, start=1):
        total, times = np.zeros(n_words), np.zeros(n_words)
        templates: set[int] = set()
        by_seed: dict[str, list[float]] = {name: [] for name in STATISTICS}
        for one, score in made:
            own = (one.split.part == number) & np.isfinite(score)
            sums = np.bincount(targets.word[own], score[own], n_words)
            counts = np.bincount(targets.word[own], minlength=n_words)
            total, times = total + sums, times + counts
            templates |= set(np.unique(targets.template[own]).tolist())
            there = counts > 0
            means = sums[there] / counts[there]
            for name in STATISTICS:
                by_seed[name].append(float(_correlation(name, means[None], signed[there][None])[0]))
        there = times > 0
        means, truth = total[there] / np.maximum(times[there], 1), signed[there]
        draws = rng.integers(0, max(len(means), 1), (N_DRAWS, len(means)))
        for name in STATISTICS:
            if len(means) < 3:
                continue
            whole = float(_correlation(name, means[None], truth[None])[0])
            around = _correlation(name, means[draws], truth[draws])
            low, high = np.nanpercentile(around, [2.5, 97.5])
            estimate = Estimate(
                whole, float(low), float(high), int(times.sum()), len(means), len(templates)
            )
            rows.append(
                result(targets.dimension, site, key, part, estimate, np.array(by_seed[name]), name)
            )
    return rows


def _correlation(name: str, a: Doubles, b: Doubles) -> Doubles:
    """(k,) correlations of the rows of two (k, n)."""
    if name == "spearman":
        from scipy.stats import rankdata

        a, b = rankdata(a, axis=1), rankdata(b, axis=1)
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: Doubles = np.divide(
        (a * b).sum(axis=1), lengths, out=np.full(len(a), np.nan), where=lengths > 0
    )
    return found
