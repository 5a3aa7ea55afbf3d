"""Passes over the units of a trie: as many units as the limits allow, computed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from emo_harness.prefix.limits import Limits
from emo_harness.prefix.path_cache import PathCache
from emo_harness.prefix.trie import Tokens
from emo_harness.prefix.units import Piece, Unit


@dataclass
class KeptTokens:
    """Keys and values of all packed tokens, which passes fill one behind another.

    Attributes:
        n_tokens: of all passes.
        n_filled: of those that are over.
        layers: per layer the keys and values, both (n_kv_heads, n_tokens, head_dim).
    """

    n_tokens: int
    n_filled: int = 0
    layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def put(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Copy a pass's (1, n_kv_heads, n, head_dim)."""
        if layer not in self.layers:
            self.layers[layer] = (self._buffer(key), self._buffer(value))
        here = slice(self.n_filled, self.n_filled + key.shape[2])
        for buffer, one in zip(self.layers[layer], (key, value), strict=True):
            buffer[:, here] = one[0]

    def _buffer(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_empty((like.shape[1], self.n_tokens, like.shape[3]))


@dataclass(frozen=True)
class Pass:
    """Units that one forward pass computes, in depth-first order."""

    units: tuple[Unit, ...]

    @property
    def tokens(self) -> Tokens:
        """(n,) token ids of all units."""
        return np.concatenate([unit.tokens for unit in self.units])

    @property
    def positions(self) -> NDArray[np.int64]:
        """(n,) tokens before each on its own path."""
        return np.concatenate([unit.positions for unit in self.units])

    @property
    def pieces(self) -> Iterator[Piece]:
        return (piece for unit in self.units for piece in unit.pieces)

    def ends(self) -> tuple[list[int], list[int]]:
        """The rows of tokens with which a sequence ends, and the places of those sequences."""
        rows, places, before = [], [], 0
        for piece in self.pieces:
            before += len(piece)
            if piece.is_end and piece.node.ends is not None:
                rows.append(before - 1)
                places.append(piece.node.ends)
        return rows, places


def passes(
    units: Iterable[Unit], limits: Limits, wanted_of: Callable[[Unit], int]
) -> Iterator[Pass]:
    """Cut units into passes within limits, or of one unit; `wanted_of` counts its logits rows."""
    taken: list[Unit] = []
    n_tokens = n_wanted = 0
    for unit in units:
        wanted = wanted_of(unit)
        full = n_tokens + len(unit) > limits.pass_tokens or n_wanted + wanted > limits.wanted
        if taken and full:
            yield Pass(tuple(taken))
            taken, n_tokens, n_wanted = [], 0, 0
        taken.append(unit)
        n_tokens += len(unit)
        n_wanted += wanted
    if taken:
        yield Pass(tuple(taken))


def ends_in(unit: Unit) -> int:
    """How many sequences end in a unit."""
    return sum(piece.is_end and piece.node.ends is not None for piece in unit.pieces)


@dataclass
class PathAttention:
    """Attention of a pass of units: each sees its path in the cache, and its own tokens.

    Attributes:
        units: in depth-first order.
        cache: the path; after the pass it holds the path of the last unit.
        kept: where given, what the pass's keys and values are copied to.
    """

    units: tuple[Unit, ...]
    cache: PathCache
    kept: KeptTokens | None = None
    _masks: list[torch.Tensor | None] = field(default_factory=list)

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        if not self._masks:
            self._masks = [_mask(unit, query) for unit in self.units]
        if self.kept is not None:
            self.kept.put(layer, key, value)
        parts = []
        row = 0
        for unit, mask in zip(self.units, self._masks, strict=True):
            after = row + len(unit)
            keys, values = self.cache.written(
                layer, unit.offset, key[:, :, row:after], value[:, :, row:after]
            )
            parts.append(_attended(query[:, :, row:after], keys, values, mask, scaling))
            row = after
        return torch.cat(parts, dim=2)


def _attended(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
) -> torch.Tensor:
    grouped = query.shape[1] // keys.shape[1]
    if grouped > 1 and mask is not None and query.device.type != "cpu":
        # The fused kernels of accelerators take grouped heads or a mask, not both.
        keys = keys.repeat_interleave(grouped, dim=1)
        values = values.repeat_interleave(grouped, dim=1)
        grouped = 1
    return F.scaled_dot_product_attention(
        query,
        keys,
        values,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=grouped > 1,
    )


def _mask(unit: Unit, like: torch.Tensor) -> torch.Tensor | None:
    """(n, offset + n), 0 where a token sees another, else minus infinity; None where causal."""
    if unit.is_chain and not unit.offset:
        return None
    n = len(unit)
    mask = torch.zeros((n, unit.offset + n), dtype=like.dtype, device=like.device)
    hidden = torch.from_numpy(~unit.visible()).to(like.device)
    mask[:, unit.offset :].masked_fill_(hidden, float("-inf"))
    return mask
