"""A cache that lets keys and values be heard, and replaced, on their way into it.

Every architecture of transformers that has keys and values hands them to its cache: after their
norms and rotation, split into heads, in one form. So no architecture needs code of ours, and what
is heard is what is attended to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from emo_harness.errors import UserError

# (layer, keys, values) -> keys, values; each (batch, n_kv_heads, n, head_dim) of the new tokens.
OnKeysAndValues = Callable[[int, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class HearingCache(DynamicCache):
    """A plain cache for the time of one forward pass, with ears.

    It shares the layers of the cache that it stands for, so that one is as full afterwards as if
    it had been used itself.

    Args:
        plain: the cache to stand for.
        keeps: whether anything is to be kept; without, what comes in goes out again at once, as in
            a model that runs without a cache.
        hear: called in this order for every layer.
    """

    def __init__(self, plain: DynamicCache, *, keeps: bool, hear: list[OnKeysAndValues]) -> None:
        self.__dict__.update(vars(plain))
        self.plain = plain
        self.keeps = keeps
        self.hear = hear

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for hear in self.hear:
            key_states, value_states = hear(layer_idx, key_states, value_states)
        if not self.keeps:
            return key_states, value_states
        found: tuple[torch.Tensor, torch.Tensor] = super().update(
            key_states, value_states, layer_idx, *args, **kwargs
        )
        return found


def hearing(
    given: Cache | None, config: Any, *, is_wanted: bool, hear: OnKeysAndValues
) -> HearingCache:
    """The cache to hand to a model in place of `given`.

    Args:
        given: what the model was called with.
        config: of the model, which tells what a cache of its own would keep.
        is_wanted: whether the model would make a cache if it was given none.

    Raises:
        UserError: the given cache is of another kind.
    """
    if isinstance(given, HearingCache):
        given.hear.append(hear)
        return given
    if given is None:
        given = DynamicCache(config=config)
        # What is no plain attention has a state that later layers may read from the cache.
        keeps = is_wanted or not all(isinstance(layer, DynamicLayer) for layer in given.layers)
        return HearingCache(given, keeps=keeps, hear=[hear])
    if type(given) is not DynamicCache:
        raise UserError(
            "listening to keys and values",
            found=f"a cache of the kind {type(given).__name__}",
            expected="a DynamicCache",
            fix="run the model without a cache, or generate without `cache_implementation`",
        )
    return HearingCache(given, keeps=True, hear=[hear])
