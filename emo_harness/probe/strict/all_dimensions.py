"""A whole strict evaluation: every dimension, its controls, its robustness, as one `Evaluation`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_harness.errors import UserError
from emo_harness.probe.evaluation import Evaluation
from emo_harness.probe.strict.balanced_axes import drawn_weights
from emo_harness.probe.strict.expected_time import (
    Size,
    seconds_of_linear_fits,
    seconds_of_logistic_fits,
)
from emo_harness.probe.strict.logistic_probes import n_fits, probe_logistic
from emo_harness.probe.strict.norm_probes import norms_of, probe_norms
from emo_harness.probe.strict.one_dimension import SEEDS, Strict, Told, evaluate_strict
from emo_harness.probe.strict.robustness import by_shape, learning_curve
from emo_harness.probe.strict.tally import Tally
from emo_harness.probe.strict.transfer import angles, draw_axes, shared_poles, transfer
from emo_harness.probe.strict.vectors import read_vectors
from emo_harness.probe.strict.verdicts import pooled_verdicts
from emo_harness.probe.targets import dimensions_of, read_targets

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations

# What `--full` holds out together besides what --group says, from lax to strict.
OTHER_GROUPS = (
    ("adjective", "template"),
    ("lemma", "template"),
    ("lemma", "scenario"),
    ("lemma", "shape"),
)
_NUMBERS = ("accuracy", "low", "high", "sd_over_seeds")


def strict_evaluation(
    store: Activations,
    dimensions: Sequence[str] | None = None,
    *,
    site: str = "value",
    seeds: int = SEEDS,
    group: tuple[str, str] = ("lemma", "shape"),
    layers: Sequence[int] | None = None,
    norms: Path | None = None,
    full: bool = False,
    logistic: bool = True,
    tell: Told = lambda what, share: None,
) -> Evaluation:
    """Evaluate probes of every dimension, and how they relate.

    Args:
        dimensions: all that the corpus has by default.
        norms: a file of human norms, for ridge regression on them.
        full: logistic controls, centred and layer-wise logistic fits, and other groups held out.
        logistic: whether to fit logistic regressions at all.
        tell: see `evaluate_strict`.

    Raises:
        UserError: see `evaluate_strict` and `norms_of`.
    """
    names = dimensions_of(store, dimensions)
    store.shape(site)
    chosen = list(store.manifest.layers if layers is None else layers)
    made = Evaluation(
        store.folder,
        "strict",
        names,
        {
            "site": site,
            "seeds": seeds,
            "group": list(group),
            "layers": chosen,
            "norms": None if norms is None else norms.name,
            "full": full,
            "position": store.manifest.position,
            "model": store.manifest.model.name,
            "corpus": store.manifest.corpus.get("sha256"),
        },
    )
    normed = set() if norms is None else _normed(store, names, norms, made)
    if full:
        tell(_expected(store, names, site, seeds, len(chosen), logistic), 0.0)
    kept: list[Strict] = []
    for name in names:
        found = evaluate_strict(
            store, name, site=site, seeds=seeds, group=group, layers=layers, tell=tell
        )
        if logistic:
            _add_logistic(found, full, site, tell)
        made.results += found.results
        made.verdicts += found.verdicts
        # Where other things are held out together, no shape was unseen.
        rows, shapes = by_shape(found, site)
        if group[1] == "shape":
            made.results += rows
        of_dimension: dict[str, Any] = {
            "shapes": shapes if group[1] == "shape" else [],
            "selectivity": found.selectivity,
            "learning_curve": learning_curve(found),
        }
        made.robustness[name] = of_dimension
        if norms is not None and name in normed:
            read, signed = norms_of(norms, found.targets)
            of_dimension["norms"] = {
                "file": read.name,
                "layout": read.layout,
                "sha256": read.sha256,
            }
            made.results += probe_norms(found, signed, site, store.span_embeddings())
        made.remarks += [f"{name}: {remark}" for remark in found.remarks]
        found.release()
        if full:
            of_dimension["folds"] = _folds(store, name, site, seeds, group, layers, tell)
        kept.append(found)
    _relate(store, made, kept, site, tell)
    return made


def _normed(store: Activations, names: Sequence[str], norms: Path, made: Evaluation) -> set[str]:
    """The dimensions that the norms speak of; told before anything is computed.

    Raises:
        UserError: they speak of none.
    """
    errors: dict[str, UserError] = {}
    for name in names:
        try:
            norms_of(norms, read_targets(store, name))
        except UserError as error:
            errors[name] = error
    if len(errors) == len(names):
        raise next(iter(errors.values()))
    made.remarks += [f"{name}: no norms: {error.found}" for name, error in errors.items()]
    return set(names) - set(errors)


def _folds(
    store: Activations,
    dimension: str,
    site: str,
    seeds: int,
    group: tuple[str, str],
    layers: Sequence[int] | None,
    tell: Told,
) -> list[dict[str, Any]]:
    """Pooled probes where other things are held out together: what a laxer rule lets through."""
    found = []
    for other in OTHER_GROUPS:
        if other == group:
            continue
        tell(f"{dimension}: held out by {' and '.join(other)}", 0.0)
        again = evaluate_strict(
            store, dimension, site=site, seeds=seeds, group=other, layers=layers
        )
        found += [
            {"group": list(other)}
            | {name: row[name] for name in ("method", "features", "split", *_NUMBERS)}
            for row in again.results
            if row["kind"] == "probe" and row["subset"] == "all" and row["layer"] is None
        ]
    return found


def _expected(
    store: Activations, names: Sequence[str], site: str, seeds: int, n_layers: int, logistic: bool
) -> str:
    """How long an evaluation with `full` takes, in words."""
    linear = fits = 0.0
    for name in names:
        targets = read_targets(store, name)
        dim = int(np.prod(store.shape(site)))
        size = Size(len(targets), n_layers, dim, seeds, len(targets.subsets))
        # Once as without --full, and once for every other thing held out.
        linear += len(OTHER_GROUPS) * seconds_of_linear_fits(size)
        fits += seconds_of_logistic_fits(size, n_fits(seeds, True)) if logistic else 0.0
    told = f"--full takes about {_duration(linear + fits)}"
    if logistic:
        told += f", of which logistic fits {_duration(fits)}, or up to four times that where "
        told += "signals are weak"
    return told


def _add_logistic(found: Strict, full: bool, site: str, tell: Told) -> None:
    tallies = probe_logistic(
        found.vectors,
        found.targets,
        found.rounds,
        found.layers,
        full=full,
        tell=lambda what: tell(what, 0.0),
    )
    for tally in tallies:
        found.results += tally.results(found.targets.dimension, site)
    converged = [c for tally in tallies for c in tally.converged or () if _is_probe(tally)]
    if not all(converged):
        found.remarks.append(
            f"{converged.count(False)} of {len(converged)} logistic fits did not converge in every "
            "seed (marked ? in the table; column converged)"
        )
    found.verdicts = pooled_verdicts(found.targets.dimension, tallies[0], found.rivals) + (
        found.verdicts
    )


def _is_probe(tally: Tally) -> bool:
    """Not a control task: that asks its probe's shuffled twin again."""
    return tally.keys[0].kind == "probe"


def _relate(
    store: Activations, made: Evaluation, kept: Sequence[Strict], site: str, tell: Told
) -> None:
    """Transfer and angles between every two dimensions, of which one is in memory at a time."""
    if len(kept) < 2:
        made.remarks.append(
            "cross-axis transfer and angle are not applicable: one dimension was evaluated"
        )
        return
    rng = np.random.default_rng([0, 3])
    drawn = drawn_weights([one.targets for one in kept], rng)
    layers = kept[0].vectors.layers
    axes = []
    for place, asked in enumerate(kept):
        tell(f"{asked.targets.dimension}: transfer and angles", 0.0)
        vectors = read_vectors(store, site, asked.targets.rows, layers)
        axes.append(draw_axes(vectors, asked.targets, drawn[place], rng))
        for other in kept:
            if other is not asked:
                made.results += transfer(other, asked.targets, vectors, site)
        del vectors
    for number, first in enumerate(kept):
        for other_number, second in enumerate(kept[:number]):
            made.robustness[f"{second.targets.dimension}, {first.targets.dimension}"] = {
                "angles": angles(axes[other_number], axes[number], layers),
                "words_with_both_poles": shared_poles(second.targets, first.targets),
            }


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{max(seconds, 1):.0f} s"
