"""Steering: adding a dose of an axis to a model's activations, with proof that it acted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from emo_harness.axes import Axis
from emo_harness.errors import UserError, nearest, quoted

if TYPE_CHECKING:
    import torch

    from emo_harness.activations.sites import Layout

Positions = Literal["all", "last", "generated"]
POSITIONS: tuple[Positions, ...] = get_args(Positions)
ID_DIGITS = 12


@dataclass(frozen=True)
class Steering:
    """x + dose * axis.vectors[layer], at the axis' site.

    The axis is in raw units and as long as the class-mean distance, so a dose of 1 moves an
    activation by that distance, and a negative dose the other way.

    Attributes:
        axis: what is added.
        dose: how much of it.
        positions: "all" tokens; the "last" one of the prompt; or those "generated" after it,
            which for a scored continuation are the continuation's.
        layers: which of the axis' layers; None for all of them.
    """

    axis: Axis
    dose: float
    positions: Positions = "all"
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        doing = f"steering along {self.axis.name!r}"
        if self.positions not in POSITIONS:
            raise UserError(
                doing,
                found=f"positions {self.positions!r}{nearest(self.positions, POSITIONS)}",
                expected=f"one of {quoted(POSITIONS)}",
                fix="name one of them",
            )
        if not math.isfinite(self.dose):
            raise UserError(
                doing, found=f"a dose of {self.dose}", expected="a number", fix="e.g. 1 or -0.5"
            )
        if not self.used.vectors.any():
            raise UserError(
                doing,
                found="an axis of length 0 at every layer that is steered",
                expected="a direction to steer along",
                fix="name layers at which its classes differ",
            )
        if not np.isfinite(self.used.vectors).all():
            wrong = [
                layer
                for layer, vector in zip(self.used.layers, self.used.vectors, strict=True)
                if not np.isfinite(vector).all()
            ]
            raise UserError(
                doing,
                found=f"NaN or infinity in the axis at layer {wrong[0]}",
                expected="numbers",
                fix="fit the axis again; `emo probe fit` tells which activations were not finite",
            )

    @cached_property
    def used(self) -> Axis:
        """The axis at the layers that are steered."""
        return self.axis if self.layers is None else self.axis.only(self.layers)

    @cached_property
    def id(self) -> str:
        """A hash of what is added where; equal steerings have equal ones, wherever they came from.

        Caches that hold keys, values or answers are keyed by it.
        """
        used = self.used
        digest = hashlib.sha256(
            f"{used.site} {used.layers} {self.positions} {self.dose!r} ".encode()
        )
        digest.update(np.ascontiguousarray(used.vectors, "<f4").tobytes())
        return digest.hexdigest()[:ID_DIGITS]

    def __str__(self) -> str:
        layers = quoted(spans(self.used.layers), 6)
        return (
            f"{self.axis.name} {self.dose:+g} at {self.axis.site}, layers {layers}, "
            f"positions {self.positions}"
        )

    @property
    def text(self) -> str:
        """As a user writes it after the file's name."""
        return (
            f"{self.axis.name}:{self.dose:+g}:site={self.axis.site}:"
            f"layers={'+'.join(spans(self.used.layers))}:positions={self.positions}"
        )

    @property
    def remarks(self) -> list[str]:
        """What whoever reads its effects must know."""
        found = []
        if self.axis.site == "key" and self.positions == "all":
            found.append(
                "one vector added to all keys raises every attention score of a query alike, so "
                "softmax undoes it: steer keys at `last` or `generated` positions"
            )
        if self.axis.site.startswith("resid") and len(self.used.layers) > 1:
            found.append(
                f"the residual stream keeps what earlier layers added, so doses at "
                f"{len(self.used.layers)} layers add up: --layers names fewer"
            )
        if self.positions == "generated":
            found.append(
                "the token after a prompt comes from the prompt's own last token, which is not "
                "steered: look at continuations"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """What a run keeps of it."""
        return {
            "axis": self.axis.name,
            "site": self.axis.site,
            "layers": list(self.used.layers),
            "dose": self.dose,
            "positions": self.positions,
            "text": self.text,
            "id": self.id,
        }

    @contextmanager
    def everywhere(self, layout: Layout) -> Iterator[None]:
        """Steer every token of the passes inside, packed ones too.

        Raises:
            ValueError: positions other than "all", which need to know where prompts end.
            HookCountError: a layer was not steered exactly once per pass, or no pass ran inside.
        """
        if self.positions != "all":
            raise ValueError(f"positions {self.positions!r} depend on where a prompt ends")
        with self._applied(layout, lambda n_passes, n_tokens: None):
            yield

    @contextmanager
    def scoring(self, layout: Layout, prompt_tokens: Sequence[int]) -> Iterator[None]:
        """Steer passes over whole sequences, padded on the right.

        Args:
            prompt_tokens: how many tokens of each sequence are prompt; what follows counts as
                generated.
        """
        import torch

        ends = torch.tensor(list(prompt_tokens))[:, None]

        def chosen(n_passes: int, n_tokens: int) -> torch.Tensor | None:
            places = torch.arange(n_tokens)[None]
            return {
                "all": None,
                "last": places == ends - 1,
                "generated": places >= ends,
            }[self.positions]

        with self._applied(layout, chosen):
            yield

    @contextmanager
    def generating(self, layout: Layout) -> Iterator[None]:
        """Steer one generation: a pass over prompts padded on the left, then one for each token.

        Raises:
            UserError: positions other than "all", and passes of which neither is known.
        """
        import torch

        n_prompt = 0

        def chosen(n_passes: int, n_tokens: int) -> torch.Tensor | None:
            nonlocal n_prompt
            if self.positions == "all":
                return None
            if not n_passes:
                n_prompt = n_tokens
            n_so_far = n_prompt + n_passes
            # Without a cache every pass computes all tokens again.
            if n_tokens not in (1, n_so_far):
                raise _unknown_pass(self, n_tokens, n_so_far)
            places = torch.arange(n_so_far - n_tokens, n_so_far)[None]
            return places == n_prompt - 1 if self.positions == "last" else places >= n_prompt

        with self._applied(layout, chosen):
            yield

    @contextmanager
    def _applied(
        self, layout: Layout, chosen: Callable[[int, int], torch.Tensor | None]
    ) -> Iterator[None]:
        """Steer the tokens that `chosen(passes before, tokens in this one)` marks, (batch, n)."""
        from emo_harness.activations.hooks import HookCountError

        used = self.used
        added = _Added(used, self.dose)

        def hear(site: str, layer: int, activation: torch.Tensor) -> torch.Tensor | None:
            which = chosen(heard.passes - 1, activation.shape[-2])
            # Adding zeros is not nothing: a sum lies otherwise in memory than what it came from,
            # by which accelerators choose how they round.
            if not self.dose or (which is not None and not bool(which.any())):
                return None
            return added.to(layer, activation, which)

        with layout.listening({used.site: used.layers}, hear) as heard:
            yield
        if not heard.passes:
            raise HookCountError(
                f"steering {self} acted on nothing: no forward pass of "
                f"{type(layout.base).__name__} ran inside"
            )


class _Added:
    """dose * vector of each layer, as the model's activations are shaped."""

    def __init__(self, axis: Axis, dose: float) -> None:
        self._named, self._dose = f"along {axis.name!r}", dose
        with np.errstate(over="ignore", invalid="ignore"):
            self._vectors = dict(zip(axis.layers, axis.vectors * np.float32(dose), strict=True))
        self._known: dict[tuple[Any, ...], torch.Tensor] = {}

    def to(self, layer: int, activation: torch.Tensor, which: torch.Tensor | None) -> torch.Tensor:
        """An activation, (batch, n, hidden) or (batch, n_kv_heads, n, head_dim), with its dose."""
        import torch

        key = (layer, activation.device, activation.dtype, activation.shape[1])
        if key not in self._known:
            vector = torch.from_numpy(self._vectors[layer]).to(activation.device, activation.dtype)
            if not bool(vector.isfinite().all()):
                raise UserError(
                    f"steering {self._named} by {self._dose:+g}",
                    found=f"a vector too large for {str(activation.dtype).removeprefix('torch.')} "
                    f"at layer {layer}",
                    expected="numbers that the model can compute with",
                    fix="choose a smaller dose, or load the model in bfloat16 or float32",
                )
            by_head = activation.dim() == 4
            self._known[key] = vector.view(activation.shape[1], 1, -1) if by_head else vector
        if which is None:
            return activation + self._known[key]
        which = which.to(activation.device)[..., None]
        if activation.dim() == 4:
            which = which[:, None]
        return torch.where(which, activation + self._known[key], activation)


def require_same_model(
    axis: Axis, layout: Layout, *, identity: str | None = None, name: str = "the model"
) -> None:
    """Refuse an axis that was fitted on another model.

    Args:
        axis: with the facts of the model that it was fitted on.
        layout: of the model that is to be steered.
        identity: what stands behind the model's name, see `model_identity`; None if unknown.
        name: of the model, for the message.

    Raises:
        UserError: another identity, number of layers, width or shape of the site.
    """
    fitted: Mapping[str, Any] = axis.facts.get("model") or {}
    doing = f"using the axis {axis.name!r} ({axis.site}) on {name}"
    fix = "fit the axis on this model: `emo probe capture`, then `emo probe fit`"

    def refused(found: str, expected: str) -> UserError:
        return UserError(doing, found=found, expected=expected, fix=fix)

    for what, of_axis, of_model in (
        ("layers", fitted.get("n_layers"), layout.n_layers),
        ("numbers in the residual stream", fitted.get("hidden_size"), layout.hidden_size),
    ):
        if of_axis is not None and of_axis != of_model:
            raise refused(f"an axis of a model with {of_axis} {what}", f"{of_model}, as {name} has")
    beyond = [layer for layer in axis.layers if not 0 <= layer < layout.n_layers]
    if beyond:
        raise refused(f"an axis with layer {beyond[0]}", f"layers 0 to {layout.n_layers - 1}")
    width = math.prod(layout.shape(axis.site, axis.layers))
    if axis.vectors.shape[1] != width:
        raise refused(
            f"an axis of {axis.vectors.shape[1]:,} numbers", f"{width:,}, as {name} has there"
        )
    known = fitted.get("identity")
    if known and identity and known != identity:
        raise refused(
            f"an axis of another model: {fitted.get('name')} ({_short(known)})",
            f"one of {name} ({_short(identity)})",
        )


def spans(layers: Sequence[int]) -> list[str]:
    """Layers as people write them.

    Example:
        >>> spans([0, 1, 2, 5])
        ['0-2', '5']
    """
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


def _unknown_pass(steering: Steering, n_tokens: int, n_so_far: int) -> UserError:
    return UserError(
        f"steering a generation at positions {steering.positions!r}",
        found=f"a pass of {n_tokens} tokens where {n_so_far} are known",
        expected="passes over the newest token, or over all",
        fix="generate without chunks and assistants, or steer positions=all",
    )


def _short(identity: str) -> str:
    kind, _, digits = identity.partition(" ")
    return f"{kind} {digits[:ID_DIGITS]}"
