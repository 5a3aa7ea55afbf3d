"""From what a model gives its language head to logits.

The head's matrix is the model's own; what else there is (a bias, a transform before it, a constant
factor, a soft cap) is found by trying and proven against the model's own logits, on random prompts
and on states so large that a soft cap shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from emo_harness.activations.self_check import is_near, random_prompts
from emo_harness.activations.sites import Layout
from emo_harness.decode.module_chain import UNFIT, Step, applied, left, outermost, watched
from emo_harness.errors import UserError

# Of each random prompt: logits of a large vocabulary take more memory than anything else here.
N_TOKENS = 6
# Columns of logits that constants are read from.
N_COLUMNS = 4096
# Largest logit of the second pass, in which a cap (30 in most models that have one) shows well.
LOUD_LOGIT = 100.0
# A factor so near one of the configuration's numbers is that number.
SAME_FACTOR = 1e-2
# Of its cap, how large a logit may be for the factor before the cap to be read from it.
UNSATURATED = 0.9


@dataclass(frozen=True, eq=False)
class OutputHead:
    """A model's language head; made by `output_head`.

    logits = factor * x, or cap * tanh(factor * x / cap), where x is what `modules` give.

    Attributes:
        modules: of the model, in their order; the language head's matrix among them.
        vocabulary: how many logits it gives.
        factor: what x is multiplied by.
        cap: that no logit exceeds; None without.
    """

    modules: tuple[torch.nn.Module, ...]
    vocabulary: int
    factor: float = 1.0
    cap: float | None = None

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """The logits of states behind the final norm.

        Args:
            states: (n, width) float32.

        Returns:
            (n, vocabulary) float32, a tensor of its own.
        """
        logits = applied(self.modules, states)[:, : self.vocabulary]
        if self.factor != 1.0:
            logits.mul_(self.factor)
        return logits if self.cap is None else logits.div_(self.cap).tanh_().mul_(self.cap)


def own_logits(layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of a few random prompts, as the model itself gives them.

    Returns:
        (n, hidden_size) float32 what the last layer gave, and (n, vocabulary) the logits.
    """
    heard: list[torch.Tensor] = []
    last = [layout.n_layers - 1]
    with (
        torch.no_grad(),
        layout.listening({"resid_post": last}, lambda *at: heard.append(at[2].clone())),
    ):
        found = layout.model(input_ids=_prompts(layout), use_cache=False)
    return heard[0].flatten(0, 1).float(), found.logits.flatten(0, 1)


def output_head(layout: Layout) -> OutputHead:
    """Find a model's language head, and prove it.

    Raises:
        UserError: the model has none, or one whose logits cannot be reproduced.
    """
    with torch.no_grad():
        plain, steps = _pass(layout, 1.0)
        head = OutputHead(_modules(layout, steps), plain.logits.shape[-1])
        raw = _tried(head, plain.states)
        if raw is None:
            raise _refused(layout, head, "which do not take what the base model gives")
        loudest = LOUD_LOGIT / max(float(raw.abs().max()), torch.finfo(torch.float32).tiny)
        loud, _ = _pass(layout, max(1.0, loudest))
        for found in _explanations(layout, head, (plain, loud)):
            # What explains small logits alone is no explanation.
            if _explains(found, plain) and _explains(found, loud):
                return found
    raise _refused(layout, head, "whose output is not the model's own logits")


@dataclass(frozen=True)
class _Pass:
    """What the base model gave the head, (n, width) float32, and the logits, (n, vocabulary)."""

    states: torch.Tensor
    logits: torch.Tensor


def _pass(layout: Layout, factor: float) -> tuple[_Pass, list[Step]]:
    """A forward pass whose last hidden states are multiplied by a factor before the head."""
    with _louder(layout.base, factor) as states, watched(layout.model) as steps:
        found = layout.model(input_ids=_prompts(layout), use_cache=False)
    logits = getattr(found, "logits", None)
    if logits is None or logits.dim() != 3 or logits.shape[:2] != states[0].shape[:2]:
        given = "no logits" if logits is None else f"logits of shape {tuple(logits.shape)}"
        raise UserError(
            f"finding the language head of {type(layout.model).__name__}",
            found=f"a model that gives {given}",
            expected="a model with a language head, which gives logits for every token",
            fix="load the model whose architecture ends in ForCausalLM or ForConditionalGeneration",
        )
    flat = states[0].flatten(0, 1).float()
    return _Pass(flat, logits.flatten(0, 1).to(flat.device)), steps


@contextmanager
def _louder(base: Any, factor: float) -> Iterator[list[torch.Tensor]]:
    """Multiply what the base model gives, and keep it."""
    states: list[torch.Tensor] = []

    def hook(module: Any, args: Any, output: Any) -> None:
        # In place, so that whatever holds it, holds it multiplied.
        states.append(output[0].mul_(factor).clone())

    handle = base.register_forward_hook(hook)
    try:
        yield states
    finally:
        handle.remove()


def _modules(layout: Layout, steps: list[Step]) -> tuple[torch.nn.Module, ...]:
    """The modules that run behind the base model, the head's matrix among them."""
    after = outermost(steps[left(steps, layout.base) + 1 :])
    head = layout.model.get_output_embeddings()
    ran = {step.module for step in steps}
    # Some models multiply by the matrix without calling the module.
    return after if head is None or head in ran else (*after, head)


def _prompts(layout: Layout) -> torch.Tensor:
    return random_prompts(layout)[:, :N_TOKENS]


def _explains(head: OutputHead, seen: _Pass) -> bool:
    logits = _tried(head, seen.states)
    return logits is not None and is_near(logits, seen.logits)


def _tried(head: OutputHead, states: torch.Tensor) -> torch.Tensor | None:
    try:
        logits = head(states)
    except UNFIT:
        return None
    return logits.to(states.device) if logits.shape[-1] == head.vocabulary else None


def _explanations(layout: Layout, head: OutputHead, seen: Sequence[_Pass]) -> Iterator[OutputHead]:
    """Heads that may give these logits, the simplest first; capped ones by how well they do."""
    yield head
    raw, own = _columns(head, seen)
    numbers = _numbers(layout)
    yield replace(head, factor=_factor(raw, own, numbers))
    capped = []
    for cap in numbers:
        if own.abs().max() > cap * (1 + torch.finfo(seen[0].logits.dtype).eps):
            continue
        fits = own.abs() < UNSATURATED * cap
        factor = _factor(raw[fits], cap * (own[fits] / cap).atanh(), numbers)
        error = float((cap * (factor * raw / cap).tanh() - own).square().mean())
        capped.append((error, cap, factor))
    for _, cap, factor in sorted(one for one in capped if not math.isnan(one[0])):
        yield replace(head, factor=factor, cap=cap)


def _columns(head: OutputHead, seen: Sequence[_Pass]) -> tuple[torch.Tensor, torch.Tensor]:
    """What a head gives and what the model gave, for some tokens of the vocabulary, as float64."""
    step = max(1, head.vocabulary // N_COLUMNS)
    raw = torch.cat(
        [applied(head.modules, one.states)[:, : head.vocabulary : step] for one in seen]
    )
    own = torch.cat([one.logits[:, ::step] for one in seen])
    return raw.double(), own.double().to(raw.device)


def _factor(raw: torch.Tensor, own: torch.Tensor, numbers: list[float]) -> float:
    """own / raw by least squares, as the configuration says it where it says so."""
    least = float((raw * own).sum() / (raw * raw).sum())
    known = [1.0, *numbers, *(1 / number for number in numbers)]
    nearest = min(known, key=lambda one: abs(one - least))
    return nearest if abs(nearest - least) <= SAME_FACTOR * abs(least) else least


def _numbers(layout: Layout) -> list[float]:
    """The positive numbers of a model's configuration."""
    values = layout.base.config.to_dict().values()
    kinds = (int, float)
    return sorted({float(v) for v in values if type(v) in kinds and v > 0 and math.isfinite(v)})


def _refused(layout: Layout, head: OutputHead, found: str) -> UserError:
    names = ", ".join(type(module).__name__ for module in head.modules) or "no module"
    return UserError(
        f"finding the language head of {type(layout.model).__name__}",
        found=f"{names} behind the base model, {found}",
        expected="the model's own logits, up to a constant factor and a soft cap",
        fix="choose another model",
    )
