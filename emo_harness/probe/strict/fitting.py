"""Fitting: a dimension's axis on all rows of a store, in raw units.

The default is the difference of class means with template offsets taken out (method
"mean-difference", features "centred"). It is what an intervention should add: it moves one class
mean onto the other and leaves alone what does not differ between them (Marks & Tegmark 2023;
Belrose 2023), it needs no penalty to be chosen, and in planted activations it reads as well as any.
Ridge, lda and logistic axes weigh features by what else correlates with them. Where a signal is
weak against its surroundings they read better, and are the ones to choose for reading; what they
add when steering is then partly the surroundings.

Per layer, with direction w in raw units, u = w / |w| and class means m+, m-, the axis is

    v = u (u . (m+ - m-)),   origin (m+ + m-) / 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_harness import __version__
from emo_harness.axes import Axis
from emo_harness.errors import UserError, nearest
from emo_harness.probe.logistic import fit_logistic
from emo_harness.probe.strict.centring import balanced_weights, template_sums
from emo_harness.probe.strict.gram import CONSTANT, Moments, TemplateSums, gram, moments
from emo_harness.probe.strict.linear_fits import RIDGE_PENALTY, penalty_of, solve
from emo_harness.probe.strict.shrinkage import dots, draw_pairs, shrinkage
from emo_harness.probe.strict.vectors import read_vectors
from emo_harness.probe.targets import Targets, read_targets

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
METHODS = ("mean-difference", "ridge", "lda", "logistic")
FEATURES = ("centred", "raw")
_PACKAGES = ("numpy", "scipy")


def fit_axis(
    store: Activations,
    dimension: str,
    *,
    site: str = "value",
    layers: Sequence[int] | None = None,
    method: str = "mean-difference",
    features: str = "centred",
    evaluation: dict[str, Any] | None = None,
    tell: Callable[[int], object] = lambda layer: None,
) -> Axis:
    """Fit one dimension's axis, each layer by itself.

    Args:
        layers: of the model; all captured by default.
        method: one of `METHODS`.
        features: "centred": template offsets are taken out before; or "raw".
        evaluation: what is known of the axis, for its facts.
        tell: called with every layer that is done.

    Returns:
        An axis whose facts tell for every layer whether its fit converged; None where the fit has
        a closed form, or there is nothing to fit.

    Raises:
        UserError: no such method or features; see `read_targets` and `read_vectors`.
    """
    _check(method, METHODS, "--method")
    _check(features, FEATURES, "--features")
    targets = read_targets(store, dimension)
    chosen = tuple(store.manifest.layers if layers is None else layers)
    parts = []
    for layer in chosen:
        parts.append(_fit_layer(store, targets, site, layer, method, features == "centred"))
        tell(layer)
    vectors, origins, scales = (
        np.stack(one).astype(np.float32) for one in zip(*(part[:3] for part in parts), strict=True)
    )
    facts = {
        "model": store.manifest.model.model_dump(),
        "position": store.manifest.position,
        "method": method,
        "features": features,
        "corpus": store.manifest.corpus,
        "n_prompts": len(targets),
        "converged": [part[3] for part in parts],
        "evaluation": evaluation,
        "versions": {"emo_harness": __version__, **{name: version(name) for name in _PACKAGES}},
    }
    return Axis(dimension, site, chosen, vectors, origins, scales, facts)


def evaluation_facts(
    folder: Path, store: Activations, dimension: str, site: str, method: str, features: str
) -> dict[str, Any]:
    """What an evaluation says about an axis's method, as JSON values.

    Raises:
        UserError: there is no evaluation, or it is of other activations, or lacks the dimension.
    """
    import json

    import pandas as pd

    from emo_harness.probe.evaluation import COLUMNS, FACTS, RESULTS, known

    doing = f"reading the evaluation in {folder}"
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        results = pd.read_parquet(folder / RESULTS)
    except (OSError, ValueError) as error:
        raise UserError(
            doing,
            found=f"{error}",
            expected=f"{FACTS} and {RESULTS}",
            fix="evaluate first: emo probe evaluate STORE --out FOLDER",
        ) from error
    if (
        not isinstance(facts, dict)
        or not isinstance(facts.get("settings"), dict)
        or (set(COLUMNS) - set(results))
    ):
        raise UserError(
            doing,
            found="files that are no evaluation",
            expected=f"{FACTS} and {RESULTS} as they were written",
            fix="evaluate first: emo probe evaluate STORE --out FOLDER",
        )
    manifest = store.manifest
    for what, key, own_value in (
        ("corpus", "sha256", manifest.corpus.get("sha256")),
        ("model", "name", manifest.model.name),
    ):
        told = facts["settings"].get(what)
        # The protocol emo-llm tells all that is known of either.
        told = told.get(key) if isinstance(told, dict) else told
        if told is not None and told != own_value:
            raise UserError(
                doing,
                found=f"an evaluation of another {what}",
                expected=f"one of the activations in {store.folder}",
                fix="evaluate these activations, or leave --evaluation away",
            )
    own = results[
        (results["dimension"] == dimension)
        & (results["site"] == site)
        & (results["kind"] == "probe")
        & (results["method"] == method)
        & (results["features"] == features)
        & (results["subset"] == "all")
        & results["head"].isna()
    ]
    if own.empty:
        raise UserError(
            doing,
            found=f"nothing on {dimension} at {site} by {method} on {features} activations",
            expected="an evaluation of the axis's dimension, site, method and features",
            fix="evaluate these too, or leave --evaluation away",
        )
    columns = ["layer", "split", "accuracy", "low", "high"]
    rows = own[columns].astype(object).where(own[columns].notna(), None)
    return {
        "protocol": facts.get("protocol"),
        "accuracies": known(rows.to_dict("records")),
        "verdicts": [
            one["text"]
            for one in facts.get("verdicts", [])
            if (one["dimension"], one["method"], one["features"], one["subset"])
            == (dimension, method, features, "all")
        ],
    }


def _fit_layer(
    store: Activations, targets: Targets, site: str, layer: int, method: str, centred: bool
) -> tuple[Doubles, Doubles, Doubles, bool | None]:
    """(d,) vector, origin and scale of one layer, raw units; and whether the fit converged."""
    vectors = read_vectors(store, site, targets.rows, [layer])
    values = vectors.scaled
    n_templates = len(targets.negates)
    every = np.ones(len(targets), bool)
    weights = np.stack(
        [balanced_weights(targets, every), np.ones(len(targets)), targets.targets]
    ).astype(np.float32)
    summed = template_sums(values, targets.template, weights, n_templates)
    centres = summed[0] if centred else None
    counts = np.stack(
        [np.bincount(targets.template, row, n_templates) for row in weights[1:]]
    ).astype(np.float64)
    x = summed[1:].astype(np.float64)
    # The diagonal alone suffices for a difference of means.
    total = gram(values) if method in ("ridge", "lda") else np.square(values).sum(axis=0)
    found = moments(
        TemplateSums(counts[0], x[0], counts[1:], x[1:]),
        np.asarray(total, np.float64),
        centres,
    )
    difference, middle = _class_means(found, summed[0], centred)
    if np.linalg.norm(difference) < CONSTANT * len(difference) ** 0.5:
        # As in layer 0, where a template's last token knows nothing of the word: no axis, rather
        # than one of rounding errors.
        nothing = np.zeros(len(difference))
        return nothing, middle * vectors.scale + vectors.shift, np.ones(len(difference)), None
    direction, deviations, converged = _direction(
        method, found, values, targets, centres, vectors.scale
    )
    raw = direction / vectors.scale
    apart = difference * vectors.scale
    length = float(np.linalg.norm(raw))
    unit = raw / length if length > 0 else raw
    return (
        unit * float(unit @ apart),
        middle * vectors.scale + vectors.shift,
        deviations * vectors.scale if method != "mean-difference" else np.ones(len(raw)),
        converged,
    )


def _class_means(found: Moments, centres: Floats, centred: bool) -> tuple[Doubles, Doubles]:
    """Difference of the class means and the point halfway between, scaled units."""
    difference = found.high[0] - found.low[0]
    middle = (found.high[0] + found.low[0]) / 2
    return difference, middle + centres.mean(axis=0) if centred else middle


def _direction(
    method: str,
    found: Moments,
    values: Floats,
    targets: Targets,
    centres: Floats | None,
    units: Doubles,
) -> tuple[Doubles, Doubles, bool | None]:
    """(d,) weights on scaled features, the deviations standardised by; whether a fit converged."""
    deviations = np.sqrt(found.variances)
    if method == "mean-difference":
        return (found.high[0] - found.low[0]) * units**2, deviations, None
    if method == "ridge":
        return solve(found, RIDGE_PENALTY)[0], deviations, None
    if method == "lda":
        pairs = draw_pairs(targets, np.ones(len(targets), bool), np.random.default_rng([0, 2]))
        together = dots(
            values, pairs, found.mean, found.variances, 1, targets.template, centres
        ).sum(axis=2)
        penalty = penalty_of(shrinkage(together, pairs, values.shape[1]))
        return solve(found, penalty)[0], deviations, None
    x = values if centres is None else values - centres[targets.template]
    x = ((x - found.mean) / deviations).astype(np.float32)
    fit = fit_logistic(x, targets.targets > 0)
    return fit.coef / deviations, deviations, fit.converged


def _check(value: str, known: Sequence[str], option: str) -> None:
    if value not in known:
        raise UserError(
            f"reading {option}",
            found=value + nearest(value, known),
            expected=" or ".join(known),
            fix="name one of these",
        )
