"""`--model emo-hf`: lm-eval's Hugging Face model, computing what prompts share once."""

from __future__ import annotations

import logging
from typing import Any

from emo_harness.lm_models.packed_engine import PackedEngine
from emo_harness.lm_models.prefix_sharing import PrefixSharing
from emo_harness.lm_models.prompt_encoder import PromptEncoder
from emo_harness.lm_models.refusals import (
    TRIAL_ERRORS,
    loading,
    require_dtype,
    require_end_token,
    untried,
)
from emo_harness.lm_models.sharing_record import SharingRecord
from emo_harness.lm_models.steered import SteeredHFLM, SteeredPackedModel
from emo_harness.prefix import attention_window, parse_bytes, why_different, why_unsupported
from emo_harness.resources import embedded_model

log = logging.getLogger(__name__)


class SharedPrefixLM(PrefixSharing, SteeredHFLM):
    """lm-eval's Hugging Face model; prompts are computed as one trie of tokens.

    Takes the same arguments. What cannot be shared is answered by `HFLM` itself, and the log says
    so, once for each reason.

    Args:
        pretrained: a model, as `HFLM` takes it, or the name of an embedded one ("emo-feelings").
        memory_budget: memory beside the weights, e.g. "2GiB" or bytes; None for what is worth its
            while, where so much is free.
        steer: see `SteeredHFLM`.

    Raises:
        UserError: a budget or a steering that cannot be read, an axis of another model, or a
            tokenizer without an end token.
    """

    NAME = "emo-hf"
    HOST = "hf"

    def __init__(
        self, pretrained: Any, *, memory_budget: str | int | None = None, **kwargs: Any
    ) -> None:
        self._budget_bytes = None if memory_budget is None else parse_bytes(memory_budget)
        require_dtype(kwargs.get("dtype"))
        if isinstance(pretrained, str):
            pretrained = embedded_model(pretrained)
        with loading(pretrained):
            super().__init__(pretrained=pretrained, **kwargs)
        if self.backend == "causal":
            require_end_token(self.tokenizer)
        self.sharing = SharingRecord()
        self._reason = self._why_not_packed()
        if self._reason:
            log.warning("emo-hf shares nothing here and answers as `hf` does: %s", self._reason)

    def _as_recorded(self) -> dict[str, Any]:
        steering = {"steering": self.steering.as_json()} if self.steering else {}
        return {**super()._as_recorded(), **steering}

    def _why_not_packed(self) -> str | None:
        """Why requests go to `HFLM`; None once packed logits were seen to be right."""
        if self.backend != "causal":
            return "an encoder-decoder model"
        if self.steering is not None and not self.steers_all_alike:
            return f"what is steered ({self.steering.positions}) differs by request"
        reason = why_unsupported(self.model)
        if reason:
            return reason
        try:
            return self._why_not_packed_right()
        except TRIAL_ERRORS as error:
            return untried(error)

    def _why_not_packed_right(self) -> str | None:
        """Set up what packs the model, and try it against the model itself."""
        packed = SteeredPackedModel(self)
        self._engine = PackedEngine(packed, self._budget_bytes, self.softmax_dtype, self.sharing)
        self._attention_window = attention_window(self.model)
        self._encoder = PromptEncoder(self.tokenizer, self.add_bos_token, self.prefix_token_id)
        longest = min(self.max_length, self._attention_window or self.max_length)
        return why_different(packed, longest, plain=self.steered_call)
