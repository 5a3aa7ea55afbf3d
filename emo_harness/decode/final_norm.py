"""What a model does between its last layer's output and what its language head is given.

Mostly a norm, sometimes nothing, sometimes a projection behind it. Which modules that are is seen
in a forward pass, and proven on random prompts: of what the last layer gives they must make what
the model itself calls its last hidden state. So the norm is applied just as often as in the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from emo_harness.activations.self_check import is_near, random_prompts
from emo_harness.activations.sites import Layout
from emo_harness.decode.module_chain import UNFIT, applied, left, outermost, watched
from emo_harness.errors import UserError


@dataclass(frozen=True, eq=False)
class FinalNorm:
    """The way from the last layer to the head; made by `final_norm`.

    Attributes:
        modules: of the model, in their order; none in a model without a final norm.
    """

    modules: tuple[torch.nn.Module, ...]

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """What the head would be given if the last layer gave `states`.

        Args:
            states: (n, hidden_size) float32.

        Returns:
            (n, width) float32; `width` is `hidden_size` unless the model projects.
        """
        return applied(self.modules, states)


def final_norm(layout: Layout) -> FinalNorm:
    """Find what a model does behind its last layer, and prove it.

    Raises:
        UserError: the last layer cannot be listened to, or what follows it is no chain of modules.
    """
    last = layout.n_layers - 1
    heard: list[torch.Tensor] = []
    with (
        layout.listening({"resid_post": [last]}, lambda *at: heard.append(at[2].clone())),
        watched(layout.base) as steps,
    ):
        expected = layout.forward(random_prompts(layout))
    if expected is None:
        raise AssertionError("a pass that was not to end early")
    begin = left(steps, layout.layers[last]) + 1
    modules = outermost(steps[begin : left(steps, layout.base)])
    for chain in (modules, *((module,) for module in modules), ()):
        if _gives(chain, heard[0], expected):
            return FinalNorm(chain)
    names = ", ".join(type(module).__name__ for module in modules) or "no module"
    raise UserError(
        f"finding the final norm of {type(layout.model).__name__}",
        found=f"{names} behind the last layer, which does not give the model's last hidden state",
        expected="modules that give it, one after another",
        fix="choose another model",
    )


@torch.no_grad()
def _gives(chain: Sequence[torch.nn.Module], states: torch.Tensor, expected: torch.Tensor) -> bool:
    try:
        found = applied(chain, states.flatten(0, 1).float())
    except UNFIT:
        return False
    flat = expected.flatten(0, 1)
    return found.shape == flat.shape and is_near(found.to(flat.device), flat)
