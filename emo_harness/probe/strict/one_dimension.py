"""The strict protocol: probes on words and templates that they have not seen, beside controls.

For each seed words and templates are held out by groups (`splits`), everything that is fitted is
fitted on the rest, and every answer is counted (`tally`) until all seeds are in; intervals are then
clustered by word and by template (`clustered`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import quoted
from emo_harness.probe.strict.centring import neutral_means
from emo_harness.probe.strict.controls import EMBEDDING, LAYER_0, probe_controls
from emo_harness.probe.strict.expected_time import USUAL_STEPS, Size, shares
from emo_harness.probe.strict.layer_probes import CONTROL_TASK, LayerFindings, probe_layer
from emo_harness.probe.strict.pooled_probes import PooledFindings, probe_pooled
from emo_harness.probe.strict.rounds import Round, draw_round, template_counts
from emo_harness.probe.strict.splits import never_held_out
from emo_harness.probe.strict.tally import Tally
from emo_harness.probe.strict.vectors import Vectors, read_vectors
from emo_harness.probe.strict.verdicts import (
    as_layer_0,
    best_layer_verdicts,
    pooled_verdicts,
    selectivities,
)
from emo_harness.probe.targets import Targets, read_targets

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations

Floats = NDArray[np.float32]
SEEDS = 10
# At these sites the last token of a prompt has not yet looked at any other in layer 0.
BEFORE_ATTENTION = ("value", "key", "resid_pre")
Told = Callable[[str, float], object]


@dataclass(eq=False)
class Strict:
    """What the strict protocol found on one dimension and site.

    Attributes:
        results: rows of results.
        verdicts, selectivity: see `verdicts`.
        remarks: what a reader must know.
        rivals: the controls that pooled probes are compared with.
        targets, vectors, rounds, pooled, layers: what further questions start from.
        tallies: all answers that were kept.
    """

    targets: Targets
    vectors: Vectors
    rounds: list[Round]
    pooled: PooledFindings
    layers: list[LayerFindings]
    tallies: list[Tally]
    results: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    selectivity: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    rivals: list[Tally] = field(default_factory=list)

    def release(self) -> None:
        """Give the activations' memory back; their units stay."""
        self.vectors = replace(self.vectors, scaled=self.vectors.scaled[:0].copy())
        self.tallies, self.rivals, self.layers = [], [], []


def evaluate_strict(
    store: Activations,
    dimension: str,
    *,
    site: str = "value",
    seeds: int = SEEDS,
    group: tuple[str, str] = ("lemma", "shape"),
    layers: Sequence[int] | None = None,
    tell: Told = lambda what, share: None,
) -> Strict:
    """Evaluate one dimension at one site.

    Args:
        seeds: how many divisions, drawn with the seeds 0, 1, ...
        group: rules for words and templates that are held out together, see `splits`.
        layers: of the model; all captured by default.
        tell: called with what is being done and its share of the work that was just done.

    Raises:
        UserError: see `read_targets`, `split_rows` and `read_vectors`.
    """
    targets = read_targets(store, dimension)
    rounds = [draw_round(targets, seed, group) for seed in range(seeds)]
    tell(f"{dimension}: reading {site}", 0.0)
    vectors = read_vectors(
        store, site, np.concatenate([targets.rows, targets.neutral_rows]), layers
    )
    n_layers = len(vectors.layers)
    work = shares(Size(len(targets), n_layers, vectors.dim, seeds, len(targets.subsets)))
    found_layers, layer_results = _layers(
        vectors,
        targets,
        rounds,
        site,
        lambda layer: tell(f"{dimension}: layer {layer}", work["layers"] / n_layers),
    )
    doing = f"{dimension}: all layers"
    tell(doing, 0.0)
    a_step = work["steps"] / (USUAL_STEPS * len(targets.subsets))
    pooled = probe_pooled(vectors, targets, rounds, found_layers, lambda: tell(doing, a_step))
    tell(f"{dimension}: controls", work["gram"])
    controls = probe_controls(targets, rounds, store.span_embeddings())
    found = Strict(targets, vectors, rounds, pooled, found_layers, list(pooled.tallies))
    first = _layer_0(found, site)
    found.tallies += controls
    features = pooled.features
    for tally in [*controls, *first]:
        found.results += _beside(tally, dimension, site, features)
    for tally in pooled.tallies:
        found.results += tally.results(dimension, site)
    found.results += layer_results
    found.rivals = [*controls, *first]
    for tally in pooled.tallies:
        found.verdicts += pooled_verdicts(dimension, tally, found.rivals)
    for tallies in (pooled.tallies, *(layer.tallies for layer in found_layers)):
        for tally, task in with_tasks(tallies):
            found.selectivity += selectivities(dimension, tally, task)
    by_layer = [layer.tallies[0] for layer in found_layers]
    found.verdicts += best_layer_verdicts(dimension, by_layer, controls, first)
    _remark(found, group)
    return found


def with_tasks(tallies: Sequence[Tally]) -> list[tuple[Tally, Tally]]:
    """Probes' tallies, each with that of its control task."""
    place = {(one.keys[0].subset, one.keys[0].method): one for one in tallies}
    return [
        (one, place[one.keys[0].subset, CONTROL_TASK])
        for one in tallies
        if one.keys[0].kind == "probe"
    ]


def _layers(
    vectors: Vectors,
    targets: Targets,
    rounds: Sequence[Round],
    site: str,
    tell: Callable[[int], object],
) -> tuple[list[LayerFindings], list[dict[str, Any]]]:
    """What every layer gave, and its rows of results; answers of single heads are not kept."""
    counts = template_counts(rounds, targets)
    n, found, results = len(targets), [], []
    for place, layer in enumerate(vectors.layers):
        columns = vectors.layer(place)
        neutral = neutral_means(
            vectors.scaled[n:, columns], targets.neutral_template, len(targets.negates)
        )
        values = np.ascontiguousarray(vectors.scaled[:n, columns])
        one = probe_layer(
            values, neutral, vectors.scale[columns], layer, vectors.n_heads, targets, rounds, counts
        )
        for tally in one.tallies:
            results += tally.results(targets.dimension, site)
        one.tallies = [tally for tally in one.tallies if tally.keys[0].head is None]
        found.append(one)
        tell(layer)
    return found, results


def _layer_0(found: Strict, site: str) -> list[Tally]:
    """The probes of layer 0 as controls, where that layer was captured."""
    if 0 not in found.vectors.layers:
        found.remarks.append(
            "control layer 0 is missing: it was not captured (emo probe capture --layers)"
        )
        return []
    if site not in BEFORE_ATTENTION:
        found.remarks.append(
            f"control layer 0 at {site} has seen the other tokens; at value, key and resid_pre it "
            "sees the last token and its position alone"
        )
    own = found.layers[found.vectors.layers.index(0)]
    return [
        as_layer_0(tally, LAYER_0)
        for tally in own.tallies
        if tally.keys[0].kind == "probe" and tally.keys[0].head is None
    ]


def _beside(
    tally: Tally, dimension: str, site: str, features: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of controls: those that see no activations stand beside each form of the features."""
    rows = []
    for row in tally.results(dimension, site):
        if row["kind"] != "control" or (row["method"] != LAYER_0 and row["features"]):
            continue
        rows += [row] if row["features"] else [{**row, "features": one} for one in features]
    return rows


def _remark(found: Strict, group: tuple[str, str]) -> None:
    large = never_held_out(found.targets, group)
    if large:
        found.remarks.append(f"too large to be held out, always in training: {quoted(large, 4)}")
    names = {key.method for tally in found.tallies for key in tally.keys}
    if EMBEDDING not in names:
        found.remarks.append(
            "control static embedding is missing: the store has no embeddings of the adjectives"
        )
    if "centred-neutral" not in found.pooled.features:
        found.remarks.append(
            "centred-neutral is missing: the corpus has no neutral words in every template"
        )
    for tally in found.pooled.tallies:
        if tally.converged is None or tally.keys[0].kind != "probe":
            continue
        if not all(tally.converged):
            found.remarks.append(
                f"{sum(not c for c in tally.converged)} pooled fits did not converge "
                f"({tally.keys[0].subset} prompts)"
            )
