"""Does what is heard at a site add up to what the model does? Asked of the model in hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from emo_harness.activations.branches import added, candidates, multipliers
from emo_harness.activations.hooks import HookCountError, listening
from emo_harness.errors import UserError, quoted

if TYPE_CHECKING:
    from emo_harness.activations.sites import Layout

N_PROMPTS = 2
N_TOKENS = 24
# Rounding by other kernels for other layouts in memory, relative.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
Place = tuple[str, int]


def check(layout: Layout) -> None:
    """Find what can be listened to in a model, and prove it; fills the layout in.

    What is proven: the residual stream is what the model itself calls its hidden states; it and
    both branches add up; branches replaced by nothing leave it as it was; keys and values are
    those of the model's own cache; everything heard, copied and put back changes no bit; later
    tokens change nothing before them.

    Raises:
        UserError: the model cannot be run, gives values that are not finite, sees later tokens, or
            has no site that can be reproduced.
    """
    training = layout.model.training
    layout.model.eval()
    try:
        with torch.no_grad():
            _Check(layout).run()
    finally:
        layout.model.train(training)


class _Check:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.ids = random_prompts(layout)

    def run(self) -> None:
        plain = self._plain_pass()
        layers = range(self.layout.n_layers)
        # One pass for both: no two passes need to round alike on an accelerator.
        with self._outputs() as outputs:
            stream = self._heard({(s, n) for s in ("resid_pre", "resid_post") for n in layers})
        self._residual(plain, stream)
        self._keys_and_values()
        self._branches(stream, outputs)
        self._zero_edit(plain.last_hidden_state)
        if not any(self.layout.shapes.values()):
            raise self._error(quoted(self.layout.refused.values()), "a site that can be reproduced")

    def _plain_pass(self) -> Any:
        base = self.layout.base
        found = base(input_ids=self.ids, use_cache=False, output_hidden_states=True)
        last = found.last_hidden_state
        if not bool(last.isfinite().all()):
            raise self._error(
                f"hidden states that are not finite in {last.dtype}",
                "finite ones on random prompts",
                "load the model in float32 or bfloat16, or look for damaged weights",
            )
        half = self.ids.shape[1] // 2
        changed = self.ids.clone()
        changed[:, half:] = (changed[:, half:] + 1) % int(changed.max() + 1)
        again = base(input_ids=changed, use_cache=False).last_hidden_state
        change = (again - last).float().norm(dim=-1) / last.float().norm(dim=-1)
        # The least changed of the tokens before: a mixture of experts may round some otherwise.
        if half and float(change[:, :half].min()) > TOLERANCE.get(last.dtype, 1e-1):
            raise self._error("tokens that see later tokens", "a causal language model")
        return found

    def _residual(self, plain: Any, heard: dict[Place, torch.Tensor] | str) -> None:
        """Inputs and outputs of layers, against the model's own hidden states."""
        layout = self.layout
        if isinstance(heard, str):
            layout.refused |= dict.fromkeys(("resid_pre", "resid_post"), heard)
            return
        shape = (*self.ids.shape, layout.hidden_size)
        own: tuple[torch.Tensor, ...] = tuple(plain.hidden_states or ())
        # Some models count what comes out of a layer, most what goes in.
        is_after = bool(own) and not is_near(heard["resid_pre", 0], own[0])
        for (site, layer), tensor in heard.items():
            # The last of the model's hidden states is behind its final norm.
            number = layer + (site == "resid_post") - is_after
            is_same = not 0 <= number < len(own) - 1 or is_near(tensor, own[number])
            if tuple(tensor.shape) != shape:
                layout.refused[site] = f"layers of shape {tuple(tensor.shape)}, not {shape}"
            elif not is_same:
                layout.refused[site] = f"other than the model's own hidden state {number}"
            else:
                layout.shapes[site][layer] = (layout.hidden_size,)

    def _keys_and_values(self) -> None:
        layout = self.layout
        own = self._own_cache()
        if isinstance(own, str):
            layout.refused |= dict.fromkeys(("key", "value"), own)
            return
        heard = self._heard({(site, layer) for site in ("key", "value") for layer in own})
        if isinstance(heard, str):
            layout.refused |= dict.fromkeys(("key", "value"), heard)
            return
        for layer, (keys, values) in own.items():
            for site, kept in (("key", keys), ("value", values)):
                tensor = heard[site, layer]
                if tensor.dim() != 4 or tensor.shape[2] != self.ids.shape[1]:
                    layout.refused[site] = f"keys or values of shape {tuple(tensor.shape)}"
                elif not is_near(tensor[:, :, -kept.shape[2] :], kept):
                    layout.refused[site] = f"other than the model's own cache at layer {layer}"
                else:
                    layout.shapes[site][layer] = (tensor.shape[1], tensor.shape[3])
        layout.is_latent = self._is_latent()
        if layout.is_latent:
            shapes = layout.shapes
            shapes["key"], shapes["value"] = shapes["value"], shapes["key"]

    def _is_latent(self) -> bool:
        """Whether the cache's first half is a latent of both, and its second half the rotation."""
        config = self.layout.base.config
        ranks = (getattr(config, "kv_lora_rank", None), getattr(config, "qk_rope_head_dim", None))
        shapes = self.layout.shapes
        return None not in ranks and all(
            (shapes["key"].get(layer), shape) == ((1, ranks[0]), (1, ranks[1]))
            for layer, shape in shapes["value"].items()
        )

    def _own_cache(self) -> dict[int, tuple[torch.Tensor, torch.Tensor]] | str:
        """The keys and values that the model keeps by itself, by layer; or why it has none."""
        base = self.layout.base
        nothing = "no layer of the model keeps keys and values"
        if not any(
            isinstance(kept, DynamicLayer) for kept in DynamicCache(config=base.config).layers
        ):
            return nothing
        found = base(input_ids=self.ids, use_cache=True)
        cache = getattr(found, "past_key_values", None)
        if cache is None:
            return "the model has no attention cache"
        if type(cache) is not DynamicCache:
            return f"the model keeps keys and values in a {type(cache).__name__} of its own"
        kept = {
            number: (layer.keys, layer.values)
            for number, layer in enumerate(cache.layers)
            if isinstance(getattr(layer, "keys", None), torch.Tensor) and layer.keys.dim() == 4
        }
        return kept or nothing

    def _branches(
        self, stream: dict[Place, torch.Tensor] | str, outputs: list[dict[str, torch.Tensor]]
    ) -> None:
        layout = self.layout
        if isinstance(stream, str) or layout.n_layers != len(layout.shapes["resid_pre"]):
            reason = f"the residual stream cannot be read: {layout.refused.get('resid_pre')}"
            layout.refused |= dict.fromkeys(layout.branches, reason)
            return
        scales = multipliers(layout.base.config)
        for layer in range(layout.n_layers):
            before, after = stream["resid_pre", layer], stream["resid_post", layer]
            pair = added(before, after, outputs[layer], scales)
            if pair is None:
                tried = quoted(candidates(layout.layers[layer]), 20) or "no modules known by name"
                reason = f"layer {layer} gives no sum of its input and two of its parts ({tried})"
                layout.refused = dict.fromkeys(layout.branches, reason) | layout.refused
                continue
            for site, branch in zip(("attn_out", "mlp_out"), pair, strict=True):
                layout.branches[site][layer] = branch
                layout.shapes[site][layer] = (layout.hidden_size,)
        self._without_branches()

    @contextmanager
    def _outputs(self) -> Iterator[list[dict[str, torch.Tensor]]]:
        """By layer and path, what candidate modules give; those called twice are left out."""
        found: list[dict[str, torch.Tensor]] = [{} for _ in self.layout.layers]
        calls: Counter[Place] = Counter()

        def recorder(number: int, path: str) -> Callable[..., None]:
            def hook(module: Any, args: Any, output: Any) -> None:
                given = output[0] if isinstance(output, tuple | list) else output
                calls[path, number] += 1
                if isinstance(given, torch.Tensor):
                    found[number][path] = given.clone()

            return hook

        with ExitStack() as until_left:
            for number, layer in enumerate(self.layout.layers):
                for path in candidates(layer):
                    hook = recorder(number, path)
                    handle = layer.get_submodule(path).register_forward_hook(hook)
                    until_left.callback(handle.remove)
            yield found
        for (path, number), n_calls in calls.items():
            if n_calls != 1:
                found[number].pop(path, None)

    def _without_branches(self) -> None:
        """Where both branches are replaced by nothing, a layer gives what it was given."""
        layout = self.layout
        layers = sorted(layout.branches["attn_out"])
        sites = ("attn_out", "mlp_out", "resid_pre", "resid_post")
        heard: dict[Place, torch.Tensor] = {}

        def hear(site: str, layer: int, tensor: torch.Tensor) -> torch.Tensor | None:
            if site in layout.branches:
                return torch.zeros_like(tensor)
            heard[site, layer] = tensor.clone()
            return None

        with layout.listening(dict.fromkeys(sites, layers) if layers else {}, hear):
            layout.forward(self.ids)
        for layer in layers:
            if not torch.equal(heard["resid_pre", layer], heard["resid_post", layer]):
                for site in layout.branches:
                    layout.refused[site] = f"layer {layer} adds more than its two branches"
                    layout.shapes[site].pop(layer)

    def _zero_edit(self, expected: torch.Tensor) -> None:
        """Copies put in the place of all that is heard must not change a bit."""
        shapes = self.layout.shapes
        sites = [site for site, layers in shapes.items() if layers]
        if self._is_unchanged(sites, expected):
            return
        for site in sites:
            if not self._is_unchanged([site], expected):
                self.layout.refused[site] = "copies in its place change what the model gives"
                shapes[site] = {}

    def _is_unchanged(self, sites: Sequence[str], expected: torch.Tensor) -> bool:
        places = {site: self.layout.layers_of(site) for site in sites}
        with self.layout.listening(places, lambda site, layer, tensor: tensor.clone()):
            found = self.layout.forward(self.ids)
        if found is None:
            return False
        # Accelerators may choose their kernel by how a copy lies in memory.
        is_exact = self.ids.device.type == "cpu"
        return torch.equal(found, expected) if is_exact else is_near(found, expected)

    def _heard(self, places: set[Place]) -> dict[Place, torch.Tensor] | str:
        """What is at some places in a forward pass; or why they cannot be listened to."""
        heard: dict[Place, torch.Tensor] = {}
        by_site: dict[str, list[int]] = defaultdict(list)
        for site, layer in sorted(places):
            by_site[site].append(layer)

        def hear(site: str, layer: int, tensor: torch.Tensor) -> None:
            heard[site, layer] = tensor.clone()

        try:
            with listening(self.layout, by_site, hear, stops_early=False):
                self.layout.forward(self.ids)
        except HookCountError as error:
            return str(error)
        return heard

    def _error(self, found: str, expected: str, fix: str = "choose another model") -> UserError:
        return UserError(
            f"checking what can be read from {type(self.layout.model).__name__}",
            found=found,
            expected=expected,
            fix=fix,
        )


def random_prompts(layout: Layout) -> torch.Tensor:
    """(n_prompts, n_tokens) random token ids, always the same ones for one vocabulary."""
    embeddings = layout.base.get_input_embeddings()
    longest = int(getattr(layout.base.config, "max_position_embeddings", None) or N_TOKENS)
    rng = np.random.default_rng(0)
    shape = (N_PROMPTS, min(N_TOKENS, longest))
    ids = rng.integers(0, embeddings.weight.shape[0], shape)
    return torch.from_numpy(ids).to(embeddings.weight.device)


def is_near(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal up to rounding, relative to each value and to their mean size, nearly everywhere.

    Nearly, for in a mixture of experts rounding may send a token another way.
    """
    if found.shape != expected.shape:
        return False
    tolerance = TOLERANCE.get(expected.dtype, 1e-1)
    found, expected = found.float(), expected.float()
    allowed = tolerance * (expected.abs() + expected.abs().mean())
    return float(((found - expected).abs() <= allowed).float().mean()) >= 0.99
