"""A causal language model run over packed tokens, each with its own place on its own path.

The model's own code computes everything but attention. Attention is ours, through transformers'
`AttentionInterface`: it is called with rotated queries and keys of the packed tokens, and what a
token may see is the concern of the pass in hand (`Attention`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.prefix.limits import Costs
from emo_harness.prefix.support import base_model
from emo_harness.prefix.trie import Tokens

if TYPE_CHECKING:
    from emo_harness.prefix.prefill import Pass

IMPLEMENTATION = "emo_packed"


class Attention(Protocol):
    """What the packed tokens of one pass see.

    Queries are (1, n_heads, n, head_dim), keys and values (1, n_kv_heads, n, head_dim), all of the
    pass's own tokens; the result has the shape of the queries.
    """

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor: ...


# (layer, keys, values) -> keys, values; both (1, n_kv_heads, n, head_dim) of the packed tokens.
OnKeysAndValues = Callable[[int, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

_in_hand: ContextVar[_Counted] = ContextVar("emo_harness_attention")
_hearers: ContextVar[tuple[tuple[frozenset[int], OnKeysAndValues], ...]] = ContextVar(
    "emo_harness_hearers", default=()
)


class _Counted:
    """The attention of a pass, and the layers that have called it."""

    def __init__(self, attention: Attention) -> None:
        self.attention = attention
        self.layers: list[int] = []


def _attention_function(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    counted = _in_hand.get()
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    counted.layers.append(layer)
    for modules, hear in _hearers.get():
        if id(module) in modules:
            key, value = hear(layer, key, value)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended = counted.attention.attend(layer, query, key, value, scale)
    return attended.transpose(1, 2).contiguous(), None


def is_packed(model: Any) -> bool:
    """Whether a model is in the middle of a packed pass, so that attention is ours."""
    return getattr(model.config, "_attn_implementation_internal", None) == IMPLEMENTATION


@contextmanager
def hearing_keys_and_values(model: Any, hear: OnKeysAndValues) -> Iterator[None]:
    """Let `hear` see, and replace, what `model` attends to in packed passes.

    It is called once per layer and pass, before attention and before anything is cached; of several
    for one model, the one that was entered first is called first.
    """
    modules = frozenset(id(module) for module in model.modules())
    token = _hearers.set((*_hearers.get(), (modules, hear)))
    try:
        yield
    finally:
        _hearers.reset(token)


class PackedModel:
    """A transformers causal language model, for packed passes.

    `seconds` counts the time spent in the model.

    Args:
        model: a `PreTrainedModel` with a language-model head, in evaluation mode. It is left as it
            was found after every pass.
        device: where token ids go.
        mixed_precision_dtype: autocast to this dtype, as `HFLM` does.
    """

    def __init__(
        self,
        model: Any,
        device: torch.device,
        mixed_precision_dtype: torch.dtype | None = None,
    ) -> None:
        from transformers import AttentionInterface

        AttentionInterface.register(IMPLEMENTATION, _attention_function)
        self.model = model
        self.device = device
        self.mixed_precision_dtype = mixed_precision_dtype
        self.n_layers: int = model.config.get_text_config().num_hidden_layers
        self.seconds = 0.0
        self.costs = Costs.of(model)
        self.vocabulary: int = model.get_output_embeddings().weight.shape[0]

    def autocast(self) -> torch.autocast:
        """The precision that the user asked for."""
        return torch.autocast(
            self.device.type,
            dtype=self.mixed_precision_dtype,
            enabled=self.mixed_precision_dtype is not None,
        )

    def reserve(self, budget_bytes: int) -> int:
        """Bytes of a memory budget that the model keeps to itself: they are not for passes."""
        return 0

    def positions(self, one: Pass) -> NDArray[np.int64]:
        """(n,) the position of each of a pass's tokens on its own path."""
        return one.positions

    def position_after(self, tokens: Tokens) -> int:
        """The position of what follows (n,) tokens."""
        return len(tokens)

    def logits(
        self,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int64],
        wanted: Sequence[int] | NDArray[np.int64],
        attention: Attention,
    ) -> torch.Tensor:
        """One forward pass.

        Args:
            tokens: (n,) token ids.
            positions: (n,) from `positions` and `position_after`.
            wanted: (m,) which of the tokens' next-token logits are needed.
            attention: what the tokens see.

        Returns:
            (m, vocabulary) logits, in the model's dtype.

        Raises:
            RuntimeError: the model did not use our attention once in every layer.
        """
        rows = torch.from_numpy(np.asarray(wanted, np.int64)).to(self.device)
        found = self._passed(self.model, tokens, positions, attention, logits_to_keep=rows)
        return found.logits[0]

    def states(
        self,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int64],
        attention: Attention,
    ) -> torch.Tensor:
        """One forward pass without the language-model head; see `logits`.

        Returns:
            (n, hidden_size) what the head would be given.
        """
        decoder = base_model(self.model).get_decoder()
        return self._passed(decoder, tokens, positions, attention).last_hidden_state[0]

    def _passed(
        self,
        model: Any,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int64],
        attention: Attention,
        **arguments: Any,
    ) -> Any:
        started = time.perf_counter()
        counted = _Counted(attention)
        token = _in_hand.set(counted)
        try:
            with torch.no_grad(), self.autocast():
                inputs = self._inputs(tokens, positions)
                with _our_attention(self.model):
                    found = model(**inputs, use_cache=False, **arguments)
        finally:
            _in_hand.reset(token)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.seconds += time.perf_counter() - started
        if sorted(counted.layers) != list(range(self.n_layers)):
            raise RuntimeError(
                f"packed attention was called by layers {counted.layers}, "
                f"not once by each of {self.n_layers}"
            )
        return found

    def _inputs(self, tokens: Tokens, positions: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        """What the model is called with."""
        ids = torch.from_numpy(np.asarray(tokens, np.int64))[None]
        places = torch.from_numpy(np.asarray(positions, np.int64))[None]
        return {"input_ids": ids.to(self.device), "position_ids": places.to(self.device)}


@contextmanager
def _our_attention(model: Any) -> Iterator[None]:
    """Let the model's layers call our attention; restore what each configuration said."""
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    configs[id(model.config)] = model.config
    before = [
        (c, c._attn_implementation_internal)
        for c in configs.values()
        if hasattr(c, "_attn_implementation_internal")
    ]
    for config, _ in before:
        config._attn_implementation_internal = IMPLEMENTATION
    try:
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation_internal = implementation
