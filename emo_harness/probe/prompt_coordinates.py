"""Prompt coordinates: where prompts lie along axes, inside the model that the axes belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emo_harness.activations.capture import vectors
from emo_harness.activations.encoding import encode_prompts
from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.prompt_rows import context_length
from emo_harness.axes import Axis
from emo_harness.errors import UserError, quoted
from emo_harness.steer import require_same_model

Floats = NDArray[np.float64]
# Of vectors held at a time.
HELD_BYTES = 256 << 20


def coordinate_reader(
    loaded: LoadedModel,
    axes: Sequence[Axis],
    n_random: int,
    rng: np.random.Generator,
    advance: Callable[[int], None] = lambda n: None,
) -> Callable[[Sequence[str]], Floats]:
    """What reads prompts: (n,) texts to (n, n_axes + n_random) coordinates.

    The first columns are `Axis.coordinate` of the axes, the others of random directions as long as
    the first axis in every layer.

    Prompts are read at their last token, in portions of neighbours, so that the beginnings they
    share are computed once. One that exceeds the model's context has no coordinates: NaN.

    Args:
        axes: of the same site and layers, fitted in this model.
        rng: draws the random directions.
        advance: told how many prompts were read.

    Raises:
        UserError: an axis of another model, or axes of several sites or layers.
    """
    places = {(axis.site, axis.layers) for axis in axes}
    if len(places) != 1:
        raise UserError(
            "reading prompts along axes",
            found=f"axes at {quoted(f'{site}, layers {layers}' for site, layers in places)}",
            expected="axes of one site and the same layers",
            fix="choose them with --axis, --site and --layers",
        )
    for axis in axes:
        require_same_model(
            axis, loaded.layout, identity=loaded.facts.identity, name=loaded.facts.name
        )
    (site, layers), *_ = places
    every = [*axes, *(axes[0].random_like(rng) for _ in range(n_random))]
    # (v_1 ... v_L) / |v|^2 of each, so that one product reads all of them.
    squares = np.array([float((one.vectors**2).sum()) or np.nan for one in every])
    weights = np.stack([one.vectors.ravel() for one in every], axis=1) / squares
    origins = [float(axis.origin.ravel() @ weights[:, n]) for n, axis in enumerate(axes)]
    from_where = np.array(origins + [0.0] * n_random)
    row_bytes = 4 * len(layers) * axes[0].vectors.shape[1]
    n_held = max(1, HELD_BYTES // row_bytes)
    room = context_length(loaded)

    def read(texts: Sequence[str]) -> Floats:
        fits = [i for i, n in enumerate(_n_tokens(loaded, texts)) if room is None or n <= room]
        advance(len(texts) - len(fits))
        order = sorted(fits, key=texts.__getitem__)
        found = np.full((len(texts), len(every)), np.nan)
        for first in range(0, len(order), n_held):
            some = order[first : first + n_held]
            prompts = pd.DataFrame({"text": [texts[i] for i in some]})
            values = vectors(loaded, prompts, sites=(site,), layers=layers).values[site]
            found[some] = values.reshape(len(some), -1) @ weights - from_where
            advance(len(some))
        return found

    return read


def _n_tokens(loaded: LoadedModel, texts: Sequence[str]) -> list[int]:
    if not texts:
        return []
    encoded = encode_prompts(loaded.tokenizer, pd.DataFrame({"text": list(texts)}))
    return [int(n) for n in encoded.n_tokens]
