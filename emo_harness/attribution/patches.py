"""Which parts of an image move the answer: gradient x input on its patches' embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.activations.loading import LoadedModel
from emo_harness.attribution.answer_model import AnswerModel
from emo_harness.attribution.gradient_check import check_gradient
from emo_harness.attribution.patch_grid import grid_of
from emo_harness.attribution.target import TargetBatch
from emo_harness.errors import UserError

Floats = NDArray[np.float64]
# What configurations call the token that stands for a patch.
IMAGE_TOKENS = ("image_token_id", "image_token_index")
# Embeddings of patches that some models add behind their first layers too.
DEEPER = "deepstack_visual_embeds"


@dataclass(frozen=True, eq=False)
class PatchContributions:
    """What the parts of an image do for the answer.

    Attributes:
        contributions: (rows, columns) nats, top to bottom and left to right; NaN where unknown.
        tokens: (n,) nats, of every token of the prompt, those of the image among them.
        log_probability: log p(answer | prompt with the image), in nats.
        why_unknown: why the contributions are NaN.
    """

    contributions: Floats
    tokens: Floats
    log_probability: float
    why_unknown: str | None = None


def patch_contributions(
    loaded: LoadedModel,
    processor: Any,
    image: Any,
    text: str,
    answer: str,
    *,
    grid: tuple[int, int] | None = None,
) -> PatchContributions:
    """Attribute an answer's log-probability to the parts of an image.

    Args:
        loaded: a model with images.
        processor: its own, from transformers.
        image: one image, as the processor takes it.
        text: the prompt with the mark for an image in its place, as a chat template makes it.
        answer: what follows the prompt.
        grid: rows and columns of the image's tokens; by default those that are known of the model.

    Raises:
        UserError: see `patch_contributions_of`; or an answer without tokens of its own.
    """
    asked = AnswerModel(loaded)
    before = processor(text=[text], images=[image], return_tensors="pt")["input_ids"]
    whole = processor(text=[text + answer], images=[image], return_tensors="pt")
    n_answer = whole["input_ids"].shape[1] - before.shape[1]
    if n_answer < 1:
        raise UserError(
            "attributing an answer to an image",
            found=f"no token of its own for {answer[:40]!r}",
            expected="at least one",
            fix="give an answer with words",
        )
    inputs = {
        name: value.to(asked.device) if isinstance(value, torch.Tensor) else value
        for name, value in whole.items()
    }
    return patch_contributions_of(loaded, inputs, n_answer, grid=grid)


def patch_contributions_of(
    loaded: LoadedModel,
    inputs: Mapping[str, Any],
    n_answer: int,
    *,
    grid: tuple[int, int] | None = None,
) -> PatchContributions:
    """Attribute an answer's log-probability f to the parts of an image, from ready inputs.

        s_p = sum over d of df/dz_pd z_pd

    z_p is the embedding of patch p where the image enters the language model: one input embedding,
    and in models that add some behind their first layers, these too. What the image's own encoder
    does with the pixels is not unrolled.

    Args:
        loaded: a model with images.
        inputs: of its forward pass, on its device: `input_ids` (1, n) of prompt and answer,
            `pixel_values`, and what else its processor makes.
        n_answer: how many of the last tokens are the answer's.
        grid: rows and columns of the image's tokens; by default those that are known of the model.

    Raises:
        UserError: no image reaches the language model as embeddings of tokens, its tokens cannot
            be laid out over it, or a part of the model has no derivative.
    """
    asked = AnswerModel(loaded)
    check_gradient(asked)
    ids = inputs["input_ids"]
    n_prompt = ids.shape[1] - n_answer
    batch = TargetBatch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        places=torch.arange(n_prompt - 1, ids.shape[1] - 1, device=ids.device)[None],
        answer_ids=ids[:, n_prompt:],
        is_answer=torch.ones(1, n_answer, dtype=torch.bool, device=ids.device),
    )
    with asked.frozen():
        seen = _Entrance(asked)
        value = seen.given_inputs(inputs, batch)
        is_patch = seen.patches(ids)
        shape = grid or grid_of(asked.model.config, inputs, is_patch.cpu().numpy())
        if shape[0] * shape[1] != int(is_patch.sum()):
            raise UserError(
                "laying an image's tokens out over it",
                found=f"a grid of {shape[0]} x {shape[1]} for {int(is_patch.sum())} tokens",
                expected="as many places as tokens",
                fix="name the grid of the image's tokens, or leave it out",
            )
        with asked.telling():
            slopes = torch.autograd.grad(value.sum(), seen.leaves)
    parts = [
        (leaf.detach().to(asked.wide) * slope.to(asked.wide)).sum(-1)
        for leaf, slope in zip(seen.leaves, slopes, strict=True)
    ]
    tokens = parts[0][0]
    for deeper in parts[1:]:
        tokens[is_patch] += deeper
    contributions = tokens[is_patch].reshape(shape).cpu().numpy().astype(np.float64)
    why = None
    if not np.isfinite(contributions).all():
        contributions = np.full_like(contributions, np.nan)
        why = "gradients that are not finite; load the model in float32"
    of_prompt = tokens[:n_prompt].cpu().numpy().astype(np.float64)
    return PatchContributions(contributions, of_prompt, float(value.detach()), why)


class _Entrance:
    """What a model's language half is given, as leaves of the gradient."""

    def __init__(self, asked: AnswerModel) -> None:
        self.asked = asked
        self.leaves: list[torch.Tensor] = []
        self._words: list[torch.Tensor] = []

    def given_inputs(self, inputs: Mapping[str, Any], batch: TargetBatch) -> torch.Tensor:
        """(1,) the answer's log-probability, in nats."""
        base = self.asked.loaded.layout.base
        handles = [
            self.asked.embedding.register_forward_hook(self._read),
            base.register_forward_pre_hook(self._replace, with_kwargs=True),
        ]
        try:
            return self.asked.given_inputs(inputs, batch)
        finally:
            for handle in handles:
                handle.remove()

    def patches(self, ids: torch.Tensor) -> torch.Tensor:
        """(n,) bool, which tokens are the image's."""
        words = [one for one in self._words if one.shape == self.leaves[0].shape]
        differs = (self.leaves[0].detach() != words[0]).any(-1)[0] if len(words) == 1 else None
        config = self.asked.model.config
        names = (getattr(config, name, None) for name in IMAGE_TOKENS)
        token = next((name for name in names if isinstance(name, int)), None)
        found = ids[0] == token if token is not None else differs
        if found is None or not bool(found.any()):
            raise self._refusal("no tokens that stand for an image")
        if differs is not None and not bool(differs[found].all()):
            raise self._refusal("tokens of an image that keep the embedding of a word")
        return found

    def _read(self, _module: Any, _args: Any, output: torch.Tensor) -> None:
        # A copy: the image's embeddings may be put into this one.
        self._words.append(output.detach().clone())

    def _replace(
        self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = kwargs.get("inputs_embeds")
        if given is None or self.leaves:
            raise self._refusal("a language half that is not given embeddings, once")
        deeper = list(kwargs.get(DEEPER) or ())
        self.leaves = [one.detach().requires_grad_() for one in (given, *deeper)]
        # Copies, for a leaf must not be changed in place.
        copies = [leaf.clone() for leaf in self.leaves]
        replaced = {"inputs_embeds": copies[0]} | ({DEEPER: copies[1:]} if deeper else {})
        return args, {**kwargs, **replaced}

    def _refusal(self, found: str) -> UserError:
        return self.asked.refusal(found, "a model whose image enters as embeddings of tokens")
