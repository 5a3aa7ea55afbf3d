"""What attention would write into the residual stream if all heads saw one token's values alone.

Values are decoded through the attention's output projection. Which module that is, is seen in a
pass over one-token prompts, in which every head can attend to nothing else: it is one that is given
the values, each repeated for the query heads that share it. What follows it up to the
site `attn_out` is proven against what is heard there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from emo_harness.activations.self_check import is_near, random_prompts
from emo_harness.activations.sites import Layout
from emo_harness.decode.module_chain import UNFIT, Step, applied, left, outermost, watched
from emo_harness.errors import UserError

N_PROMPTS = 8


@dataclass(frozen=True, eq=False)
class WrittenValues:
    """From values to what attention adds; made by `written_values`.

    Attributes:
        layout: of the model.
        chains: by layer, the modules that values go through.
        shares: by layer, how many query heads share a value head.
        refused: by layer, why values cannot be followed there.
    """

    layout: Layout
    chains: dict[int, tuple[torch.nn.Module, ...]]
    shares: dict[int, int]
    refused: dict[int, str]

    def __call__(self, values: torch.Tensor, layer: int) -> torch.Tensor:
        """What attention would add if every head attended to this token alone.

        Args:
            values: (n, n_kv_heads, head_dim) float32.
            layer: where they were read.

        Returns:
            (n, hidden_size) float32.

        Raises:
            UserError: this layer's values could not be followed.
        """
        self.require(layer)
        found = applied(self.chains[layer], _repeated(values, self.shares[layer]))
        return found * self.layout.branches["attn_out"][layer].multiplier

    def require(self, layer: int) -> None:
        """Raise unless values can be followed at a layer.

        Raises:
            UserError: they cannot.
        """
        if layer not in self.chains:
            raise UserError(
                f"decoding values of layer {layer} of {type(self.layout.model).__name__}",
                found=self.refused.get(layer, "no values at this layer"),
                expected="an output projection that turns a lone token's values into attn_out",
                fix="decode another site: resid_post, resid_pre or attn_out",
            )


def written_values(layout: Layout) -> WrittenValues:
    """Find and prove, layer by layer, what values are multiplied by.

    Raises:
        UserError: the model's values cannot be listened to, or can be followed at no layer.
    """
    found = WrittenValues(layout, {}, {}, {})
    layers = layout.layers_of("value")
    heard: dict[tuple[str, int], torch.Tensor] = {}

    def hear(site: str, layer: int, tensor: torch.Tensor) -> None:
        heard[site, layer] = tensor.clone()

    if layout.is_latent:
        found.refused.update(dict.fromkeys(layers, "a joint latent of keys and values"))
        found.require(layers[0])
    with_branch = [layer for layer in layers if layer in layout.shapes["attn_out"]]
    why_not = layout.refused.get("attn_out", "attn_out cannot be heard there")
    found.refused.update(dict.fromkeys(set(layers) - set(with_branch), why_not))
    ids = random_prompts(layout).flatten()[:N_PROMPTS, None]
    places = {"value": with_branch, "attn_out": with_branch} if with_branch else {}
    with layout.listening(places, hear), watched(layout.base, keeps_inputs=True) as steps:
        layout.forward(ids)
    for layer in with_branch:
        values = heard["value", layer][:, :, 0].float()
        _follow(found, layer, steps, values, heard["attn_out", layer][:, 0])
    if not found.chains:
        found.require(layers[0])
    return found


@torch.no_grad()
def _follow(
    found: WrittenValues,
    layer: int,
    steps: list[Step],
    values: torch.Tensor,
    expected: torch.Tensor,
) -> None:
    layout = found.layout
    block = layout.layers[layer]
    branch = block.get_submodule(layout.branches["attn_out"][layer].path)
    inside = set(block.modules())
    end = left(steps, branch)
    reason = "no module that is given the values of a token that is alone"
    for begin, step in enumerate(steps[:end]):
        share = _share(step, values) if step.module in inside else 0
        if not share:
            continue
        # Other modules may be given the same numbers, where a projection changes nothing.
        chain = outermost(steps[begin:end])
        if _gives(found, layer, chain, share, values, expected):
            return
        reason = "modules behind the values that do not give attn_out"
    found.refused[layer] = reason


def _gives(
    found: WrittenValues,
    layer: int,
    chain: tuple[torch.nn.Module, ...],
    share: int,
    values: torch.Tensor,
    expected: torch.Tensor,
) -> bool:
    """Whether values become `expected` through a chain, which is kept if so."""
    found.chains[layer], found.shares[layer] = chain, share
    try:
        if is_near(found(values, layer).to(expected.device), expected):
            return True
    except UNFIT:
        pass
    del found.chains[layer], found.shares[layer]
    return False


def _share(step: Step, values: torch.Tensor) -> int:
    """How many query heads share a value head, if this module is given such values; else 0."""
    given = step.given
    if not step.enters or given is None or given.numel() % values.numel():
        return 0
    share = given.numel() // values.numel()
    if (
        not share
        or given.numel() // len(values) != given.shape[-1]
        or not given.is_floating_point()
    ):
        return 0
    expected = _repeated(values, share).to(given.device, given.dtype)
    return share if is_near(given.reshape(expected.shape), expected) else 0


def _repeated(values: torch.Tensor, share: int) -> torch.Tensor:
    """(n, n_query_heads * head_dim), value heads repeated for the query heads that share them."""
    return values.repeat_interleave(share, dim=1).flatten(1)
