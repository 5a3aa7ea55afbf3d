"""Keys and values of one path of tokens, per layer: all that a depth-first walk has to keep."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from emo_harness.prefix.trie import Tokens


@dataclass
class PathCache:
    """Buffers as long as the longest path; a unit overwrites what its path leaves behind.

    Attributes:
        capacity: tokens that the buffers hold.
        path: the tokens whose keys and values are valid now, from the beginning on.
        layers: per layer the buffers (1, n_kv_heads, capacity, head_dim) of keys and of values.
    """

    capacity: int
    path: Tokens | None = None
    layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def written(
        self, layer: int, offset: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put (1, n_kv_heads, n, head_dim) at `offset`; return everything up to their end."""
        if layer not in self.layers:
            self.layers[layer] = (_buffer(key, self.capacity), _buffer(value, self.capacity))
        keys, values = self.layers[layer]
        end = offset + key.shape[2]
        keys[:, :, offset:end] = key
        values[:, :, offset:end] = value
        return keys[:, :, :end], values[:, :, :end]

    def release(self) -> None:
        """Give the buffers back; nothing is valid after."""
        self.path = None
        self.layers.clear()

    def read(self, layer: int, n_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first `n_tokens` of the path."""
        keys, values = self.layers[layer]
        return keys[:, :, :n_tokens], values[:, :, :n_tokens]


def _buffer(like: torch.Tensor, capacity: int) -> torch.Tensor:
    return like.new_empty((1, like.shape[1], capacity, like.shape[3]))
