"""Pooling: from the tokens of a stimulus, in all prompts that it is read in, to its vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emo_harness.decode.stimulus_prompts import StimulusPrompt, content_length
from emo_harness.errors import UserError
from emo_harness.stimuli.decoding import Pooling

if TYPE_CHECKING:
    import pandas as pd

    from emo_harness.activations.loading import LoadedModel

Floats = NDArray[np.float32]
# What is captured for each way to pool; see `activations.readings`.
_POSITION = {"content": "span", "mean": "mean", "positions": "within"}
# Of the prompts that are handed to the model's reader together: what is read of them lies in
# memory, a row per token at most, and tokens seldom have fewer characters than this.
PORTION_BYTES = 256 * 1024**2
PORTION_PROMPTS = 512
CHARACTERS_PER_TOKEN = 2


@dataclass
class _Sum:
    """(n_positions, n_layers, *shape) sum over prompts, and how many prompts have each position."""

    total: NDArray[np.float64]
    counts: NDArray[np.int64]

    def add(self, rows: Floats) -> None:
        n, have = len(rows), len(self.counts)
        if n > have:
            self.total = np.concatenate([self.total, np.zeros((n - have, *rows.shape[1:]))])
            self.counts = np.concatenate([self.counts, np.zeros(n - have, np.int64)])
        self.total[:n] += rows
        self.counts[:n] += 1


@dataclass
class PooledStimuli:
    """What was read of every stimulus: its mean vectors over the prompts that it stood in.

    Attributes:
        layers: of the model, in the order of the vectors.
    """

    layers: tuple[int, ...]
    _sums: dict[tuple[str, str], _Sum] = field(default_factory=dict, repr=False)

    def stimuli(self, group: str) -> list[str]:
        """Ids of those that were read for a group, in the order of reading."""
        return [stimulus for of, stimulus in self._sums if of == group]

    def vectors(self, group: str, stimulus: str) -> Floats:
        """(n_positions, n_layers, *shape), n_positions being 1 unless pooled by `positions`.

        A position counts where at least half of the stimulus's prompts have it: what surrounds a
        stimulus may merge with its tokens.
        """
        of = self._sums[group, stimulus]
        n = int((2 * of.counts >= of.counts[0]).sum())
        per = of.counts[:n].reshape(-1, *[1] * (of.total.ndim - 1))
        mean: Floats = (of.total[:n] / per).astype(np.float32)
        return mean

    def add(self, group: str, stimulus: str, rows: Floats) -> None:
        """Count one prompt in; rows: (n_positions, n_layers, *shape)."""
        empty = _Sum(np.zeros((0, *rows.shape[1:])), np.zeros(0, np.int64))
        self._sums.setdefault((group, stimulus), empty).add(rows)


def read_stimuli(
    loaded: LoadedModel,
    prompts: Iterable[StimulusPrompt],
    *,
    site: str,
    layers: Sequence[int],
    pooling: Pooling,
    batch_tokens: int | None = None,
    advance: Callable[[int], object] = lambda n_prompts: None,
) -> PooledStimuli:
    """Read every stimulus in the prompts that it stands in.

    `content` reads the token that holds the last letter or digit of the stimulus, `mean` the mean
    over its tokens, `positions` each of them. A token belongs to the stimulus when it holds at
    least one of its characters, be it merged with what stands around it. Prompts are taken in as
    they come and only sums are kept.

    Args:
        loaded: the model.
        prompts: consumed once; those of one question together share their beginnings.
        site, layers: of the model.
        advance: told how many prompts have been read.

    Raises:
        UserError: no prompts, a prompt that exceeds the model's context, a stimulus of punctuation
            alone, a site or layer that the model has not, activations that are not finite.
    """
    from emo_harness.activations.capture import vectors

    pooled = PooledStimuli(tuple(layers))
    row_bytes = 4 * len(layers) * prod(loaded.layout.shape(site, layers))
    for some in _portions(prompts, row_bytes, pooling):
        captured = vectors(
            loaded,
            _table(some, pooling),
            sites=(site,),
            layers=layers,
            position=_POSITION[pooling],
            batch_tokens=batch_tokens,
        )
        rows = captured.values[site]
        of_prompt = captured.index["prompt"].to_numpy()
        ends = np.searchsorted(of_prompt, np.arange(len(some)), side="right")
        starts = np.concatenate([[0], ends[:-1]])
        for one, start, end in zip(some, starts.tolist(), ends.tolist(), strict=True):
            for group in one.groups:
                pooled.add(group, one.stimulus, rows[start:end])
        advance(len(some))
    return pooled


def _portions(
    prompts: Iterable[StimulusPrompt], row_bytes: int, pooling: Pooling
) -> Iterator[list[StimulusPrompt]]:
    """Prompts of which so much is read that it fits into memory; at least one at a time."""
    some: list[StimulusPrompt] = []
    n_bytes = 0
    is_empty = True
    for one in prompts:
        is_empty = False
        n_rows = 1
        if pooling == "positions":
            n_rows += (one.last - one.first) // CHARACTERS_PER_TOKEN
        is_full = n_bytes + n_rows * row_bytes > PORTION_BYTES or len(some) == PORTION_PROMPTS
        if some and is_full:
            yield some
            some, n_bytes = [], 0
        some.append(one)
        n_bytes += n_rows * row_bytes
    if is_empty:
        raise UserError(
            "reading stimuli",
            found="no stimulus",
            expected="at least one",
            fix="name a set, e.g. emo decode prompt attack",
        )
    yield some


def _table(prompts: Sequence[StimulusPrompt], pooling: Pooling) -> pd.DataFrame:
    import pandas as pd

    def last(one: StimulusPrompt) -> int:
        if pooling != "content":
            return one.last
        return one.first + content_length(one.text[one.first : one.last])

    return pd.DataFrame(
        {
            "text": [one.text for one in prompts],
            "span_first": pd.array([one.first for one in prompts], "Int64"),
            "span_last": pd.array([last(one) for one in prompts], "Int64"),
        }
    )
