"""Sites: where in a language model activations are read, and where they can be replaced.

    value, key     what enters the attention cache (keys after their norm and rotation)
    attn_out       what attention, or what stands in its place, adds to the residual stream
    mlp_out        what the MLP adds to it
    resid_pre      the residual stream before a layer
    resid_post     the residual stream behind a layer (behind the last one: before the final norm)

A `Layout` knows where they are in one model. It is found by trying and proven by a self-check on
the model in hand, so that what cannot be reproduced is refused and never guessed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers import PreTrainedModel

from emo_harness.activations.branches import Branch
from emo_harness.activations.hooks import EnoughHeard, Hear, Heard, listening
from emo_harness.activations.self_check import check
from emo_harness.errors import UserError, quoted
from emo_harness.prefix.support import base_model

SITES = ("value", "key", "attn_out", "mlp_out", "resid_pre", "resid_post")
BRANCHES = ("attn_out", "mlp_out")
# What models call the list of their decoder layers; others may be as long.
LAYER_LISTS = ("layers", "h", "blocks", "block")


class Layout:
    """Where the sites of a model are; made by `layout_of`.

    Attributes:
        model: as it was given.
        base: its language half, without the language-model head.
        layers: its decoder layers, first to last.
        n_layers, hidden_size: of `base`.
        is_latent: it caches a joint latent of keys and values (multi-head latent attention). Then
            `value` is that latent, (1, kv_lora_rank), of which values are linear functions, and
            `key` the rotated part of the keys, (1, qk_rope_head_dim).
        shapes: by site and layer, of one vector, for what can be listened to.
        branches: by site, each layer's branch, for `attn_out` and `mlp_out`.
        refused: by site, why layers that are not in `shapes` cannot be listened to.
    """

    def __init__(self, model: Any, base: Any, layers: Sequence[torch.nn.Module]) -> None:
        self.model = model
        self.base = base
        self.layers = tuple(layers)
        self.n_layers = len(self.layers)
        self.hidden_size = int(base.config.hidden_size)
        self._arguments = frozenset(inspect.signature(base.forward).parameters)
        self.is_latent = False
        self.shapes: dict[str, dict[int, tuple[int, ...]]] = {site: {} for site in SITES}
        self.branches: dict[str, dict[int, Branch]] = {site: {} for site in BRANCHES}
        self.refused: dict[str, str] = {}

    def layers_of(self, site: str) -> tuple[int, ...]:
        """The layers at which a site can be listened to; all, in most models.

        Raises:
            UserError: there is no such site, or none of its layers can be listened to.
        """
        if site not in SITES:
            raise UserError(
                f"finding the site {site!r}",
                found="no such site",
                expected=f"one of {quoted(SITES)}",
                fix="name one of these",
            )
        if not self.shapes[site]:
            raise self._refusal(site, "any layer")
        return tuple(sorted(self.shapes[site]))

    def shape(self, site: str, layers: Sequence[int] | None = None) -> tuple[int, ...]:
        """Of one vector: (hidden_size,), or (n_kv_heads, head_dim) for keys and values.

        Args:
            layers: the layers that must have it; all that the site has by default.

        Raises:
            UserError: the site is not at these layers, or they differ in shape.
        """
        wanted = self.layers_of(site) if layers is None else layers
        self.check({site: wanted})
        shapes = {self.shapes[site][layer] for layer in wanted}
        if len(shapes) != 1:
            raise UserError(
                f"reading {site} of {type(self.model).__name__}",
                found=f"layers with different shapes ({quoted(map(str, sorted(shapes)))})",
                expected="layers of one shape",
                fix="name the layers of one shape with --layers",
            )
        return shapes.pop()

    def check(self, places: Mapping[str, Sequence[int]]) -> None:
        """Raise unless every site can be listened to at all of its layers.

        Raises:
            UserError: one cannot.
        """
        for site, layers in places.items():
            known = self.layers_of(site)
            for layer in layers:
                if not 0 <= layer < self.n_layers:
                    raise UserError(
                        f"reading {site} of {type(self.model).__name__}",
                        found=f"layer {layer}",
                        expected=f"layers 0 to {self.n_layers - 1}",
                        fix="name layers that the model has",
                    )
                if layer not in known:
                    raise self._refusal(site, f"layer {layer}")

    def listening(
        self, places: Mapping[str, Sequence[int]], hear: Hear, *, stops_early: bool = False
    ) -> AbstractContextManager[Heard]:
        """Let `hear` be told, and replace, what is at some sites while the model runs.

        Works for the model's own forward passes, for `generate`, and for packed passes
        (`prefix.PackedModel`). Listenings may be nested: the outer one hears first, the inner one
        what the outer has put in place.

        Args:
            places: by site, its layers.
            hear: called with (site, layer, tensor); what it returns takes the tensor's place, None
                leaves it. Tensors are (batch, n, hidden_size), or (batch, n_kv_heads, n, head_dim)
                for keys and values, n being the tokens of this pass alone. They are the model's
                own: copy what is to be kept, models overwrite some of them.
            stops_early: end a pass when all places were heard, by raising `EnoughHeard`.

        Returns:
            On entering, a `Heard`, which counts.

        Raises:
            UserError: a place cannot be listened to.
            HookCountError: when the model runs, or on leaving: a place was not reached exactly
                once in a forward pass of the base model.
        """
        self.check(places)
        return listening(self, places, hear, stops_early=stops_early)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> torch.Tensor | None:
        """Run the base model once, without gradients, cache and language-model head.

        Args:
            input_ids, attention_mask, position_ids: (batch, n) int64.

        Returns:
            (batch, n, hidden_size) what the head would be given; None where the pass was ended by
            `EnoughHeard`.
        """
        given = {"attention_mask": attention_mask, "position_ids": position_ids}
        # Models without places of their own, as those with ALiBi, take them from the mask.
        given = {k: v for k, v in given.items() if v is not None and k in self._arguments}
        try:
            with torch.no_grad():
                found = self.base(input_ids=input_ids, use_cache=False, **given)
        except EnoughHeard:
            return None
        last: torch.Tensor = found.last_hidden_state
        return last

    def _refusal(self, site: str, where: str) -> UserError:
        usable = [other for other in SITES if self.shapes[other]]
        known = f"{site} is at layers {quoted(map(str, self.shapes[site]))} alone"
        return UserError(
            f"reading {site} at {where} of {type(self.model).__name__}",
            found=self.refused.get(site, known),
            expected="a site that the self-check could reproduce",
            fix=f"use another site or layer; this model has {quoted(usable)}",
        )


def layout_of(model: Any) -> Layout:
    """Find the sites of a model, and prove them by a self-check on random prompts.

    Args:
        model: a transformers causal language model, or one with images whose language half is
            one; with adapters or without. It is left as it was.

    Raises:
        UserError: it is no such model, or none of its sites can be reproduced.
    """
    plain = base_model(model)
    if not isinstance(plain, PreTrainedModel):
        raise _unknown(model, f"a {type(model).__name__}, which is none of transformers' models")
    if getattr(plain.config, "is_encoder_decoder", False):
        raise _unknown(model, "an encoder-decoder")
    found = _layers(plain)
    if found is None:
        raise _unknown(model, "no list of decoder layers as long as its configuration says")
    layout = Layout(model, *found)
    check(layout)
    return layout


def _layers(model: Any) -> tuple[Any, Sequence[torch.nn.Module]] | None:
    """The innermost model that holds the language half's layers, and these layers."""
    config = model.config.get_text_config(decoder=True)
    owners = {name: m for name, m in model.named_modules() if isinstance(m, PreTrainedModel)}
    found = []
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or len(module) != config.num_hidden_layers:
            continue
        inside = [n for n in owners if not n or name.startswith(f"{n}.")]
        owner = owners[max(inside, key=len)]
        # A tower for images has layers too, and a configuration of another kind.
        if type(owner.config) is type(config):
            found.append((name.rpartition(".")[2] not in LAYER_LISTS, owner, list(module)))
    if not found:
        return None
    _, owner, layers = min(found, key=lambda one: one[0])
    return owner, layers


def _unknown(model: Any, found: str) -> UserError:
    return UserError(
        f"finding the layers of {type(model).__name__}",
        found=found,
        expected="a causal language model, or a model with one as its language half",
        fix="choose another model",
    )
