"""lm-eval's multimodal model, asked with and without images in one run: each request by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from lm_eval.api.model import CacheHook
from lm_eval.models.hf_vlms import HFMultimodalLM
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm

from emo_harness.errors import UserError
from emo_harness.lm_models.encoded import EncodedPrompt
from emo_harness.lm_models.one_by_one import Scored, score_by_itself
from emo_harness.lm_models.refusals import require_apart
from emo_harness.lm_models.visual_prompt_encoder import VisualPromptEncoder
from emo_harness.lm_models.visual_request import as_text, images_of
from emo_harness.prefix import Tokens

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

# An id that no token has, for images where nothing is packed.
_NOBODYS = 2**30

Answer = TypeVar("Answer")


class MixedMultimodalLM(HFMultimodalLM):
    """`hf-multimodal`, which looks at the first request alone to tell whether there are images.

    Here requests come in any order; those without images are answered as `hf` does. With images,
    options are scored too, text alone is cut where a prompt is too long, and answers are kept under
    all that was asked, the images among it.
    """

    _visual: VisualPromptEncoder
    cache_hook: CacheHook

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Scored]:
        def scored(some: list[Any]) -> list[Scored]:
            answers = []
            with self._bar(len(some), disable_tqdm) as bar:
                for request in some:
                    context, option = request.args[:2]
                    shown = self._shown(request)
                    answers.append(score_by_itself(self, self._visual, context, option, shown))
                    self.cache_hook.add_partial("loglikelihood", request.args, answers[-1])
                    bar.update()
            return answers

        upstream = super().loglikelihood
        return self._split(requests, lambda texts: upstream(texts, disable_tqdm), scored)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        upstream = super().generate_until

        def continued(some: list[Any]) -> list[str]:
            answers = [""] * len(some)
            size = int(self.batch_size)
            alike = [(repr(one.args[1]), one.args[0]) for one in some]
            order = sorted(range(len(some)), key=alike.__getitem__)
            with self._bar(len(some), disable_tqdm) as bar:
                for first in range(0, len(order), size):
                    batch = order[first : first + size]
                    with self._keeping_nothing():
                        found = upstream([some[index] for index in batch], True)
                    for index, text in zip(batch, found, strict=True):
                        answer = answers[index] = self._without_thoughts(text)
                        self.cache_hook.add_partial("generate_until", some[index].args, answer)
                    bar.update(len(batch))
            return answers

        return self._split(requests, lambda texts: upstream(texts, disable_tqdm), continued)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """`hf`'s, of text.

        Raises:
            UserError: a request with images, whose probability is nothing that a model tells.
        """
        if any(map(images_of, requests)):
            raise UserError(
                "scoring whole texts (loglikelihood_rolling)",
                found="images",
                expected="texts alone",
                fix="ask a task that generates or that scores options",
            )
        texts = [as_text(request) for request in requests]
        return HFLM.loglikelihood_rolling(self, texts, disable_tqdm=disable_tqdm)

    def autocast(self) -> torch.autocast:
        """The precision that the user asked for (`mixed_precision_dtype`)."""
        dtype = self.mixed_precision_dtype
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def tok_batch_multimodal_encode(
        self,
        strings: list[str],
        images: list[list[Any]],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> Any:
        """Upstream's, which cuts images; here text alone is cut.

        Raises:
            UserError: images that do not fit.
        """
        made = super().tok_batch_multimodal_encode(strings, images, padding_side)
        n_tokens = made["input_ids"].shape[1]
        if left_truncate_len is None or n_tokens <= left_truncate_len:
            return made
        kept = [
            self._prompt_of(row, seen).kept_within(left_truncate_len)
            for row, seen in zip(made["input_ids"], made["attention_mask"], strict=True)
        ]
        places = torch.from_numpy(np.stack(kept)).to(made["input_ids"].device)
        for name, value in made.items():
            if getattr(value, "shape", None) == (len(kept), n_tokens):
                made[name] = value.gather(1, places)
        return made

    def _model_multimodal_generate(
        self, inputs: Any, max_length: int, stop: list[str], **settings: Any
    ) -> Any:
        """Upstream's, without what was thought where a token ends that (`think_end_token`).

        Raises:
            UserError: images that this model could not tell apart.
        """
        require_apart(inputs, self.image_token_id)
        made = super()._model_multimodal_generate(inputs, max_length, stop, **settings)
        end = self.think_end_token
        if isinstance(end, int):
            own = made[:, inputs["input_ids"].shape[1] :]
            # Whatever has an end at or after it; padding is not decoded.
            thought = (own == end).flip(1).cumsum(1).flip(1) > 0
            own[thought] = self.tokenizer.pad_token_id
        return made

    def _without_thoughts(self, answer: str) -> str:
        """As `hf` does; upstream's multimodal model leaves what was thought in its answers."""
        end = self.think_end_token
        if end in (None, ""):
            return answer
        return (answer.split(end)[-1] if isinstance(end, str) else answer).lstrip()

    def _prompt_of(self, row: torch.Tensor, seen: torch.Tensor) -> EncodedPrompt:
        ids, is_text = row.cpu().numpy().astype(np.int32), seen.cpu().numpy().astype(bool)
        stays = self._visual.what_stays(ids, ids == self.image_token_id)
        return EncodedPrompt(ids, stays & is_text)

    def _shown(self, request: Any) -> list[PILImage]:
        """The images of a request that the model gets to see: the first `max_images`."""
        return images_of(request)[: self.max_images]

    def _without(self, request: Any) -> Any:
        """A request that shows no image as one of text."""
        has_had = bool(images_of(request))
        return as_text(request, self._visual.marked(request.args[0]) if has_had else None)

    def _split(
        self,
        requests: Sequence[Any],
        of_texts: Callable[[list[Any]], Sequence[Answer]],
        of_visual: Callable[[list[Any]], Sequence[Answer]],
    ) -> list[Answer]:
        """What is made of requests without and with images, in the requests' order."""
        visual = [index for index, request in enumerate(requests) if self._shown(request)]
        texts = sorted(set(range(len(requests))) - set(visual))
        found: dict[int, Answer] = {}
        if texts:
            made = of_texts([self._without(requests[index]) for index in texts])
            found.update(zip(texts, made, strict=True))
        if visual:
            made = of_visual([requests[index] for index in visual])
            found.update(zip(visual, made, strict=True))
        return [found[index] for index in range(len(requests))]

    def _bar(self, n_requests: int, disable: bool) -> Any:
        told = "requests with images, one by one"
        return tqdm(total=n_requests, desc=told, disable=disable or self.rank != 0)

    @contextmanager
    def _keeping_nothing(self) -> Iterator[None]:
        """In which no answer is kept: upstream would keep it for a text without images."""
        hook = self.cache_hook
        self.cache_hook = CacheHook(None)
        try:
            yield
        finally:
            self.cache_hook = hook


def give_nobodys(key: str, n_tokens: int, pixels: Any, *, grid: Any = None) -> Tokens:
    """A `Register` for images that are nowhere looked up."""
    return np.full(n_tokens, _NOBODYS, np.int32)
