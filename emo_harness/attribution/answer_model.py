"""A language model as a function of its input embeddings: log p(answer | prompt)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from emo_harness.activations.loading import LoadedModel
from emo_harness.attribution.target import TargetBatch
from emo_harness.errors import UserError
from emo_harness.prefix.support import base_model

# What backpropagation raises where an operation has no derivative.
NOT_DIFFERENTIABLE = (RuntimeError, NotImplementedError)


class AnswerModel:
    """The log-probability of answers as a differentiable function of input embeddings.

    An input embedding is what the model's embedding module gives for a token: scaled where the
    module scales it, before positions are added and before a norm that follows. It is replaced by
    a hook on that module, so that models which read token ids elsewhere too still get them.

    Args:
        loaded: the model; it is left as it was.

    Raises:
        UserError: it has no language-model head.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.model: Any = base_model(loaded.model)
        self.embedding: Any = loaded.layout.base.get_input_embeddings()
        self.head: Any = self.model.get_output_embeddings()
        if self.head is None:
            raise self.refusal(
                "no language-model head", "a model that gives the probabilities of tokens"
            )
        self.device: torch.device = self.embedding.weight.device
        # Sums over embeddings and steps; Apple's GPUs have no wider type.
        self.wide = torch.float32 if self.device.type == "mps" else torch.float64
        self._arguments = frozenset(inspect.signature(self.model.forward).parameters)

    def embeddings(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(..., width) of token ids, without a gradient, in the model's dtype."""
        with torch.no_grad():
            found: torch.Tensor = self.embedding(input_ids.to(self.device))
        return found.detach()

    def log_probabilities(self, embeddings: torch.Tensor, *batch: torch.Tensor) -> torch.Tensor:
        """(b,) log-probabilities of answers, in nats.

        Args:
            embeddings: (b, n, width), of any dtype; a gradient flows back to them.
            batch: the tensors of a `TargetBatch`.

        Raises:
            UserError: the model does not read its input embeddings from their module.
        """
        asked = TargetBatch(*batch)
        given = {"attention_mask": asked.attention_mask, "use_cache": False}
        given = {k: v for k, v in given.items() if k in self._arguments}
        n_replaced = 0

        def replace(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
            nonlocal n_replaced
            if output.shape != embeddings.shape:
                raise self.refusal(
                    f"embeddings of shape {tuple(output.shape)}, not {tuple(embeddings.shape)}",
                    "one embedding for each token",
                )
            n_replaced += 1
            # A copy: some models scale what they are given in place.
            return embeddings.to(output.dtype, copy=True)

        handle = self.embedding.register_forward_hook(replace)
        try:
            found = self.given_inputs({"input_ids": asked.input_ids, **given}, asked)
        finally:
            handle.remove()
        if n_replaced != 1:
            raise self.refusal(
                f"input embeddings that were read {n_replaced} times in a forward pass",
                "a model that reads them once, from its embedding module",
            )
        return found

    def given_inputs(self, inputs: Mapping[str, Any], asked: TargetBatch) -> torch.Tensor:
        """(b,) log-probabilities of answers, in nats, of a model that is given these inputs.

        Args:
            inputs: `input_ids` (b, n), and what else the model takes.
            asked: which positions predict which tokens.

        Raises:
            UserError: the model gives no logits for each token.
        """
        logits = self._answer_logits(inputs, asked.places)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        own = logits.log_softmax(-1).gather(-1, asked.answer_ids.to(logits.device)[..., None])
        is_answer = asked.is_answer.to(logits.device)
        return torch.where(is_answer, own[..., 0], 0).to(self.wide).sum(-1)

    def gradient(
        self, embeddings: torch.Tensor, batch: TargetBatch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and their gradients.

        Returns:
            (b,) nats, and (b, n, width) nats per unit of embedding, both in the wide dtype.

        Raises:
            UserError: part of the model has no derivative.
        """
        given = embeddings.detach().requires_grad_()
        found = self.log_probabilities(given, *batch)
        with self.telling():
            slopes = torch.autograd.grad(found.sum(), given)[0]
        return found.detach(), slopes.to(self.wide)

    def value(self, embeddings: torch.Tensor, batch: TargetBatch) -> torch.Tensor:
        """(b,) log-probabilities without a gradient, in nats."""
        with torch.no_grad():
            return self.log_probabilities(embeddings, *batch)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Gradients of inputs alone: no weight asks for one, nothing is dropped out.

        On leaving, weights and modules are as they were.
        """
        asking = [weight for weight in self.model.parameters() if weight.requires_grad]
        training = [module for module in self.model.modules() if module.training]
        try:
            for weight in asking:
                weight.requires_grad_(False)
            self.model.eval()
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            for weight in asking:
                weight.requires_grad_(True)
            for module in training:
                module.training = True

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell of operations without a derivative as the user's to mend."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except NOT_DIFFERENTIABLE as error:
            raise self.refusal(
                f"an operation without a derivative ({str(error).splitlines()[0][:200]})",
                "a model that is differentiable from its input embeddings to its logits",
            ) from error

    def refusal(self, found: str, expected: str) -> UserError:
        """What this model cannot be asked."""
        return UserError(
            f"attributing answers of {type(self.model).__name__}",
            found=found,
            expected=expected,
            fix="load the model with plain weights (--dtype float32, not quantised), or use the "
            "method leave-one-out, which needs no gradient",
        )

    def _answer_logits(self, inputs: Mapping[str, Any], places: torch.Tensor) -> torch.Tensor:
        """(b, m, vocabulary) at the places that predict the answer, and no others."""
        shape = inputs["input_ids"].shape
        is_gathered = False

        def keep(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            nonlocal is_gathered
            states = args[0] if args else None
            if not isinstance(states, torch.Tensor) or states.shape[:2] != shape:
                return None
            is_gathered = True
            return (_at(states, places), *args[1:])

        handle = self.head.register_forward_pre_hook(keep)
        try:
            logits: torch.Tensor = self.model(**inputs).logits
        finally:
            handle.remove()
        if is_gathered:
            return logits
        if logits.shape[:2] != shape:
            raise self.refusal(
                f"logits of shape {tuple(logits.shape)} for tokens of shape {tuple(shape)}",
                "logits for each token",
            )
        return _at(logits, places)


def _at(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(b, m, width) of (b, n, width) at places (b, m)."""
    rows = torch.arange(len(states), device=states.device)[:, None]
    return states[rows, places.to(states.device)]
