"""Attention of prompts that are being continued, one new token per live row and step.

What several rows share is stored once and read by all of them in one product; what is a row's own
(the end of its prompt, and what it has generated) lies in buffers with one line per row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.prefix.limits import ROOM
from emo_harness.prefix.path_cache import PathCache
from emo_harness.prefix.prefill import KeptTokens
from emo_harness.prefix.trie import Node, Trie

# A node shorter than this is copied to each row below it: a product of its own costs more.
SHARED_TOKENS = 8


@dataclass(frozen=True)
class Shared:
    """Tokens of a node that several rows see.

    Attributes:
        first: the first of those rows.
        last: the row after the last.
        columns: where its scores go; a row's shared tokens have columns of their own.
        tokens: its tokens among the packed ones, None where the path cache holds them.
    """

    first: int
    last: int
    columns: slice
    tokens: slice | None


@dataclass(frozen=True)
class Layout:
    """Which rows see which tokens, before anything is generated.

    Attributes:
        shared: what several rows see.
        n_columns: columns that shared tokens take.
        own: (rows, m) packed tokens that a row alone sees, padded with 0.
        own_lengths: (rows,) how many of these are tokens.
    """

    shared: tuple[Shared, ...]
    n_columns: int
    own: NDArray[np.int64]
    own_lengths: NDArray[np.int64]

    @property
    def kept_tokens(self) -> int:
        """Tokens of packed keys and values that outlive the prefill."""
        return self.own.size + sum(
            s.columns.stop - s.columns.start for s in self.shared if s.tokens is not None
        )


def layout_of(trie: Trie, rows_of: NDArray[np.int64], skip: int = 0) -> Layout:
    """Lay out the rows of a trie.

    Args:
        trie: the prompts.
        rows_of: (sequences,) how many rows each of the trie's sequences has; rows are numbered
            through in that order.
        skip: tokens at the beginning of the only root that were not computed with the others.
    """
    first_row = np.concatenate([[0], np.cumsum(rows_of)])
    n_rows = int(first_row[-1])
    root = trie.roots[0] if len(trie.roots) == 1 else None
    shared: list[Shared] = []
    columns: dict[Node, int] = {}
    own: list[list[NDArray[np.int64]]] = [[] for _ in range(n_rows)]
    packed = -skip
    place = 0
    for node in trie.nodes:
        here = slice(packed, packed + len(node.tokens))
        packed = here.stop
        first, last = int(first_row[place]), int(first_row[place + node.n_ends])
        place += int(node.ends is not None)
        before = columns[node.parent] if node.parent is not None else 0
        columns[node] = before
        if node is root or (last - first > 1 and len(node.tokens) >= SHARED_TOKENS):
            columns[node] = before + len(node.tokens)
            shared.append(
                Shared(first, last, slice(before, columns[node]), None if node is root else here)
            )
        else:
            for row in range(first, last):
                own[row].append(np.arange(here.start, here.stop))
    lengths = np.array([sum(len(part) for part in parts) for parts in own], np.int64)
    index = np.zeros((n_rows, int(lengths.max(initial=0))), np.int64)
    for row, parts in enumerate(own):
        if parts:
            index[row, : lengths[row]] = np.concatenate(parts)
    return Layout(tuple(shared), max((s.columns.stop for s in shared), default=0), index, lengths)


@dataclass
class _Layer:
    """One layer's keys and values: of each `Shared`, and of the rows' own tokens."""

    shared: list[tuple[torch.Tensor, torch.Tensor]]
    own_keys: torch.Tensor
    own_values: torch.Tensor


@dataclass
class RowsAttention:
    """Attention of one new token per row.

    Attributes:
        layout: which rows see which tokens.
        cache: the path that all rows share.
        max_tokens: the most tokens that any row will have generated.
        n_own: tokens in the own buffers, padding included.
    """

    layout: Layout
    cache: PathCache
    max_tokens: int
    n_own: int = 0
    _layers: dict[int, _Layer] = field(default_factory=dict)
    _shared: tuple[Shared, ...] = ()
    _own_lengths: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _bias: torch.Tensor | None = None
    _scores: torch.Tensor | None = None

    @classmethod
    def after_prefill(
        cls, layout: Layout, cache: PathCache, kept: KeptTokens, max_tokens: int
    ) -> RowsAttention:
        """Take over what the prefill's passes kept; `kept` is emptied layer by layer."""
        rows = cls(
            layout,
            cache,
            max_tokens,
            layout.own.shape[1],
            _shared=layout.shared,
            _own_lengths=layout.own_lengths,
        )
        for layer in sorted(cache.layers):
            rows._take(layer, *kept.layers.pop(layer))
        return rows

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        held = self._layers[layer]
        n_kv, n_rows = key.shape[1], key.shape[2]
        group = query.shape[1] // n_kv
        # (n_kv_heads, rows, group, head_dim): the rows of a range lie together.
        grouped = (query[0] * scaling).view(n_kv, group, n_rows, -1).transpose(1, 2).contiguous()
        self._append(held, key[0], value[0])
        n_columns, n_own = self.layout.n_columns, self.n_own + 1
        scores = self._room_for_scores(grouped, n_columns + n_own)
        for one, (keys, _) in zip(self._shared, held.shared, strict=True):
            part = grouped[:, one.first : one.last].flatten(1, 2)
            scores[:, one.first : one.last, :, one.columns] = _product(
                part, keys.transpose(1, 2)
            ).view(n_kv, -1, group, keys.shape[1])
        own_keys = held.own_keys[:, :, :n_own]
        own = _product(grouped.transpose(0, 1), own_keys.transpose(2, 3))
        scores[:, :, :, n_columns : n_columns + n_own] = (own + self._own_bias(own)).transpose(0, 1)
        weights = torch.softmax(scores[..., : n_columns + n_own], dim=-1).to(value.dtype)
        attended = (
            (weights[..., n_columns:].transpose(0, 1) @ held.own_values[:, :, :n_own])
            .transpose(0, 1)
            .contiguous()
        )
        for one, (_, values) in zip(self._shared, held.shared, strict=True):
            part = weights[:, one.first : one.last, :, one.columns].flatten(1, 2)
            attended[:, one.first : one.last] += (part @ values).view(
                n_kv, -1, group, values.shape[2]
            )
        return attended.transpose(1, 2).reshape(1, n_kv * group, n_rows, -1)

    def step(self) -> None:
        """Every layer has attended: the new tokens are the rows' own now."""
        self.n_own += 1

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with some rows only, given in ascending order."""
        shared = []
        for index, one in enumerate(self._shared):
            first, last = np.searchsorted(rows, [one.first, one.last])
            if last > first:
                shared.append((index, Shared(int(first), int(last), one.columns, one.tokens)))
        for held in self._layers.values():
            picked = torch.from_numpy(rows).to(held.own_keys.device)
            held.own_keys = held.own_keys[picked]
            held.own_values = held.own_values[picked]
            held.shared = [held.shared[index] for index, _ in shared]
        self._shared = tuple(one for _, one in shared)
        self._own_lengths = self._own_lengths[rows]
        self._bias = self._scores = None

    def _take(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Sort packed (n_kv_heads, n, head_dim) into what is shared and what is own."""
        shared = []
        for one in self._shared:
            if one.tokens is None:
                of_path = self.cache.read(layer, one.columns.stop)
                shared.append((of_path[0][0], of_path[1][0]))
            else:
                shared.append((keys[:, one.tokens].clone(), values[:, one.tokens].clone()))
        index = torch.from_numpy(self.layout.own).to(keys.device)
        room = self._room(index.shape[1])
        self._layers[layer] = _Layer(
            shared, _own_buffer(keys, index, room), _own_buffer(values, index, room)
        )

    def _append(self, held: _Layer, key: torch.Tensor, value: torch.Tensor) -> None:
        if self.n_own == held.own_keys.shape[2]:
            room = self._room(self.n_own)
            held.own_keys = _longer(held.own_keys, room)
            held.own_values = _longer(held.own_values, room)
        held.own_keys[:, :, self.n_own] = key.transpose(0, 1)
        held.own_values[:, :, self.n_own] = value.transpose(0, 1)

    def _room(self, n_own: int) -> int:
        """How many more tokens buffers should hold that hold `n_own` now."""
        left = self.max_tokens - (n_own - self.layout.own.shape[1])
        return max(1, min(ROOM, left))

    def _own_bias(self, like: torch.Tensor) -> torch.Tensor:
        """(rows, 1, 1, n_own + 1), minus infinity at padding."""
        width = self.layout.own.shape[1]
        if self._bias is None:
            padding = np.arange(width) >= self._own_lengths[:, None]
            bias = torch.zeros(padding.shape, dtype=torch.float32)
            bias[torch.from_numpy(padding)] = float("-inf")
            self._bias = bias.to(like.device)[:, None, None]
        missing = like.shape[-1] - self._bias.shape[-1]
        if missing > 0:
            self._bias = torch.nn.functional.pad(self._bias, (0, max(missing, ROOM)))
        return self._bias[..., : like.shape[-1]]

    def _room_for_scores(self, like: torch.Tensor, n_columns: int) -> torch.Tensor:
        """(n_kv_heads, rows, group, columns) whose shared columns are hidden until written."""
        if self._scores is None or self._scores.shape[-1] < n_columns:
            shape = (*like.shape[:-1], n_columns + ROOM)
            self._scores = torch.full(shape, float("-inf"), dtype=torch.float32, device=like.device)
        return self._scores


def _product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A batched product with its sums and its result in float32."""
    if one.dtype == torch.float32:
        return one @ other
    return one.float() @ other.float()


def _own_buffer(packed: torch.Tensor, index: torch.Tensor, room: int) -> torch.Tensor:
    """(rows, n_kv_heads, m + room, head_dim) from packed (n_kv_heads, n, head_dim)."""
    n_rows, width = index.shape
    buffer = packed.new_empty((n_rows, packed.shape[0], width + room, packed.shape[2]))
    if width:
        buffer[:, :, :width] = packed[:, index].transpose(0, 1)
    return buffer


def _longer(buffer: torch.Tensor, room: int) -> torch.Tensor:
    n_rows, n_heads, n, head_dim = buffer.shape
    longer = buffer.new_empty((n_rows, n_heads, n + room, head_dim))
    longer[:, :, :n] = buffer
    return longer
