"""Which of a layer's modules give what attention and MLP add to the residual stream.

Layers differ: the addition may come straight from the attention, from a norm behind it, times a
constant, or happen inside the module itself. Names are guessed from a short list; which guess is
right is decided by arithmetic: what a layer gives must be what it was given plus both branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

# Norms behind a branch come first: where there are some, they are what is added.
ATTENTION = (
    "post_self_attn_layernorm",
    "post_attention_layernorm",
    "post_norm1",
    "self_attn",
    "attn",
    "attention",
    "self_attention",
    "self_attention.dense",
    "norm_attn_norm.attn",
    "multi_head_attention",
    "linear_attn",
    "mamba",
    "conv",
    "temporal_block",
)
MLP = (
    "post_mlp_layernorm",
    "post_feedforward_layernorm",
    "post_norm2",
    "mlp",
    "feed_forward",
    "ffn",
    "block_sparse_moe",
    "moe",
    "mlp_block",
    "fc2",
    "mlp.dense_4h_to_h",
    "ffn.down_proj",
)


@dataclass(frozen=True)
class Branch:
    """A module of a layer whose output, times a constant, is added to the residual stream.

    Attributes:
        path: of the module in its layer.
        multiplier: what the layer multiplies its output by.
    """

    path: str
    multiplier: float


def candidates(layer: torch.nn.Module) -> tuple[str, ...]:
    """The paths of the modules of a layer that may be a branch."""
    known = {name for name, _ in layer.named_modules()}
    return tuple(path for path in (*ATTENTION, *MLP) if path in known)


def multipliers(config: Any) -> tuple[float, ...]:
    """Constants that layers of this model may multiply their branches by."""
    found = [1.0]
    if getattr(config, "residual_multiplier", None) is not None:
        found.append(float(config.residual_multiplier))
    if getattr(config, "scale_depth", None) is not None:
        found.append(float(config.scale_depth) / float(config.num_hidden_layers) ** 0.5)
    return tuple(found)


def added(
    before: torch.Tensor,
    after: torch.Tensor,
    outputs: dict[str, torch.Tensor],
    scales: Sequence[float],
) -> tuple[Branch, Branch] | None:
    """The attention and MLP branches that a layer adds, or None.

    after = before + multiplier * (attention + mlp), up to rounding.

    Args:
        before, after: (batch, n, hidden_size) of a layer.
        outputs: by path, what its candidates gave; those without `hidden_size` values per token
            are passed over.
        scales: multipliers to try.

    Returns:
        Of the combinations that reproduce `after`, the one that does so best; the first of equals.
    """
    found: list[tuple[float, tuple[Branch, Branch]]] = []
    for scale in scales:
        for attention, mlp in _pairs(outputs, before.numel()):
            parts = [
                outputs[path].reshape(before.shape).float() * scale for path in (attention, mlp)
            ]
            error = deviation(before.float(), parts, after.float(), after.dtype)
            if error <= 1:
                found.append((error, (Branch(attention, scale), Branch(mlp, scale))))
    return min(found, key=lambda one: one[0])[1] if found else None


def deviation(
    before: torch.Tensor,
    parts: Sequence[torch.Tensor],
    after: torch.Tensor,
    dtype: torch.dtype,
) -> float:
    """The largest |before + parts - after|, in units of what rounding in `dtype` allows.

    Each addition and multiplication errs by half a unit in the last place of its result, which no
    partial sum's size exceeds; at most four of them make a layer's output.
    """
    total = before + sum(parts)
    size = before.abs() + sum(part.abs() for part in parts)
    info = torch.finfo(dtype)
    allowed = 4 * info.eps * size + info.tiny
    return float(((total - after).abs() / allowed).nan_to_num(nan=torch.inf).max())


def _pairs(outputs: dict[str, torch.Tensor], n_values: int) -> Iterator[tuple[str, str]]:
    fitting = {path for path, output in outputs.items() if output.numel() == n_values}
    for attention in ATTENTION:
        for mlp in MLP:
            if attention in fitting and mlp in fitting:
                yield attention, mlp
