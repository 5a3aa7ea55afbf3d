"""An axis in the format of lm-eval's own `steered` model.

lm-eval adds a vector to what a module gives out, at all positions. Which module gives out a site's
activations, and at which of its numbers, differs by architecture; it is found by trying: numbers
that are equal, token by token, in a pass over random tokens. What is written is proven by running
the model both ways. A site that no module gives out (rotated keys, normed values) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_harness.activations.loading import LoadedModel
from emo_harness.activations.sites import Layout
from emo_harness.errors import UserError
from emo_harness.prefix import base_model
from emo_harness.steer.steering import Steering
from emo_harness.whole_file import write_whole

SUFFIXES = (".pt", ".pth")
N_TOKENS = 12
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Hook:
    """What lm-eval adds to a module's output.

    Attributes:
        hookpoint: the module's name below `model.base_model`.
        vector: (width,) float32, as wide as the module's output; for a dose of 1.
    """

    hookpoint: str
    vector: torch.Tensor


def hooks_for(loaded: LoadedModel, steering: Steering) -> list[Hook]:
    """The hooks that do what a steering does.

    Raises:
        UserError: other positions than all, or a site that no module gives out.
    """
    doing = f"writing {steering} for lm-eval's `steered` model"
    if steering.positions != "all":
        raise UserError(
            doing,
            found=f"positions {steering.positions!r}",
            expected="all: lm-eval's model steers every token",
            fix="use `emo run --model emo-hf --steer`, which steers other positions",
        )
    layout, used = loaded.layout, steering.used
    ids = _random_tokens(loaded)
    at_site, outputs = _heard(layout, loaded.model, used.site, used.layers, ids)
    found = []
    for layer, vector in zip(used.layers, torch.from_numpy(used.vectors), strict=True):
        if not vector.any():
            # Nothing is added there.
            continue
        candidates = _expressing(at_site[layer], vector, outputs)
        hook = next(
            (one for one in candidates if _is_same(loaded, steering, layer, one, ids)), None
        )
        if hook is None:
            raise UserError(
                doing,
                found=f"no module of {type(loaded.model).__name__} that gives out {used.site} of "
                f"layer {layer}",
                expected="a site that is some module's output",
                fix="fit the axis at resid_post, or use `emo run --model emo-hf --steer`",
            )
        found.append(hook)
    return _united(found)


def write_steered(path: Path, hooks: Sequence[Hook], dose: float) -> Path:
    """Write hooks as lm-eval's `steered` model reads them (`steer_path=FILE.pt`).

    Raises:
        UserError: another suffix than lm-eval takes, or a folder that cannot be written.
    """
    doing = f"writing {path}"
    if path.suffix not in SUFFIXES:
        raise UserError(
            doing,
            found=f"a name that ends in {path.suffix or 'nothing'!r}",
            expected=" or ".join(SUFFIXES),
            fix="lm-eval tells formats apart by their suffix: --out steer.pt",
        )
    told = {
        hook.hookpoint: {
            "steering_vector": hook.vector,
            "steering_coefficient": float(dose),
            "action": "add",
            "bias": None,
            "head_index": None,
        }
        for hook in hooks
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_whole(path, partial(torch.save, told))
    except (OSError, RuntimeError) as error:
        raise UserError(
            doing,
            found=f"{getattr(error, 'strerror', None) or error}",
            expected="a folder that can be written",
            fix="choose another --out",
        ) from error


def _random_tokens(loaded: LoadedModel) -> torch.Tensor:
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(0, loaded.facts.vocabulary, (1, N_TOKENS)))
    return ids.to(loaded.model.get_input_embeddings().weight.device)


def _modules(model: Any) -> dict[str, torch.nn.Module]:
    """As lm-eval names them."""
    return {name: module for name, module in model.base_model.named_modules() if name}


def _heard(
    layout: Layout, model: Any, site: str, layers: Sequence[int], ids: torch.Tensor
) -> tuple[dict[int, torch.Tensor], dict[str, torch.Tensor]]:
    """The site's activations (n, width) by layer, and the output (n, any) of every module."""
    at_site: dict[int, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}

    def hear(heard_site: str, layer: int, activation: torch.Tensor) -> None:
        one = activation[0]
        at_site[layer] = (one.transpose(0, 1).flatten(1) if one.dim() == 3 else one).clone()

    def keep(name: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if not isinstance(first, torch.Tensor):
                return
            if first.shape[:2] == ids.shape:
                outputs[name] = first[0].flatten(1).clone()
            elif first.dim() == 2 and len(first) == ids.shape[1]:
                # Some layers flatten their tokens before the MLP.
                outputs[name] = first.clone()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in _modules(model).items()]
    try:
        with torch.no_grad(), layout.listening({site: layers}, hear):
            base_model(model)(ids)
    finally:
        for handle in handles:
            handle.remove()
    return at_site, outputs


def _expressing(
    activation: torch.Tensor, vector: torch.Tensor, outputs: Mapping[str, torch.Tensor]
) -> Iterator[Hook]:
    """Hooks on modules among whose numbers all of the site's are found."""
    for name, output in outputs.items():
        places = _places(activation, output)
        if places is None:
            continue
        wide = torch.zeros(output.shape[1])
        wide[places] = vector
        yield Hook(name, wide)


def _places(activation: torch.Tensor, output: torch.Tensor) -> torch.Tensor | None:
    """Which column of `output` each column of `activation` is; None if one is missing."""
    if output.shape[1] < activation.shape[1]:
        return None
    columns = {column: place for place, column in enumerate(_columns(output))}
    found = [columns.get(column, -1) for column in _columns(activation)]
    if min(found) < 0 or len(set(found)) < len(found):
        return None
    return torch.tensor(found)


def _columns(values: torch.Tensor) -> list[bytes]:
    return [column.tobytes() for column in values.float().cpu().numpy().T]


def _is_same(
    loaded: LoadedModel, steering: Steering, layer: int, hook: Hook, ids: torch.Tensor
) -> bool:
    """Whether a hook does to the model's logits what our steering of one layer does."""
    ours = Steering(steering.axis, 1.0, layers=(layer,))
    with torch.no_grad():
        with ours.everywhere(loaded.layout):
            expected = loaded.model(ids, use_cache=False).logits
        with _hooked(loaded.model, hook):
            found = loaded.model(ids, use_cache=False).logits
    scale = max(1.0, float(expected.abs().max()))
    return float((found - expected).abs().max()) <= TOLERANCE * scale


@contextmanager
def _hooked(model: Any, hook: Hook) -> Iterator[None]:
    def add(module: Any, args: Any, output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        moved = first + hook.vector.to(first.device, first.dtype)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = _modules(model)[hook.hookpoint].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def _united(hooks: Sequence[Hook]) -> list[Hook]:
    """One hook for each module: where two layers meet in one, their vectors add up."""
    by_name: dict[str, torch.Tensor] = {}
    for hook in hooks:
        known = by_name.get(hook.hookpoint)
        by_name[hook.hookpoint] = hook.vector if known is None else known + hook.vector
    return [Hook(name, vector) for name, vector in by_name.items()]
