"""The Emo_LLM protocol: the procedure behind its published tables, seeded and repeated.

Features are the value vectors at the last token, all layers, heads and dimensions side by side,
standardised by the training prompts. A logistic regression (C = 1, at most 1,000 iterations) and
the vote of the 5 nearest neighbours are asked about E1, E2 and E3 (amanb2000/Emo_LLM, 2024; see
`draws` for how these are drawn). Label 1 is the first class of the adjective file, XOR
negation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from emo_harness.errors import UserError
from emo_harness.probe.clustered import Clusters
from emo_harness.probe.emo_llm.draws import PARTS, Drawn, Prompts, draw, prompts_of
from emo_harness.probe.emo_llm.neighbours import vote_of_nearest
from emo_harness.probe.evaluation import Evaluation, write_evaluation
from emo_harness.probe.logistic import LogisticFit, fit_logistic
from emo_harness.probe.strict.tally import Key, result
from emo_harness.probe.strict.vectors import not_finite
from emo_harness.probe.targets import SUBSETS, Bools

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SITE = "value"
METHODS = ("logistic", "knn")
N_NEIGHBOURS = 5
PENALTY_C = 1.0
TOLERANCE = 1e-4
MAX_ITERATIONS = 1000
# Accuracies on GPT-2 (124M), 254 templates, 190 adjectives of valence and 101 of arousal; E1, E2
# and E3 of results/happy_sad_0330b2024 and results/low_high_arousal_0330b2024 of Emo_LLM.
PUBLISHED: Mapping[str, Mapping[str, tuple[float, float, float]]] = {
    "valence": {"logistic": (0.90, 0.83, 0.99), "knn": (0.88, 0.82, 0.91)},
    "arousal": {"logistic": (0.79, 0.82, 0.96), "knn": (0.72, 0.80, 0.82)},
}


@dataclass(frozen=True, eq=False)
class SeedAnswers:
    """What one seed's classifiers answered.

    Attributes:
        seed: that drew the split.
        drawn: the split.
        answers: by method and part, (n,) bool in the order of the part.
        fit: the logistic regression, on standardised features.
        mean, scale: (d,) of the training features: a feature was (x - mean) / scale.
    """

    seed: int
    drawn: Drawn
    answers: dict[str, dict[str, Bools]]
    fit: LogisticFit
    mean: Doubles
    scale: Doubles


def evaluate_emo_llm(
    store: Activations,
    dimension: str,
    *,
    seeds: int = 5,
    out: Path | None = None,
    knn: bool = True,
    progress: bool = True,
) -> Evaluation:
    """Follow the protocol on captured activations.

    Args:
        store: of a corpus of adjectives and templates, with the site "value" at the last token.
        dimension: "valence", "arousal", or what else the corpus knows.
        seeds: how many splits are drawn, by the seeds 0, 1, and so on.
        out: a folder for the texts and weights of each seed (`seed-0`, ..., written when it is
            done), evaluation.json and results.parquet.
        knn: ask the nearest neighbours too.
        progress: show a bar.

    Returns:
        Accuracies, means over the seeds, of all prompts and by negation. Their 95% intervals are
        clustered by adjective and template over all seeds together, since these are the units.
        What each seed drew and whether its fit converged is in the settings.

    Raises:
        UserError: the store does not fit the protocol, or the folder cannot be written.
    """
    from emo_harness.probe.emo_llm.texts import write_seed

    prompts = prompts_of(store, dimension)
    store.shape(SITE)
    n_methods = 1 + knn
    done: list[SeedAnswers] = []
    with tqdm(
        total=seeds * n_methods * (1 + len(PARTS)),
        desc=f"emo-llm: {dimension}",
        unit="step",
        disable=not progress,
    ) as bar:
        for seed in range(seeds):
            done.append(_one_seed(store, prompts, seed, knn, bar.update))
            if out is not None:
                write_seed(out / f"seed-{seed}", store, dimension, prompts, done[-1])
    evaluation = Evaluation(
        store.folder,
        "emo-llm",
        [dimension],
        _settings(store, prompts, done),
        results=_results(prompts, done, dimension),
        remarks=_remarks(done),
    )
    if out is not None:
        write_evaluation(evaluation, out)
    return evaluation


def row_of(
    evaluation: Evaluation, method: str, part: str, subset: str = "all"
) -> dict[str, Any] | None:
    """The row of results of a method ("logistic", "knn") and part ("E1", "E2", "E3"), if any."""
    asked = {"method": method, "split": part, "subset": subset}
    return next((row for row in evaluation.results if asked.items() <= row.items()), None)


def _one_seed(
    store: Activations, prompts: Prompts, seed: int, knn: bool, step: Callable[[int], object]
) -> SeedAnswers:
    drawn = draw(prompts, np.random.default_rng(seed))
    train = _features(store, prompts.rows[drawn.train])
    mean, scale = _scaler(train)
    _standardise(train, mean, scale)
    labels = prompts.label[drawn.train]
    if labels.all() or not labels.any():
        raise UserError(
            f"fitting the split of seed {seed} in {store.folder}",
            found="training prompts of one label alone",
            expected="both labels",
            fix="capture a corpus with more adjectives of both classes",
        )
    fit = fit_logistic(
        train, labels, penalty_c=PENALTY_C, tolerance=TOLERANCE, max_iterations=MAX_ITERATIONS
    )
    step(1 + knn)
    answers: dict[str, dict[str, Bools]] = {name: {} for name in METHODS[: 1 + knn]}
    for part, numbers in drawn.parts.items():
        asked = _features(store, prompts.rows[numbers])
        _standardise(asked, mean, scale)
        answers["logistic"][part] = fit.decision(asked) > 0
        step(1)
        if knn:
            answers["knn"][part] = vote_of_nearest(train, labels, asked, N_NEIGHBOURS)
            step(1)
    return SeedAnswers(seed, drawn, answers, fit, mean, scale)


def _features(store: Activations, rows: NDArray[np.int64]) -> Floats:
    """(n, layers * heads * dimensions).

    Raises:
        UserError: a value is not finite.
    """
    features = store.read(SITE, rows=rows).reshape(len(rows), -1)
    if not np.isfinite(features).all():
        raise not_finite(store, SITE, rows, store.manifest.layers, features)
    return features


def _scaler(train: Floats, n_rows: int = 2048) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation of each feature; 1 where it is constant."""
    mean = train.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for first in range(0, len(train), n_rows):
        squares += np.square(train[first : first + n_rows] - mean).sum(axis=0)
    deviation = np.sqrt(squares / len(train))
    constant = deviation <= 10 * np.finfo(np.float32).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)


def _standardise(x: Floats, mean: Doubles, scale: Doubles) -> None:
    x -= mean.astype(np.float32)
    x /= scale.astype(np.float32)


def _results(prompts: Prompts, done: list[SeedAnswers], dimension: str) -> list[dict[str, Any]]:
    clusters = Clusters(prompts.word, prompts.template, prompts.twin)
    within = {"all": np.ones(len(prompts), bool), "negated": prompts.negated}
    within["not negated"] = ~prompts.negated
    rows = []
    for method in done[0].answers:
        converged = all(one.fit.converged for one in done) if method == "logistic" else None
        for part in PARTS:
            for subset in SUBSETS:
                right = np.zeros((1, len(prompts)), np.float32)
                asked = np.zeros(len(prompts), np.float32)
                shares = np.full(len(done), np.nan)
                for place, one in enumerate(done):
                    numbers = one.drawn.parts[part]
                    own = within[subset][numbers]
                    is_right = (one.answers[method][part] == prompts.label[numbers])[own]
                    right[0, numbers[own]] += is_right
                    asked[numbers[own]] += 1
                    if own.any():
                        shares[place] = is_right.mean()
                (estimate,) = clusters.accuracies(right, asked)
                key = Key(method, "probe", True, "raw", subset=subset)
                row = result(dimension, SITE, key, part, estimate, shares)
                # Each seed counts alike, as in a table of seeds.
                known = shares[~np.isnan(shares)]
                row["accuracy"] = float(known.mean()) if len(known) else float("nan")
                rows.append(row | {"converged": converged})
    return rows


def _settings(store: Activations, prompts: Prompts, done: list[SeedAnswers]) -> dict[str, Any]:
    return {
        "label_1": f"{prompts.first_class}, XOR negation",
        "model": store.manifest.model.model_dump(),
        "corpus": store.manifest.corpus,
        "layers": store.manifest.layers,
        "n_prompts": len(prompts),
        "n_words": int(prompts.word.max()) + 1,
        "n_templates": int(prompts.template.max()) + 1,
        "penalty_c": PENALTY_C,
        "tolerance": TOLERANCE,
        "max_iterations": MAX_ITERATIONS,
        "n_neighbours": N_NEIGHBOURS if "knn" in done[0].answers else None,
        "seeds": [
            {
                "seed": one.seed,
                "train": len(one.drawn.train),
                **{part: len(numbers) for part, numbers in one.drawn.parts.items()},
                "converged": one.fit.converged,
                "n_iterations": one.fit.n_iterations,
                "loss": one.fit.loss,
                "gradient": one.fit.gradient,
            }
            for one in done
        ],
    }


def _remarks(done: list[SeedAnswers]) -> list[str]:
    short = [one for one in done if not one.fit.converged]
    if not short:
        return []
    greatest = max(one.fit.gradient for one in short)
    return [
        f"{len(short)} of {len(done)} logistic fits did not converge within {MAX_ITERATIONS:,} "
        f"iterations (greatest gradient {greatest:.1e}, tolerance {TOLERANCE:.0e})"
    ]
