"""Two ways to run a model over token sequences and read vectors at its sites.

The packed engine computes every token that sequences share once, as one trie (see
`emo_harness.prefix`). The padded one computes each sequence whole, in batches of like length, and
serves every model. Both listen through the model's `Layout`, take only the wanted tokens where they
are heard, and leave a pass as soon as the last wanted site has been heard: neither the layers
behind it nor the language-model head are computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.activations.hooks import EnoughHeard
from emo_harness.activations.readings import Ints, Readings
from emo_harness.prefix import Limits, Node, PackedModel, Tokens, Trie, build_trie
from emo_harness.prefix.path_cache import PathCache
from emo_harness.prefix.prefill import Pass, PathAttention, passes
from emo_harness.prefix.units import units_of

if TYPE_CHECKING:
    from emo_harness.activations.sites import Layout

# Tokens that are computed together, and the largest tree among them.
ON_CPU = (1024, 128)
ON_ACCELERATOR = (8192, 512)


@dataclass(frozen=True)
class PassRead:
    """What one forward pass gave.

    Attributes:
        rows: (m,) the rows that it belongs to; a row of several tokens comes several times.
        weights: (m,) the share that each token has in its row.
        vectors: by site, (m, n_layers, *shape), where and as the model computed them.
        n_tokens: computed, padding included.
        n_ended: rows that are complete with this pass.
    """

    rows: Ints
    weights: NDArray[np.float32]
    vectors: dict[str, torch.Tensor]
    n_tokens: int
    n_ended: int


class Engine(Protocol):
    """Runs a model over sequences and reads at its sites."""

    name: str

    def passes(self, sequences: Sequence[Tokens], readings: Readings) -> Iterator[PassRead]:
        """Read rows; `readings.prompt` counts within `sequences`."""
        ...


class SiteReader:
    """Sites and layers of a model, read at some tokens of a forward pass."""

    def __init__(self, layout: Layout, sites: Sequence[str], layers: Sequence[int]) -> None:
        self.layout = layout
        self.sites = tuple(sites)
        self.layers = tuple(layers)

    def read(
        self,
        lines: Ints,
        tokens: Ints,
        forward: Callable[[], object],
        *,
        stops_early: bool = True,
    ) -> dict[str, torch.Tensor]:
        """Run a forward pass and take what is heard.

        Args:
            lines, tokens: (m,) lines of the batch, and tokens in them.
            forward: computes the pass.
            stops_early: leave it as soon as everything has been heard.

        Returns:
            By site, (m, n_layers, *shape).
        """
        heard: dict[str, dict[int, torch.Tensor]] = {site: {} for site in self.sites}
        line, token = torch.from_numpy(lines), torch.from_numpy(tokens)

        def hear(site: str, layer: int, activations: torch.Tensor) -> None:
            nonlocal line, token
            line, token = line.to(activations.device), token.to(activations.device)
            # Indexing copies: nothing of the pass stays alive but what is taken.
            if activations.dim() == 4:
                heard[site][layer] = activations[line, :, token]
            else:
                heard[site][layer] = activations[line, token]

        places = dict.fromkeys(self.sites, self.layers)
        ears = self.layout.listening(places, hear, stops_early=stops_early)
        with torch.no_grad(), ears, suppress(EnoughHeard):
            forward()
        return {site: _stacked([heard[site][layer] for layer in self.layers]) for site in heard}


class PackedEngine:
    """Every token that sequences share is computed once.

    Args:
        reader: what is read.
        model: the packed model.
        batch_tokens, tree_tokens: see `Limits`.
    """

    name = "packed"

    def __init__(
        self, reader: SiteReader, model: PackedModel, batch_tokens: int, tree_tokens: int
    ) -> None:
        self._reader = reader
        self._model = model
        self._limits = Limits(
            pass_tokens=batch_tokens,
            tree_tokens=min(tree_tokens, batch_tokens),
            wanted=batch_tokens,
        )

    def passes(self, sequences: Sequence[Tokens], readings: Readings) -> Iterator[PassRead]:
        trie, places = build_trie(sequences)
        wanted = _by_node(trie, places, readings)
        cache = PathCache(self._limits.capacity(max(len(s) for s in trie.sequences)))
        for one in passes(units_of(trie, self._limits), self._limits, lambda unit: 0):
            picked = _picked_of(one, wanted)
            vectors = self._reader.read(picked.lines, picked.tokens, self._forward(one, cache))
            yield picked.read(vectors, len(one.tokens))

    def _forward(self, one: Pass, cache: PathCache) -> Callable[[], object]:
        attention = PathAttention(one.units, cache)
        return lambda: self._model.states(one.tokens, self._model.positions(one), attention)


class PaddedEngine:
    """Sequences side by side, sorted by length and padded on the right.

    Args:
        reader: what is read.
        model: a transformers model, whose base is run.
        batch_tokens: computed together, padding included.
    """

    name = "padded"

    def __init__(self, reader: SiteReader, model: Any, batch_tokens: int) -> None:
        self._reader = reader
        self._device = model.get_input_embeddings().weight.device
        # Hooks that move weights between devices must see the end of a pass.
        self._stops_early = len(set((getattr(model, "hf_device_map", None) or {}).values())) < 2
        self._batch_tokens = batch_tokens

    def passes(self, sequences: Sequence[Tokens], readings: Readings) -> Iterator[PassRead]:
        place_of: dict[bytes, int] = {}
        distinct: list[Tokens] = []
        for sequence in sequences:
            if sequence.tobytes() not in place_of:
                place_of[sequence.tobytes()] = len(distinct)
                distinct.append(sequence)
        rows_of: dict[int, list[int]] = defaultdict(list)
        for row, index in enumerate(readings.prompt.tolist()):
            rows_of[place_of[sequences[index].tobytes()]].append(row)
        for batch in self._batches(distinct):
            yield self._pass([(distinct[i], rows_of[i]) for i in batch], readings)

    def _batches(self, sequences: Sequence[Tokens]) -> Iterator[list[int]]:
        """Places of sequences; longest first, so that too little memory shows at once."""
        taken: list[int] = []
        for place in sorted(range(len(sequences)), key=lambda i: -len(sequences[i])):
            if taken and (len(taken) + 1) * len(sequences[taken[0]]) > self._batch_tokens:
                yield taken
                taken = []
            taken.append(place)
        if taken:
            yield taken

    def _pass(self, batch: Sequence[tuple[Tokens, list[int]]], readings: Readings) -> PassRead:
        ids = np.zeros((len(batch), max(len(sequence) for sequence, _ in batch)), np.int64)
        mask = np.zeros_like(ids)
        picked = _Picked()
        for line, (sequence, rows) in enumerate(batch):
            ids[line, : len(sequence)] = sequence
            mask[line, : len(sequence)] = 1
            for row in rows:
                first, after = int(readings.first[row]), int(readings.after[row])
                for token in range(first, after):
                    picked.add(line, token, row, 1 / (after - first), token == after - 1)
        inputs = torch.from_numpy(ids).to(self._device)
        seen = None if mask.all() else torch.from_numpy(mask).to(self._device)
        vectors = self._reader.read(
            picked.lines,
            picked.tokens,
            lambda: self._reader.layout.forward(inputs, seen),
            stops_early=self._stops_early,
        )
        return picked.read(vectors, ids.size)


class _Picked:
    """Tokens of a pass that are wanted."""

    def __init__(self) -> None:
        self._places: list[tuple[int, int, int]] = []
        self._weights: list[float] = []
        self._n_ended = 0

    def add(self, line: int, token: int, row: int, weight: float, ends: bool) -> None:
        """A token of a row, its share in it, and whether it is the row's last."""
        self._places.append((line, token, row))
        self._weights.append(weight)
        self._n_ended += ends

    @property
    def lines(self) -> Ints:
        return self._column(0)

    @property
    def tokens(self) -> Ints:
        return self._column(1)

    def read(self, vectors: dict[str, torch.Tensor], n_tokens: int) -> PassRead:
        """With what was read there."""
        weights = np.array(self._weights, np.float32)
        return PassRead(self._column(2), weights, vectors, n_tokens, self._n_ended)

    def _column(self, place: int) -> Ints:
        return np.array(self._places, np.int64).reshape(-1, 3)[:, place].copy()


_Wanted = dict[Node, list[tuple[int, int, float, bool]]]


def _by_node(trie: Trie, places: Sequence[int], readings: Readings) -> _Wanted:
    """Of each node the wanted tokens: which, its row, its share there, whether the row ends."""
    wanted: _Wanted = defaultdict(list)
    columns = (readings.prompt.tolist(), readings.first.tolist(), readings.after.tolist())
    for row, (index, first, after) in enumerate(zip(*columns, strict=True)):
        node = trie.end_of[places[index]]
        for token in range(after - 1, first - 1, -1):
            while token < node.start and node.parent is not None:
                node = node.parent
            wanted[node].append((token - node.start, row, 1 / (after - first), token == after - 1))
    return wanted


def _picked_of(one: Pass, wanted: _Wanted) -> _Picked:
    picked = _Picked()
    before = 0
    for piece in one.pieces:
        for token, row, weight, ends in wanted.get(piece.node, ()):
            if piece.first <= token < piece.last:
                picked.add(0, before + token - piece.first, row, weight, ends)
        before += len(piece)
    return picked


def _stacked(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """(m, n_layers, *shape) on the first layer's device."""
    return torch.stack([layer.to(layers[0].device) for layer in layers], dim=1)
