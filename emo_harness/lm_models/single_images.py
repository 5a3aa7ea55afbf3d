"""Images as a processor makes them one at a time, each distinct one once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from lm_eval.models.utils import resize_image

from emo_harness.image_file import pixels_sha256
from emo_harness.prefix import Tokens

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

# Pixels that wait to be encoded for the first time; what is beyond is made once more.
WAITING_BYTES = 256 * 1024**2
# What a processor makes of the text, in one name or another.
_OF_TEXT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


class Register(Protocol):
    """Gives an image's tokens ids; see `VisualPackedModel.register`."""

    def __call__(
        self,
        key: str,
        n_tokens: int,
        pixels: Callable[[], Mapping[str, torch.Tensor]],
        *,
        grid: tuple[int, int, int] | None = None,
    ) -> Tokens: ...


class UnknownExpansionError(ValueError):
    """What a processor writes for an image cannot be told from the text around it."""


@dataclass(frozen=True)
class ImageRule:
    """What lm-eval does to an image before the processor gets it; see `hf-multimodal`.

    Attributes:
        width, height, max_side: to which it is made smaller.
        to_rgb: whether it is converted (`convert_img_format`).
    """

    width: int | None = None
    height: int | None = None
    max_side: int | None = None
    to_rgb: bool = False

    def __call__(self, image: PILImage) -> PILImage:
        made = resize_image(image, self.width, self.height, self.max_side)
        return made.convert("RGB") if self.to_rgb else made


class SingleImages:
    """Distinct images, known by their pixels.

    Args:
        processor: a transformers processor, whose settings are the same for all images.
        placeholder: the text that it replaces by an image's tokens.
        image_token_id: the token that stands for a piece of an image.
        is_flat: whether it takes images as one list, whatever prompt they are of.
        prepared: what is done to an image first.
        register: gives an image's tokens ids of their own.
    """

    def __init__(
        self,
        processor: Any,
        placeholder: str,
        image_token_id: int,
        *,
        is_flat: bool,
        prepared: Callable[[PILImage], PILImage],
        register: Register,
    ) -> None:
        self._processor = processor
        self._placeholder = placeholder
        self._image_token_id = image_token_id
        self._is_flat = is_flat
        self.prepared = prepared
        self._register = register
        self._expansions: dict[str, Tokens] = {}
        self._keys: dict[int, str] = {}
        self._shown: dict[str, PILImage] = {}
        self._waiting: dict[str, Mapping[str, torch.Tensor]] = {}
        self._waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._expansions)

    def forget_objects(self) -> None:
        """Hold no image any longer, until it is shown again; what is known of it stays known."""
        self._keys.clear()
        self._shown.clear()
        self._waiting.clear()
        self._waiting_bytes = 0

    def key_of(self, image: PILImage) -> str:
        """What identifies an image: its pixels, before anything is done to them."""
        known = self._keys.get(id(image))
        if known is None:
            known = self._keys[id(image)] = _content_key(image)
            # For its pixels: when it is encoded, and again where its features had to leave.
            self._shown[known] = image
        return known

    def expansion(self, image: PILImage) -> Tokens:
        """(n,) what stands for an image in a prompt: its tokens, with words among them or not.

        Raises:
            UnknownExpansionError: see there.
        """
        key = self.key_of(image)
        if key not in self._expansions:
            self._expansions[key] = self._learned(key, image)
        return self._expansions[key]

    def _learned(self, key: str, image: PILImage) -> Tokens:
        made = self._processed(image)
        found = self._between(made["input_ids"][0].tolist())
        is_image = found == self._image_token_id
        n_tokens = int(is_image.sum())
        if not n_tokens:
            raise UnknownExpansionError(f"no token {self._image_token_id} stands for an image")
        pixels = _pixels_of(made)
        grid = pixels.get("image_grid_thw")
        ids = self._register(
            key,
            n_tokens,
            lambda: self._pixels(key),
            grid=None if grid is None else tuple(grid[0].tolist()),
        )
        self._let_wait(key, pixels)
        found[is_image] = ids
        return found

    def _between(self, ids: list[int]) -> Tokens:
        """What the placeholder alone has become, without what the tokenizer puts around a text."""
        bare = self._processor.tokenizer([self._placeholder])["input_ids"][0]
        marker = self._processor.tokenizer.convert_tokens_to_ids(self._placeholder)
        if bare.count(marker) != 1:
            raise UnknownExpansionError(f"{self._placeholder!r} is not one token")
        before = bare.index(marker)
        after = len(bare) - before - 1
        end = len(ids) - after
        if ids[:before] != bare[:before] or ids[end:] != bare[before + 1 :]:
            raise UnknownExpansionError(f"{self._placeholder!r} changes what stands around it")
        return np.array(ids[before:end], np.int32)

    def _pixels(self, key: str) -> Mapping[str, torch.Tensor]:
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return _pixels_of(self._processed(self._shown[key]))
        self._waiting_bytes -= _bytes_of(waiting)
        return waiting

    def _let_wait(self, key: str, pixels: Mapping[str, torch.Tensor]) -> None:
        size = _bytes_of(pixels)
        if self._waiting_bytes + size <= WAITING_BYTES:
            self._waiting[key] = pixels
            self._waiting_bytes += size

    def _processed(self, image: PILImage) -> Any:
        prepared = self.prepared(image)
        images = [prepared] if self._is_flat else [[prepared]]
        return self._processor(images=images, text=[self._placeholder], return_tensors="pt")


def _content_key(image: PILImage) -> str:
    if image.mode == "RGB":
        return pixels_sha256(image)
    # What processors make of transparency and palettes is theirs, so nothing is converted here.
    palette = image.palette.tobytes() if image.palette is not None else b""
    told = repr((image.mode, image.size, sorted(image.info.items(), key=str))).encode()
    return hashlib.sha256(b"\0".join((told, palette, image.tobytes()))).hexdigest()


def _pixels_of(made: Any) -> dict[str, torch.Tensor]:
    return {name: value for name, value in made.items() if name not in _OF_TEXT}


def _bytes_of(pixels: Mapping[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in pixels.values())
