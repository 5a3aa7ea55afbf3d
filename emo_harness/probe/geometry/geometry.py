"""Geometry: where words lie in a model's activation space, as one table of numbers.

What is made here is `geometry.json`: plain JSON values, unknown ones null. Pictures and pages are
made of it by `report`, which never sees a store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.activations.store import Activations
from emo_harness.axes import Axis
from emo_harness.errors import UserError, quoted
from emo_harness.probe.corpus.norms import Norms
from emo_harness.probe.geometry.axis_cosines import axis_cosines
from emo_harness.probe.geometry.plane import (
    angle_between,
    fitted_plane,
    held_out_plane,
    must_belong,
)
from emo_harness.probe.geometry.plane_numbers import known, number, plane_numbers
from emo_harness.probe.geometry.value_space import value_space
from emo_harness.probe.geometry.word_likeness import word_likeness
from emo_harness.probe.geometry.word_means import WordMeans, shown_name, word_means

SCHEMA = 1
PLANE = ("valence", "arousal")
Row = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GeometryPlan:
    """What is asked about a store.

    Attributes:
        site, layers: where words are read; None for those of the axes, else `value` (or the first
            site there is) and all layers.
        axes: fitted before, one list per file; the first that has valence and arousal spans the
            plane.
        norms: by dimension, as far as there are any.
        others: further models' stores, compared by words.
        n_templates: how many templates get components of their own.
        seed: of resamples and exchanges.
    """

    site: str | None = None
    layers: tuple[int, ...] | None = None
    axes: tuple[Axis, ...] = ()
    norms: Mapping[str, Norms] = field(default_factory=dict)
    others: tuple[Activations, ...] = ()
    n_templates: int = 4
    seed: int = 0


def geometry(store: Activations, plan: GeometryPlan) -> Row:
    """All numbers of a store's geometry; evaluations and trajectories are put beside them.

    Raises:
        UserError: no probing corpus, axes of another model, sites or layers that were not captured.
    """
    for axis in plan.axes:
        must_belong(axis, store.manifest.model.model_dump())
    spanning = spanning_axes(plan)
    site, layers = _where(store, plan, spanning)
    means = complete(word_means(store, site, layers))
    if len(means.table) < 2:
        raise UserError(
            f"reading words from {store.folder}",
            found=f"{len(means.table)} word in both halves of the templates",
            expected="at least two",
            fix="capture more adjectives, or more templates without negation",
        )
    rng = [np.random.default_rng([plan.seed, n]) for n in range(5)]
    norms = _norms_of(means, plan.norms) if plan.norms else None
    planes = []
    if spanning:
        in_sample = any(_is_in_sample(axis, store) for axis in spanning)
        planes.append(fitted_plane(means, spanning, in_sample))
    poled = [name for name in PLANE if np.isfinite(means.poles(name)).any()]
    if len(poled) == len(PLANE):
        planes.append(held_out_plane(means, PLANE, rng[0]))
    return {
        "schema_version": SCHEMA,
        "store": _store_facts(store, means),
        "words": _words(means, norms),
        "planes": [plane_numbers(plane, means, norms, rng[1]) for plane in planes],
        "angles": (
            [known(asdict(angle)) for angle in angle_between(means, PLANE, rng[2])]
            if len(poled) == len(PLANE)
            else []
        ),
        "views": value_space(store, means, plan.n_templates, rng[3]),
        "cosines": axis_cosines(plan.axes),
        "likeness": word_likeness(
            store, means, plan.others, norms, [n for n in PLANE if n in poled], rng[4]
        ),
        "evaluations": [],
        "verdicts": [],
        "trajectory": None,
    }


def complete(means: WordMeans) -> WordMeans:
    """Those words that stand in both halves of the templates."""
    known = np.isfinite(means.halves).all(axis=(0, 2, 3))
    return means if known.all() else means.only(np.flatnonzero(known))


def with_others(
    numbers: Row,
    evaluations: Sequence[Row] = (),
    verdicts: Sequence[Any] = (),
    trajectory: Sequence[Row] | None = None,
) -> Row:
    """The numbers with what was made elsewhere: curves, verdicts, a trajectory."""
    return {
        **numbers,
        "evaluations": list(evaluations),
        "verdicts": list(verdicts),
        "trajectory": None if trajectory is None else list(trajectory),
    }


def spanning_axes(plan: GeometryPlan) -> list[Axis]:
    """Valence and arousal of one site and the same layers; [] where the axes have no such pair."""
    for axis in plan.axes:
        if axis.name != PLANE[0] or plan.site not in (None, axis.site):
            continue
        for other in plan.axes:
            if other.name == PLANE[1] and other.site == axis.site:
                shared = [
                    layer
                    for layer in axis.layers
                    if layer in other.layers and layer in (plan.layers or axis.layers)
                ]
                if shared and axis.vectors.shape[1] == other.vectors.shape[1]:
                    return [axis.only(shared), other.only(shared)]
    return []


def _where(
    store: Activations, plan: GeometryPlan, spanning: Sequence[Axis]
) -> tuple[str, tuple[int, ...]]:
    sites = store.manifest.sites
    site = plan.site or next(
        (axis.site for axis in [*spanning, *plan.axes] if axis.site in sites),
        "value" if "value" in sites else sites[0],
    )
    width = math.prod(store.shape(site))
    for axis in spanning:
        if axis.site != site or axis.vectors.shape[1] != width:
            raise UserError(
                f"laying {store.folder} along the axis {axis.name!r}",
                found=f"site {axis.site} of {axis.vectors.shape[1]} numbers",
                expected=f"one of {quoted(sites)}; {site} has {width} numbers",
                fix="name axes that were fitted on activations of this model and site",
            )
    layers = spanning[0].layers if spanning else plan.layers or tuple(store.manifest.layers)
    return site, tuple(layers)


def _is_in_sample(axis: Axis, store: Activations) -> bool:
    """Whether an axis may have been fitted on this store's words: yes, unless known otherwise."""
    fitted_on = (axis.facts.get("corpus") or {}).get("sha256")
    here = store.manifest.corpus.get("sha256")
    return fitted_on is None or here is None or fitted_on == here


def _norms_of(means: WordMeans, norms: Mapping[str, Norms]) -> Floats:
    """(n_words, 2) norms of the words less their mean, NaN where there are none."""
    values = np.full((len(means.table), len(PLANE)), np.nan)
    for i, name in enumerate(PLANE):
        if name in norms:
            values[:, i] = norms[name].of(means.words)
    known = np.isfinite(values)
    if not known.any():
        raise UserError(
            "looking up norms",
            found="none of the store's words",
            expected=f"norms of words like {quoted(means.words, 4)}",
            fix="check that the file's language and its column of words are those of the corpus",
        )
    times = np.maximum(known.sum(axis=0), 1)
    return values - np.where(known, values, 0).sum(axis=0) / times


def _store_facts(store: Activations, means: WordMeans) -> Row:
    manifest = store.manifest
    return {
        "folder": store.folder.name,
        "model": shown_name(store),
        "identity": manifest.model.identity,
        "site": means.site,
        "layers": list(means.layers),
        "position": manifest.position,
        "corpus": str(manifest.corpus.get("description", manifest.corpus.get("kind", ""))),
        "corpus_sha256": str(manifest.corpus.get("sha256", "")),
        "n_prompts": manifest.n_rows,
        "n_words": len(means.table),
        "n_templates": int(store.index["template"].nunique()),
    }


def _words(means: WordMeans, norms: Floats | None) -> list[Row]:
    poles = {name: means.poles(name) for name in PLANE}
    return [
        {
            "word": str(row.word),
            "lemma": str(row.lemma),
            "list": str(row.list),
            **{name: number(poles[name][i]) for name in PLANE},
            "norms": None if norms is None else [number(v) for v in norms[i]],
        }
        for i, row in enumerate(means.table.itertuples(index=False))
    ]
