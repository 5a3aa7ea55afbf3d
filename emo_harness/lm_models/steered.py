"""lm-eval's Hugging Face model with its passes steered."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm

from emo_harness.errors import UserError
from emo_harness.model_identity import identities
from emo_harness.prefix import PackedModel, base_model
from emo_harness.steer import Steering, read_spec, require_same_model

log = logging.getLogger(__name__)

Encoded = tuple[tuple[str, str], list[int], list[int]]


class SteeredHFLM(HFLM):
    """`HFLM`; where a steering is given, every pass adds its dose.

    The last token of a prompt, and what is generated after it, lie elsewhere in every request, so
    with these positions requests are scored one at a time.

    Args:
        steer: FILE:AXIS:DOSE[:layers=6-11][:positions=all][:site=value]; None for no steering.

    Raises:
        UserError: no such axis, an axis of another model, or a model that is no causal one.
    """

    def __init__(self, pretrained: Any, *, steer: str | None = None, **kwargs: Any) -> None:
        # Read first: a mistake here should not wait for a model to be loaded.
        self.steering = None if steer is None else read_spec(steer).load()
        super().__init__(pretrained=pretrained, **kwargs)
        self._prompt_tokens: list[int] | None = None
        if self.steering is not None:
            self._layout = self._fitting_layout(self.steering, pretrained, kwargs)
            log.warning("steered: %s", "; ".join([str(self.steering), *self.steering.remarks]))

    @property
    def steers_all_alike(self) -> bool:
        """Whether what is computed for a token does not depend on where its prompt ends."""
        return self.steering is None or self.steering.positions == "all"

    def steered_everywhere(self) -> AbstractContextManager[None]:
        """In which all tokens of a pass are steered; nothing where there is no steering."""
        return nullcontext() if self.steering is None else self.steering.everywhere(self._layout)

    def steered_call(self, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        """The model's own call, all tokens steered."""
        with self.steered_everywhere():
            return self.model(input_ids, **kwargs)

    def _model_call(
        self,
        inps: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        with self._scoring(inps):
            return super()._model_call(inps, attn_mask, labels)

    def _model_generate(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.steering is None:
            return super()._model_generate(*args, **kwargs)
        with self.steering.generating(self._layout):
            return super()._model_generate(*args, **kwargs)

    def _loglikelihood_tokens(
        self,
        requests: list[Encoded],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        if self.steers_all_alike:
            return self._numbers(super()._loglikelihood_tokens(requests, disable_tqdm, override_bs))
        answers: list[tuple[float, bool]] = []
        told = "steered requests, one by one"
        for request in tqdm(requests, desc=told, disable=disable_tqdm or self.rank != 0):
            _, context, continuation = request
            n_computed = min(len(context) + len(continuation) - 1, self.max_length)
            self._prompt_tokens = [n_computed - len(continuation) + 1]
            try:
                answers += super()._loglikelihood_tokens([request], True, 1)
            finally:
                self._prompt_tokens = None
        return self._numbers(answers)

    def _numbers(self, answers: list[tuple[float, bool]]) -> list[tuple[float, bool]]:
        """Refuse NaN, which lm-eval would take for an answer, where we may have caused it."""
        if self.steering is not None and any(math.isnan(total) for total, _ in answers):
            raise UserError(
                f"running the model steered ({self.steering})",
                found=f"NaN among its logits, in {self.model.dtype}",
                expected="numbers",
                fix="choose a smaller dose, or load the model in bfloat16 or float32",
            )
        return answers

    def _scoring(self, inps: torch.Tensor) -> AbstractContextManager[None]:
        if self.steering is None or self.steering.positions == "all":
            return self.steered_everywhere()
        # A batch that is computed to see whether it fits has no request.
        ends: Sequence[int] = self._prompt_tokens or [inps.shape[1]] * len(inps)
        return self.steering.scoring(self._layout, ends)

    def _fitting_layout(self, steering: Steering, pretrained: Any, kwargs: dict[str, Any]) -> Any:
        from emo_harness.activations.sites import layout_of

        if self.backend != "causal":
            raise UserError(
                f"steering {pretrained}",
                found="an encoder-decoder model",
                expected="a causal language model",
                fix="leave --steer out, or name another model",
            )
        name = pretrained if isinstance(pretrained, str) else type(self.model).__name__
        named = {"pretrained": pretrained, "revision": kwargs.get("revision") or "main"}
        identity = identities(named).get("pretrained") if isinstance(pretrained, str) else None
        if kwargs.get("peft") or kwargs.get("delta"):
            log.warning("steering an adapted model with an axis that may be its base model's")
        layout = layout_of(base_model(self.model))
        require_same_model(steering.axis, layout, identity=identity, name=name)
        layout.check({steering.used.site: steering.used.layers})
        return layout


class SteeredPackedModel(PackedModel):
    """A packed model whose passes run inside a steering.

    Args:
        lm: whose model it is.
    """

    def __init__(self, lm: SteeredHFLM) -> None:
        super().__init__(base_model(lm.model), lm.device, lm.mixed_precision_dtype)
        self._lm = lm

    def logits(self, *args: Any) -> torch.Tensor:
        with self._lm.steered_everywhere():
            return super().logits(*args)

    def states(self, *args: Any) -> torch.Tensor:
        with self._lm.steered_everywhere():
            return super().states(*args)
