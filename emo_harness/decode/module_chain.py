"""Modules that a model runs one after another, found by watching, applied in float32."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

# Of a matrix, what is multiplied at a time; of half precision, what is turned into float32.
PART_BYTES = 16 * 1024**2
# Up to this many, any other module of half precision is copied into float32.
COPIED_BYTES = 256 * 1024**2
HALF = (torch.bfloat16, torch.float16)
# What a module may raise that is given something it was not made for.
UNFIT = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError)


@dataclass(frozen=True, eq=False)
class Step:
    """A module was entered, or left.

    Attributes:
        module: which.
        enters: whether it was entered.
        given: its first argument when it was entered; None where that is no tensor, or was not
            asked for.
    """

    module: torch.nn.Module
    enters: bool
    given: torch.Tensor | None = None


@contextmanager
def watched(within: Any, *, keeps_inputs: bool = False) -> Iterator[list[Step]]:
    """The steps of all modules within one, itself included, in their order.

    Args:
        within: the module.
        keeps_inputs: whether steps tell (copies of) what modules were given.
    """
    steps: list[Step] = []

    def enter(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = next(iter((*args, *kwargs.values())), None) if keeps_inputs else None
        steps.append(Step(module, True, given.clone() if torch.is_tensor(given) else None))

    def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
        steps.append(Step(module, False))

    with ExitStack() as until_left:
        for module in within.modules():
            until_left.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            until_left.callback(module.register_forward_hook(leave).remove)
        yield steps


def left(steps: Sequence[Step], module: torch.nn.Module) -> int:
    """The place at which a module was left for the last time; -1 where it was not."""
    places = [i for i, step in enumerate(steps) if step.module is module and not step.enters]
    return places[-1] if places else -1


def outermost(steps: Sequence[Step]) -> tuple[torch.nn.Module, ...]:
    """The modules that were entered in these steps, without those inside one another."""
    found = []
    depth = 0
    for step in steps:
        if step.enters and not depth:
            found.append(step.module)
        # Modules around all of this are left on the way.
        depth = depth + 1 if step.enters else max(0, depth - 1)
    return tuple(found)


def applied(modules: Sequence[torch.nn.Module], states: torch.Tensor) -> torch.Tensor:
    """Hand states through modules, one after another, computed in float32 where that can be.

    Args:
        modules: each maps (n, width) to (n, another width).
        states: (n, width) float32.

    Returns:
        (n, width) float32, where the last module is. Quantised weights, and those that are not at
        hand between forward passes, are left to the module itself, in its own precision.
    """
    for module in modules:
        states = _applied(module, states)
    return states


def product(
    states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """states weight' + bias in float32, whatever the weights are, which are converted in parts.

    Args:
        states: (n, width) float32 on the weights' device.
        weight: (n_out, width).
        bias: (n_out,).

    Returns:
        (n, n_out) float32.
    """
    if weight.dtype == torch.float32 and weight.device.type != "cpu":
        return torch.nn.functional.linear(states, weight, bias)
    found = torch.empty((len(states), len(weight)), dtype=torch.float32, device=weight.device)
    step = max(1, PART_BYTES // (4 * weight.shape[1]))
    for first in range(0, len(weight), step):
        part = weight[first : first + step].float()
        # This way round, few states are multiplied as fast as the matrix can be read.
        found[:, first : first + step] = (part @ states.T).T
    return found if bias is None else found.add_(bias.float())


def _applied(module: torch.nn.Module, states: torch.Tensor) -> torch.Tensor:
    weights = [*module.parameters(), *module.buffers()]
    kinds = {tensor.dtype for tensor in weights}
    if weights and not weights[0].is_meta:
        states = states.to(weights[0].device)
    is_whole = not any(tensor.is_meta for tensor in weights)
    if type(module) is torch.nn.Linear and is_whole and kinds <= {*HALF, torch.float32}:
        return product(states, module.weight, module.bias)
    n_bytes = 4 * sum(tensor.numel() for tensor in weights)
    is_copied = bool(kinds & set(HALF)) and kinds <= {*HALF, torch.float32}
    if is_whole and is_copied and n_bytes <= COPIED_BYTES:
        module = copy.deepcopy(module).float()
        kinds = {torch.float32}
    given = states if kinds <= {torch.float32} else states.to(_computed(module))
    found: torch.Tensor = module(given)
    return found.float()


def _computed(module: torch.nn.Module) -> torch.dtype:
    """The dtype that a module computes in, as far as its weights tell."""
    kinds = [p.dtype for p in module.parameters() if p.dtype.is_floating_point]
    return next((kind for kind in kinds if kind.itemsize > 1), torch.float32)
