"""`--model emo-vlm`: lm-eval's multimodal model, asked with and without images in one run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from emo_harness.lm_models.decoding_rule import as_with_images, require_one_rule
from emo_harness.lm_models.encoded import EncodedPair, EncodedPrompt
from emo_harness.lm_models.mixed_multimodal import MixedMultimodalLM, give_nobodys
from emo_harness.lm_models.one_by_one import Scored
from emo_harness.lm_models.packed_engine import PackedEngine
from emo_harness.lm_models.prefix_sharing import PrefixSharing
from emo_harness.lm_models.prompt_encoder import PromptEncoder
from emo_harness.lm_models.refusals import (
    TRIAL_ERRORS,
    image_token_of,
    loading,
    require_dtype,
    require_end_token,
    untried,
)
from emo_harness.lm_models.sharing_record import SharingRecord
from emo_harness.lm_models.visual_check import VisualCheck
from emo_harness.lm_models.visual_prompt_encoder import VisualPromptEncoder
from emo_harness.prefix import (
    Tokens,
    VisualPackedModel,
    attention_window,
    base_model,
    parse_bytes,
    why_different,
    why_images_unsupported,
)
from emo_harness.resources import embedded_model

log = logging.getLogger(__name__)

# What an image adds to a prompt's size where prompts are cut into portions, in characters.
IMAGE_CHARACTERS = 4096


class VisionLanguageLM(PrefixSharing, MixedMultimodalLM):
    """`hf-multimodal`; prompts, images among them, are computed as one trie of tokens.

    Takes the same arguments, and requests with and without images in any order: those without get
    the answers of `hf` on the same model, those with images the answers of `hf-multimodal` at batch
    size 1, which refuses log-likelihoods there. Each distinct image is encoded once. What cannot be
    shared is answered one by one, and the log says so, once for each reason.

    Args:
        pretrained: a model, as `hf-multimodal` takes it, or the name of an embedded one.
        memory_budget: see `SharedPrefixLM`.
        share: False computes every request by itself, for measuring what sharing saves.

    Raises:
        UserError: arguments or a model that cannot be read, or a tokenizer without an end token.
    """

    NAME = "emo-vlm"
    HOST = "hf-multimodal"

    def __init__(
        self,
        pretrained: Any,
        *,
        memory_budget: str | int | None = None,
        share: bool = True,
        **kwargs: Any,
    ) -> None:
        self._budget_bytes = None if memory_budget is None else parse_bytes(memory_budget)
        require_dtype(kwargs.get("dtype"))
        if isinstance(pretrained, str):
            pretrained = embedded_model(pretrained)
        if not str(kwargs.get("batch_size", 1)).isdigit():
            # Packed passes do not go by it, and `hf-multimodal` takes numbers alone.
            kwargs["batch_size"] = 1
        with loading(pretrained, host=self.HOST):
            super().__init__(pretrained=pretrained, **kwargs)
        require_end_token(self.tokenizer)
        if not hasattr(self, "image_token_id"):
            # lm-eval leaves it out where `image_string` is given.
            self.image_token_id = image_token_of(self.config)
        self.sharing = SharingRecord()
        self._encoder = PromptEncoder(self.tokenizer, self.add_bos_token, self.prefix_token_id)
        self._packed: VisualPackedModel | None = None
        self._n_made_up = 0
        self._reason = self._why_not_packed() if share else "share=False"
        if self._reason:
            self._fall_back(self._reason)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Scored]:
        with self._shown_meanwhile(requests):
            return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Continue prompts.

        Raises:
            UserError: settings by which prompts with images are decoded otherwise than those
                without, and both in one run.
        """
        asked = ((one.args[1], bool(self._shown(one))) for one in requests)
        require_one_rule(asked, self._generation_config)
        with self._shown_meanwhile(requests):
            return super().generate_until(requests, disable_tqdm=disable_tqdm)

    def _as_recorded(self) -> dict[str, Any]:
        n_encoded = None if self._packed is None else self._packed.encoded.total()
        return {
            **super()._as_recorded(),
            # Without those that the model was tried with as it was loaded.
            "images": len(self._visual.images) - self._n_made_up,
            "images_encoded": None if n_encoded is None else n_encoded - self._n_made_up,
            "asks_processor": self._visual.asks_processor,
        }

    @property
    def _generation_config(self) -> Any:
        return base_model(self.model).generation_config

    @property
    def _counts_in_three_dimensions(self) -> bool:
        return hasattr(getattr(base_model(self.model), "model", None), "get_rope_index")

    # Whether it can be packed

    def _why_not_packed(self) -> str | None:
        """Why requests are answered one by one; None once packed logits were seen to be right."""
        reason = why_images_unsupported(self.model)
        if reason:
            return reason
        try:
            return self._why_not_packed_right()
        except TRIAL_ERRORS as error:
            return untried(error)

    def _why_not_packed_right(self) -> str | None:
        """Set up what packs the model, and try it against the model itself."""
        packed = VisualPackedModel(base_model(self.model), self.device, self.mixed_precision_dtype)
        self._packed = packed
        self._engine = PackedEngine(packed, self._budget_bytes, self.softmax_dtype, self.sharing)
        self._attention_window = attention_window(self.model)
        longest = min(self.max_length, self._attention_window or self.max_length)
        self._visual = VisualPromptEncoder(self, packed.register)
        self._check = VisualCheck(self._visual, packed, longest)
        reason = why_different(packed, longest, plain=self.model)
        reason = reason or self._check.why_not_made_up(self.max_images)
        self._n_made_up = len(self._visual.images)
        self._visual.images.forget_objects()
        return reason

    @contextmanager
    def _shown_meanwhile(self, requests: Sequence[Any]) -> Iterator[None]:
        """In which requests are answered, after which nothing of ours holds their images."""
        try:
            self._look_at(requests)
            yield
        finally:
            self._visual.images.forget_objects()

    def _look_at(self, requests: Sequence[Any]) -> None:
        """Try the first prompts of each kind, and answer one by one where they come out wrong."""
        for request in requests:
            images = self._shown(request)
            if images:
                reason = self._check.why_not(request.args[0], images)
                if reason and not self._reason:
                    self._fall_back(reason)

    def _fall_back(self, reason: str) -> None:
        self._reason = reason
        self._packed = None
        self._n_made_up = 0
        self._visual = VisualPromptEncoder(self, give_nobodys)
        self._check = VisualCheck(self._visual, None, self.max_length)
        log.warning("emo-vlm shares nothing here and answers one by one: %s", reason)

    # Requests

    def _text_of(self, request: Any) -> str:
        images = self._shown(request)
        if not images:
            return super()._text_of(self._without(request))
        text, other = request.args[:2]
        marked = self._visual.with_keys(text, images)
        return marked + other if isinstance(other, str) else marked

    def _settings_of(self, request: Any) -> Mapping[str, Any]:
        settings = super()._settings_of(request)
        if not self._shown(request):
            return settings
        return as_with_images(settings, self._generation_config)

    def _characters_of(self, request: Any, text: str) -> int:
        return len(text) + IMAGE_CHARACTERS * len(self._shown(request))

    def _encode_prompts(self, requests: Sequence[Any]) -> list[EncodedPrompt]:
        return self._split(
            requests,
            lambda texts: super(VisionLanguageLM, self)._encode_prompts(texts),
            lambda some: self._visual.prompts([(one.args[0], self._shown(one)) for one in some]),
        )

    def _encode_pairs(self, requests: Sequence[Any]) -> list[EncodedPair]:
        return self._split(
            requests,
            lambda texts: super(VisionLanguageLM, self)._encode_pairs(texts),
            lambda some: self._visual.pairs([(*one.args[:2], self._shown(one)) for one in some]),
        )

    def _why_by_host(self, tokens: Tokens, max_tokens: int = 0) -> str | None:
        reason = super()._why_by_host(tokens, max_tokens)
        if reason or not max_tokens or not self._counts_in_three_dimensions:
            return reason
        if self._visual.is_image(tokens[-1:])[0]:
            # transformers takes the answer for more of the image, and gives it its positions.
            return "prompts that end with an image, after which nothing is shared"
        return None

    def _as_read(self, tokens: Tokens) -> list[int]:
        return self._visual.as_read(tokens)
