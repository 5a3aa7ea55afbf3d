"""Verdicts: does a probe tell more than the best of its informative controls?

The two are asked the same prompts, so that their difference is paired; its interval is clustered by
word and template. The best control is the one with the highest accuracy on the same split, which
favours the control a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.strict.layer_probes import SHUFFLED
from emo_harness.probe.strict.tally import Key, Tally

Floats = NDArray[np.float32]


def verdict(
    dimension: str, probe: Tally, key: Key, part: str, controls: Sequence[Tally], chosen: str = ""
) -> dict[str, Any] | None:
    """Compare one probe with the best of its controls; None where nothing was asked.

    Args:
        controls: tallies that hold informative controls of the probe's subset; of activations'
            controls those of the same method and features count.
        chosen: how the probe was chosen, for the text.
    """
    asked = probe.times_asked(part)
    rivals = [
        (tally, rival)
        for tally in controls
        if part in tally.parts
        for rival in tally.keys
        if _is_rival(rival, key)
    ]
    if not asked.any() or not rivals:
        return None
    own = probe.right(key, part)
    best, name = max(
        ((tally.right(rival, part), rival) for tally, rival in rivals),
        key=lambda pair: float(pair[0].sum()),
    )
    found = probe.clusters.difference(own, best, asked)
    total = float(asked.sum())
    accuracy, of_control = float(own.sum()) / total, float(best.sum()) / total
    better = bool(found.low > 0)
    return {
        "dimension": dimension,
        "method": key.method,
        "features": key.features,
        "layer": key.layer,
        "subset": key.subset,
        "split": part,
        "accuracy": accuracy,
        "control": name.method,
        "control_accuracy": of_control,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "better": better,
        "text": f"{dimension}, {subject(key)}{chosen}, {part}: "
        + ("" if better else "not ")
        + f"better than {name.method} ({of_control:.2f}): {accuracy:.2f}, difference "
        + f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]",
    }


def pooled_verdicts(
    dimension: str, tally: Tally, controls: Sequence[Tally]
) -> list[dict[str, Any]]:
    """A verdict for each of a tally's probes and parts."""
    made = [
        verdict(dimension, tally, key, part, [*controls, tally])
        for key in tally.keys
        if key.kind == "probe"
        for part in tally.parts
    ]
    return [one for one in made if one is not None]


def best_layer_verdicts(
    dimension: str, by_layer: Sequence[Tally], controls: Sequence[Tally], first: Sequence[Tally]
) -> list[dict[str, Any]]:
    """A verdict for each kind of probe at the layer where it does best on unseen prompts (E4).

    Args:
        by_layer: each layer's answers on all prompts.
        controls, first: controls without activations, and those of layer 0.
    """
    made = []
    for key in by_layer[0].keys:
        if key.kind != "probe":
            continue
        own = [(t, replace(key, layer=t.keys[0].layer)) for t in by_layer]
        best, its = max(own, key=lambda pair: float(pair[0].right(pair[1], "E4").sum()))
        rivals = [*controls, *(first if its.layer != 0 else ()), best]
        chosen = f" (the best of {len(own)} layers)"
        made.append(verdict(dimension, best, its, "E4", rivals, chosen))
    return [one for one in made if one is not None]


def selectivities(dimension: str, probe: Tally, task: Tally) -> list[dict[str, Any]]:
    """Accuracy minus that of the same probe fitted on, and asked for, random labels of the words.

    A probe that learns any labels as well as these has little to say of the activations (Hewitt &
    Liang 2019). Seen words alone have a random label to be asked for.

    Args:
        probe, task: answers of one subset.
    """
    places = {(key.method, key.features): key for key in probe.keys if key.kind == "probe"}
    made = []
    for key in task.keys:
        own = places[key.of, key.features]
        for part in task.parts:
            asked = probe.times_asked(part)
            found = probe.clusters.difference(probe.right(own, part), task.right(key, part), asked)
            made.append(
                {
                    "dimension": dimension,
                    "method": own.method,
                    "features": own.features,
                    "layer": own.layer,
                    "subset": own.subset,
                    "split": part,
                    "selectivity": found.mean,
                    "low": found.low,
                    "high": found.high,
                }
            )
    return made


def subject(key: Key) -> str:
    """What a key is, in words."""
    where = "all layers" if key.layer is None else f"layer {key.layer}"
    if key.head is not None:
        where += f" head {key.head}"
    within = "" if key.subset == "all" else f", within {key.subset} prompts"
    return f"{key.method} on {key.features} activations, {where}{within}"


def _is_rival(rival: Key, key: Key) -> bool:
    """An informative control of this probe: of its subset, and no other probe's twin."""
    return (
        rival.kind == "control"
        and rival.informative
        and rival.subset == key.subset
        and (
            not rival.of
            or (
                (rival.of, rival.features) == (key.method, key.features)
                and (rival.method != SHUFFLED or rival.layer == key.layer)
            )
        )
    )


def as_layer_0(tally: Tally, name: str) -> Tally:
    """The probes of layer 0 as controls of all others."""
    import copy

    twin = copy.copy(tally)
    twin.keys = [
        replace(key, method=name, kind="control", of=key.method) if key.kind == "probe" else key
        for key in tally.keys
    ]
    return twin
