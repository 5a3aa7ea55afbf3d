"""Prompts with images to the token ids that a processor would make, each image looked at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from lm_eval.models.hf_vlms import DEFAULT_IMAGE_PLACEHOLDER
from lm_eval.models.utils import replace_placeholders
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.lm_models.encoded import EncodedPair, EncodedPrompt
from emo_harness.lm_models.prompt_encoder import AT_A_TIME, as_tokens, on_all_cores, texts_of_pair
from emo_harness.lm_models.single_images import (
    ImageRule,
    Register,
    SingleImages,
    UnknownExpansionError,
)
from emo_harness.prefix import Tokens

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

# Words between the tiles of an image, which stay with it.
_LONGEST_GAP = 4
_NO_ID = np.iinfo(np.int32).max

Images = Sequence["PILImage"]


class VisualPromptEncoder:
    """`hf-multimodal`'s rules for text and images, without its processor for every request.

    A processor tokenises the text with every placeholder replaced by an image's tokens. Here text
    and images are brought together after they were tokenised apart, which `agrees_on` compares with
    the processor; where it differs, `asks_processor` is to be set.

    Attributes:
        asks_processor: whether the processor is run for every prompt.
        images: the distinct ones so far.

    Args:
        lm: a loaded `hf-multimodal`, whose processor, arguments and chat are followed.
        register: gives an image's tokens ids of their own.
    """

    def __init__(self, lm: Any, register: Register) -> None:
        self._lm = lm
        self._tokenizer = lm.tokenizer
        self._placeholder: str = getattr(lm.processor, "image_token", None) or lm.image_token
        self._marker = self._tokenizer.convert_tokens_to_ids(self._placeholder)
        self._image_token_id = int(lm.image_token_id)
        marks = {*self._tokenizer.all_special_ids, *self._tokenizer.added_tokens_decoder}
        self._marks = np.array(sorted(marks), np.int32)
        self._first_own = _NO_ID
        self.asks_processor = False
        self.images = SingleImages(
            lm.processor,
            self._placeholder,
            self._image_token_id,
            is_flat=getattr(lm.config, "model_type", "") == "llava",
            prepared=ImageRule(lm.image_width, lm.image_height, lm.image_max_side, bool(lm.rgb)),
            register=self._registered(register),
        )

    def prompts(self, asked: Sequence[tuple[str, Images]]) -> list[EncodedPrompt]:
        """Texts with `<image>` for every image, or a chat template's mark.

        Raises:
            UserError: more or fewer images than places for them.
            UnknownExpansionError: what stands for an image depends on what it stands beside.
        """
        if self.asks_processor:
            return [self._by_processor(text, images) for text, images in asked]
        texts = [self.marked(text) for text, _ in asked]
        known = self._tokenised(texts)
        return [
            self._together(known[text], images)
            for text, (_, images) in zip(texts, asked, strict=True)
        ]

    def pairs(self, asked: Sequence[tuple[str, str, Images]]) -> list[EncodedPair]:
        """Contexts and options, as `TemplateLM._encode_pair` would part them; see `prompts`."""
        whole: list[tuple[str, Images]] = []
        for context, option, images in asked:
            before, after = texts_of_pair(context, option)
            whole += [(before, images), (after, images)]
        encoded = self.prompts(whole)
        return [
            EncodedPair(context, both.tokens[len(context) :])
            for context, both in zip(encoded[::2], encoded[1::2], strict=True)
        ]

    def marked(self, text: str) -> str:
        """With the processor's placeholder, as `tok_batch_multimodal_encode` writes it."""
        if self._lm.chat_applied:
            return text
        marked: str = replace_placeholders(
            text, DEFAULT_IMAGE_PLACEHOLDER, self._lm.image_token, self._lm.max_images
        )
        return marked

    def with_keys(self, text: str, images: Images) -> str:
        """A text with a zero byte before and after each image's key, in its place."""
        parts = self.marked(text).split(self._placeholder)
        keys = [f"\0{self.images.key_of(image)}\0" for image in images]
        keys += [""] * (len(parts) - 1 - len(keys))
        return parts[0] + "".join(k + part for k, part in zip(keys, parts[1:], strict=False))

    def processed(self, text: str, images: Images) -> Mapping[str, Any]:
        """A batch of one prompt as `hf-multimodal` makes it, on the model's device."""
        prepared = [self.images.prepared(image) for image in images]
        made: Mapping[str, Any] = self._lm.tok_batch_multimodal_encode([text], [prepared])
        return made

    def agrees_on(self, text: str, images: Images) -> bool:
        """Whether a prompt's tokens are those of the processor."""
        [own] = self.prompts([(text, images)])
        made = self.processed(text, images)["input_ids"][0].tolist()
        return self.as_read(own.tokens) == made

    def as_read(self, tokens: Tokens) -> list[int]:
        """Tokens with the one image token wherever an image has ids of its own."""
        read: list[int] = np.where(tokens >= self._first_own, self._image_token_id, tokens).tolist()
        return read

    def is_image(self, tokens: Tokens) -> NDArray[np.bool_]:
        """(n,) which tokens stand for pieces of images."""
        return (tokens >= self._first_own) | (tokens == self._image_token_id)

    def what_stays(
        self, tokens: NDArray[np.integer[Any]], is_image: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """(n,) which tokens must not be cut: images, the marks on them and between their parts.

        Of the text between two images at least one token stays: Qwen-VL takes images side by side
        for one.
        """
        stays = is_image.copy()
        edges = np.flatnonzero(np.diff(is_image, prepend=False, append=False))
        starts, ends = edges[::2].tolist(), edges[1::2].tolist()
        for end, start in zip(ends, starts[1:], strict=False):
            if start - end <= _LONGEST_GAP:
                stays[end:start] = True
        is_mark = np.isin(tokens, self._marks)
        for start in starts:
            while start and not stays[start - 1] and is_mark[start - 1]:
                start -= 1
                stays[start] = True
        for end in ends:
            while end < len(tokens) and not stays[end] and is_mark[end]:
                stays[end] = True
                end += 1
        for end, start in zip(ends, starts[1:], strict=False):
            if not stays[end:start].any():
                stays[start - 1] = True
        return stays

    def _registered(self, register: Register) -> Register:
        def registered(key: str, n_tokens: int, pixels: Any, *, grid: Any = None) -> Tokens:
            ids = register(key, n_tokens, pixels, grid=grid)
            self._first_own = min(self._first_own, int(ids.min()))
            return ids

        return registered

    def _tokenised(self, texts: Sequence[str]) -> dict[str, Tokens]:
        distinct = list(dict.fromkeys(texts))
        found: dict[str, Tokens] = {}
        for first in range(0, len(distinct), AT_A_TIME):
            some = distinct[first : first + AT_A_TIME]
            with on_all_cores():
                ids = self._tokenizer(some)["input_ids"]
            found.update(zip(some, map(as_tokens, ids), strict=True))
        return found

    def _together(self, ids: Tokens, images: Images) -> EncodedPrompt:
        places = np.flatnonzero(ids == self._marker)
        if len(places) != len(images):
            raise _other_number(len(places), len(images))
        parts: list[Tokens] = []
        before = 0
        for place, image in zip(places.tolist(), images, strict=True):
            parts += [ids[before:place], self.images.expansion(image)]
            before = place + 1
        return self._prompt(np.concatenate([*parts, ids[before:]]))

    def _by_processor(self, text: str, images: Images) -> EncodedPrompt:
        try:
            made = self.processed(text, images)
        except (ValueError, IndexError) as error:
            n_places = self.marked(text).count(self._placeholder)
            if n_places == len(images):
                raise
            raise _other_number(n_places, len(images)) from error
        ids = as_tokens(made["input_ids"][0].tolist())
        expansions = [self.images.expansion(image) for image in images]
        own = [expansion[expansion >= self._first_own] for expansion in expansions]
        is_image = ids == self._image_token_id
        if is_image.sum() != sum(map(len, own)):
            raise UnknownExpansionError("an image has other tokens alone than beside others")
        ids[is_image] = np.concatenate(own)
        return self._prompt(ids)

    def _prompt(self, tokens: Tokens) -> EncodedPrompt:
        return EncodedPrompt(tokens, self.what_stays(tokens, self.is_image(tokens)))


def _other_number(n_places: int, n_images: int) -> UserError:
    return UserError(
        "putting images into a prompt",
        found=f"{n_places} places for images and {n_images} images",
        expected="one place for every image",
        fix=f"write {DEFAULT_IMAGE_PLACEHOLDER} in the prompt for every image of its document; "
        "with max_images both are cut. Where the model writes such places otherwise, give "
        "--apply_chat_template",
    )
