"""A vision-language model run over packed tokens: image tokens are tokens like all others.

Each image gets token ids of its own, beyond the vocabulary. So a trie of such sequences shares what
lies behind an image where the image is the same, and nothing else has to know of images: only here
are ids turned into what the language model reads, text by its own table and images by their
features, and into the positions that it rotates by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.prefix.packed_model import PackedModel
from emo_harness.prefix.prefill import Pass
from emo_harness.prefix.trie import Node, Tokens
from emo_harness.prefix.visual_features import ImageFeatures, PixelInputs
from emo_harness.prefix.visual_tokens import ImagePlaces, ImageTable

CACHE_BYTES = 1024**3
# Of a memory budget, where features lie in the memory that passes are computed in.
SHARE_OF_FEATURES = 0.1


class VisualPackedModel(PackedModel):
    """A transformers model of images and text, for packed passes.

    Images are encoded when a pass first needs them, outside of it, and kept in the host's memory
    up to a bound; those that had to leave are encoded again.

    Args:
        model: a `...ForConditionalGeneration` for which `why_images_unsupported` gives None.
        device: where tokens and pixels go.
        mixed_precision_dtype: autocast to this dtype, as `HFLM` does.
        cache_bytes: of image features that are kept.
    """

    def __init__(
        self,
        model: Any,
        device: torch.device,
        mixed_precision_dtype: torch.dtype | None = None,
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(model, device, mixed_precision_dtype)
        rows = model.get_input_embeddings().weight.shape[0]
        self._images = ImageTable(max(rows, self.vocabulary))
        self._features = ImageFeatures(model, device, cache_bytes)
        # The model's own rule for positions in three dimensions, where it has one.
        self._rope_index = getattr(getattr(model, "model", None), "get_rope_index", None)
        self._left_out: WeakKeyDictionary[Node, int] = WeakKeyDictionary()

    @property
    def encoded(self) -> Counter[str]:
        """How often each image was encoded, by key."""
        return self._features.encoded

    def register(
        self,
        key: str,
        n_tokens: int,
        pixels: Callable[[], PixelInputs],
        *,
        grid: tuple[int, int, int] | None = None,
    ) -> Tokens:
        """Give an image token ids; the same ones where the key is known.

        Args:
            key: what identifies the image and everything else that its features depend on.
            n_tokens: how many image tokens the processor puts into a prompt for it (rows, columns
                and separators that are text tokens are not counted).
            pixels: makes what `get_image_features` is to be given for this image alone; called
                when the image is encoded, and again after its features had to leave the cache.
            grid: one line of the processor's `image_grid_thw`, where it makes one.

        Returns:
            (n_tokens,) what stands in a token sequence in place of the image tokens, in order.

        Raises:
            ValueError: the key is known with another number of tokens, or the model's positions
                need a grid that is not given or does not fit.
        """
        known = self._images.get(key)
        if known is not None:
            if known.n_tokens != n_tokens:
                raise ValueError(f"image {key} had {known.n_tokens} tokens, and now {n_tokens}")
            return known.ids
        places = self._places(key, n_tokens, grid)
        self._features.add(key, n_tokens, pixels)
        return self._images.add(key, n_tokens, places).ids

    def token_ids(self, key: str) -> Tokens:
        """(n_tokens,) the ids of a registered image.

        Raises:
            KeyError: no such image.
        """
        return self._images[key].ids

    def reserve(self, budget_bytes: int) -> int:
        """Bytes of a memory budget that features take, which they do not exceed from now on."""
        if self.device.type != "cpu":
            return 0
        share = min(self._features.capacity_bytes, int(SHARE_OF_FEATURES * budget_bytes))
        self._features.shrink(share)
        return share

    def positions(self, one: Pass) -> NDArray[np.int64]:
        if self._rope_index is None:
            return super().positions(one)
        parts = []
        for piece in one.pieces:
            own = self._images.left_out(piece.node.tokens)
            before = np.cumsum(own) - own
            parts.append(self._left_out_before(piece.node) + before[piece.first : piece.last])
        return super().positions(one) - np.concatenate(parts)

    def position_after(self, tokens: Tokens) -> int:
        if self._rope_index is None:
            return super().position_after(tokens)
        return super().position_after(tokens) - int(self._images.left_out(tokens).sum())

    def _left_out_before(self, node: Node) -> int:
        """Positions that the images on the path to a node leave out."""
        above: list[Node] = []
        parent = node.parent
        while parent is not None and parent not in self._left_out:
            above.append(parent)
            parent = parent.parent
        found = 0 if parent is None else self._left_out[parent]
        for one in reversed(above):
            found += int(self._images.left_out(one.tokens).sum())
            self._left_out[one] = found
        return found

    def _inputs(self, tokens: Tokens, positions: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        is_text = tokens < self._images.first_id
        given = super()._inputs(np.where(is_text, tokens, 0), positions)
        embedded = self.model.get_input_embeddings()(given.pop("input_ids"))
        images = self._images.of(tokens)
        features = self._features.of([image.key for image, _, _ in images])
        for image, rows, places in images:
            here = torch.from_numpy(rows).to(embedded.device)
            seen = features[image.key][torch.from_numpy(places)]
            embedded[0, here] = seen.to(embedded.device, embedded.dtype)
        if self._rope_index is not None:
            offsets = torch.from_numpy(self._images.offsets(tokens)).to(self.device)
            given["position_ids"] = given["position_ids"] + offsets[:, None]
        return {**given, "inputs_embeds": embedded}

    def _places(
        self, key: str, n_tokens: int, grid: tuple[int, int, int] | None
    ) -> ImagePlaces | None:
        """Where the model's own rule puts an image's tokens, and what follows them."""
        rope_index = self._rope_index
        if rope_index is None:
            return None
        if grid is None:
            raise ValueError(f"image {key} has no grid, and the model's positions depend on it")
        kinds = torch.ones((1, n_tokens + 1), dtype=torch.int32)
        kinds[0, -1] = 0
        try:
            found, _ = rope_index(
                torch.zeros_like(kinds, dtype=torch.int64), kinds, torch.tensor([grid])
            )
        except RuntimeError as error:
            raise ValueError(f"image {key} has {n_tokens} tokens, not those of {grid}") from error
        places = found[:, 0].numpy()
        return ImagePlaces(places[:, :-1], int(places[0, -1]))
