"""Listening to a model at its sites: the hooks, and the proof that each fired once per pass."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from emo_harness.activations.hearing_cache import HearingCache, hearing
from emo_harness.prefix.packed_model import hearing_keys_and_values, is_packed

if TYPE_CHECKING:
    from emo_harness.activations.branches import Branch
    from emo_harness.activations.sites import Layout

# (site, layer, tensor) -> what takes its place, or None to leave it.
Hear = Callable[[str, int, torch.Tensor], torch.Tensor | None]
Place = tuple[str, int]


class HookCountError(RuntimeError):
    """A site was not reached once in a forward pass: what was heard there is not what it says."""


class EnoughHeard(Exception):  # noqa: N818
    """Ends a forward pass of which nothing more is needed; `Layout.forward` takes it as its end."""


@dataclass
class Heard:
    """What a listening has counted.

    Attributes:
        passes: forward passes of the base model that began; in `hear`, the pass in hand is number
            `passes - 1`.
        calls: of `hear`, by (site, layer), over all passes.
    """

    passes: int = 0
    calls: Counter[Place] = field(default_factory=Counter)


@contextmanager
def listening(
    layout: Layout, places: Mapping[str, Sequence[int]], hear: Hear, *, stops_early: bool
) -> Iterator[Heard]:
    """See `Layout.listening`; sites and layers must be known to exist."""
    ear = _Ear(layout, places, hear, stops_early)
    with ExitStack() as until_left:
        ear.enter(until_left)
        yield ear.heard
    # Reached only where the block itself went well.
    ear.compare()


class _Ear:
    def __init__(
        self, layout: Layout, places: Mapping[str, Sequence[int]], hear: Hear, stops_early: bool
    ) -> None:
        self.layout = layout
        self.hear = hear
        self.stops_early = stops_early
        self.heard = Heard()
        self._wanted = frozenset((site, layer) for site in places for layer in places[site])
        self._left: set[Place] = set()
        self._is_running = False
        self._completed = 0
        self._tokens_shape: tuple[int, ...] = ()
        self._arguments = list(inspect.signature(layout.base.forward).parameters)

    def enter(self, until_left: ExitStack) -> None:
        base = self.layout.base
        handles = [base.register_forward_pre_hook(self._begin, with_kwargs=True)]
        for site, number in sorted(self._wanted):
            layer = self.layout.layers[number]
            if site == "resid_pre":
                hook = self._on_input(number)
                handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
            elif site == "resid_post":
                handles.append(layer.register_forward_hook(self._on_output(site, number, 1.0)))
            elif site in ("attn_out", "mlp_out"):
                branch: Branch = self.layout.branches[site][number]
                hook = self._on_output(site, number, branch.multiplier)
                handles.append(layer.get_submodule(branch.path).register_forward_hook(hook))
        handles.append(base.register_forward_hook(self._end, with_kwargs=True))
        for handle in handles:
            until_left.callback(handle.remove)
        if self._hears_cache:
            until_left.enter_context(hearing_keys_and_values(base, self._on_cache))

    def compare(self) -> None:
        """Raise unless every place was called once in every pass that came to its end."""
        if any(self.heard.calls[place] < self._completed for place in self._wanted):
            raise HookCountError(f"{self._completed} passes, but calls {dict(self.heard.calls)}")

    @property
    def _hears_cache(self) -> bool:
        return any(site in ("key", "value") for site, _ in self._wanted)

    def _begin(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self.heard.passes += 1
        self._left = set(self._wanted)
        self._is_running = True
        given = dict(zip(self._arguments, args, strict=False)) | kwargs
        tokens = given.get("input_ids")
        tokens = given.get("inputs_embeds") if tokens is None else tokens
        self._tokens_shape = tuple(tokens.shape[:2]) if tokens is not None else ()
        if not self._hears_cache or is_packed(module):
            return None
        is_wanted = given.get("use_cache")
        if is_wanted is None:
            is_wanted = getattr(module.config, "use_cache", True)
        given["past_key_values"] = hearing(
            given.get("past_key_values"),
            module.config,
            is_wanted=bool(is_wanted),
            hear=self._on_cache,
        )
        return (), given

    def _end(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        self._is_running = False
        if self._left:
            site, layer = min(self._left)
            raise HookCountError(
                f"{site} of layer {layer} was not reached in a forward pass of "
                f"{type(module).__name__} ({len(self._left)} of {len(self._wanted)} places missing)"
            )
        self._completed += 1
        return _without_ears(output)

    def _called(self, site: str, layer: int, tensor: torch.Tensor) -> torch.Tensor:
        place = (site, layer)
        if not self._is_running or place not in self._left:
            when = "twice in a forward pass" if self._is_running else "outside a forward pass"
            raise HookCountError(f"{site} of layer {layer} was reached {when}")
        self._left.discard(place)
        self.heard.calls[place] += 1
        replaced = self.hear(site, layer, tensor)
        if self.stops_early and not self._left:
            self._is_running = False
            self._completed += 1
            raise EnoughHeard
        if replaced is None:
            return tensor
        if replaced.shape != tensor.shape:
            raise ValueError(
                f"{site} of layer {layer} has shape {tuple(tensor.shape)}, "
                f"its replacement {tuple(replaced.shape)}"
            )
        return replaced.to(tensor)

    def _on_cache(
        self, layer: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sites = ("value", "key") if self.layout.is_latent else ("key", "value")
        first, second = (
            self._called(site, layer, tensor) if (site, layer) in self._wanted else tensor
            for site, tensor in zip(sites, (key, value), strict=True)
        )
        return first, second

    def _on_input(self, layer: int) -> Callable[..., Any]:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (self._called("resid_pre", layer, args[0]), *args[1:]), kwargs
            kwargs["hidden_states"] = self._called("resid_pre", layer, kwargs["hidden_states"])
            return args, kwargs

        return hook

    def _on_output(self, site: str, layer: int, multiplier: float) -> Callable[..., Any]:
        def hook(module: Any, args: tuple[Any, ...], output: Any) -> Any:
            is_many = isinstance(output, tuple | list)
            parts = output if is_many else (output,)
            given = parts[0]
            # Some layers flatten their tokens before the MLP.
            shaped = given.view(*self._tokens_shape, -1) if given.dim() == 2 else given
            scaled = shaped if multiplier == 1.0 else shaped * multiplier
            heard = self._called(site, layer, scaled)
            if heard is scaled:
                return None
            if multiplier != 1.0:
                # What was left alone must not change by multiplying and dividing.
                heard = torch.where(heard == scaled, shaped, heard / multiplier)
            heard = heard.view(given.shape)
            return type(output)((heard, *parts[1:])) if is_many else heard

        return hook


def _without_ears(output: Any) -> Any:
    """A model's output with the cache that it would have had without us."""
    if isinstance(output, tuple):
        return tuple(_plain(part) for part in output)
    cache = getattr(output, "past_key_values", None)
    if isinstance(cache, HearingCache):
        if not cache.keeps:
            parts = {name: part for name, part in output.items() if part is not cache}
            return type(output)(**parts)
        output.past_key_values = _plain(cache)
    return output


def _plain(part: Any) -> Any:
    if not isinstance(part, HearingCache):
        return part
    return part.plain if part.keeps else None
