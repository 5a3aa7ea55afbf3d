"""Image features from a model's own encoder, each image encoded once while memory allows."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

# What a processor makes of one image, as tensors whose first dimension is the batch's:
# pixel_values, image_grid_thw, image_sizes, pixel_attention_mask ... (no input_ids).
PixelInputs = Mapping[str, torch.Tensor]

# What encoders keep of all their layers is some hundred times the pixels.
PIXEL_BYTES_TOGETHER = {"cpu": 4 * 1024**2}
PIXEL_BYTES_ON_ACCELERATOR = 32 * 1024**2
# Tensors up to this size are compared by value: sizes and grids, on which a result's shape depends.
_FACTS = 16


class ImageFeatures:
    """Features by image, in the host's memory, those used last.

    Attributes:
        capacity_bytes: how much is kept.
        held_bytes: how much is kept now.
        encoded: how often each image was encoded.

    Args:
        model: whose `get_image_features` encodes.
        device: where it computes.
        capacity_bytes: how much to keep.
    """

    def __init__(self, model: Any, device: torch.device, capacity_bytes: int) -> None:
        self._model = model
        self._device = device
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self.encoded: Counter[str] = Counter()
        self._pixels: dict[str, tuple[int, Callable[[], PixelInputs]]] = {}
        self._held: OrderedDict[str, torch.Tensor] = OrderedDict()

    def add(self, key: str, n_tokens: int, pixels: Callable[[], PixelInputs]) -> None:
        """Say how an image's pixels are made, and how many tokens come of them."""
        self._pixels[key] = (n_tokens, pixels)

    def of(self, keys: Sequence[str]) -> dict[str, torch.Tensor]:
        """(n_tokens, hidden_size) of each image, in the dtype of the model's embeddings.

        Raises:
            ValueError: the model makes another number of features than an image has tokens.
        """
        found = {}
        for key in keys:
            if key in self._held:
                self._held.move_to_end(key)
                found[key] = self._held[key]
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        for batch in self._batches(missing):
            for key, features in self._encode(batch).items():
                found[key] = features
                self._keep(key, features)
        return found

    def shrink(self, capacity_bytes: int) -> None:
        """Keep this much from now on."""
        self.capacity_bytes = capacity_bytes
        self._let_go(0)

    def _keep(self, key: str, features: torch.Tensor) -> None:
        size = features.numel() * features.element_size()
        if size > self.capacity_bytes:
            return
        self._let_go(size)
        self._held[key] = features
        self.held_bytes += size

    def _let_go(self, needed: int) -> None:
        while self._held and self.held_bytes + needed > self.capacity_bytes:
            _, oldest = self._held.popitem(last=False)
            self.held_bytes -= oldest.numel() * oldest.element_size()

    def _batches(self, keys: Sequence[str]) -> Iterator[dict[str, PixelInputs]]:
        """Images that are encoded together: of equal shapes, and of bounded size."""
        bound = PIXEL_BYTES_TOGETHER.get(self._device.type, PIXEL_BYTES_ON_ACCELERATOR)
        batch: dict[str, PixelInputs] = {}
        kind: tuple[Any, ...] = ()
        taken = 0
        for key in keys:
            pixels = self._pixels[key][1]()
            size = sum(tensor.numel() * tensor.element_size() for tensor in pixels.values())
            if batch and (_kind(pixels) != kind or taken + size > bound):
                yield batch
                batch, taken = {}, 0
            batch[key], kind = pixels, _kind(pixels)
            taken += size
        if batch:
            yield batch

    @torch.no_grad()
    def _encode(self, batch: dict[str, PixelInputs]) -> dict[str, torch.Tensor]:
        dtype = self._model.get_input_embeddings().weight.dtype
        parts = list(batch.values())
        inputs = {name: self._placed(torch.cat([one[name] for one in parts])) for name in parts[0]}
        made = self._model.get_image_features(**inputs, return_dict=True).pooler_output
        # Per image, or per tile of one: in the order of the images in any case.
        rows = torch.cat([one.reshape(-1, one.shape[-1]) for one in made])
        ends = np.cumsum([self._pixels[key][0] for key in batch])
        if len(rows) != ends[-1]:
            raise ValueError(
                f"the model makes {len(rows)} features of {len(batch)} images, "
                f"for {ends[-1]} image tokens"
            )
        self.encoded.update(batch.keys())
        rows = rows.to("cpu", dtype)
        # Copies, so that one image can be let go without the others.
        return {
            key: rows[end - self._pixels[key][0] : end].clone()
            for key, end in zip(batch, ends, strict=True)
        }

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        dtype = self._model.dtype if tensor.is_floating_point() else None
        return tensor.to(self._device, dtype)


def _kind(pixels: PixelInputs) -> tuple[Any, ...]:
    """What images must have in common to be encoded together."""
    return tuple(
        (name, tuple(tensor.shape), tensor.flatten().tolist() if tensor.numel() <= _FACTS else None)
        for name, tensor in sorted(pixels.items())
    )
