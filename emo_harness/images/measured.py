"""What is read off a set's images, one after the other: vectors, facts, hashes, thumbnails."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from emo_harness.images.clip_encoder import ClipEncoder
from emo_harness.images.decoding_ahead import decoded_ahead, n_workers
from emo_harness.images.image_entry import ImageEntry
from emo_harness.images.image_facts import ImageFacts, image_facts
from emo_harness.images.image_set import ImageSet
from emo_harness.images.near_duplicates import Hashes, perceptual_hash

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from torch import Tensor

Made = TypeVar("Made")
THUMBNAIL_PX = 96
_QUALITY = 72


@dataclass(frozen=True)
class MeasuredImages:
    """What the checks need of n images, in the manifest's order.

    Attributes:
        vectors: per encoder (n, d) float32 unit vectors.
        facts: (n,).
        hashes: (n, 32) uint8, see `near_duplicates`.
        thumbnails: (n,) WebP of at most 96 x 96 px.
    """

    vectors: tuple[NDArray[np.float32], ...]
    facts: tuple[ImageFacts, ...]
    hashes: Hashes
    thumbnails: tuple[bytes, ...]


def measured_images(
    images: ImageSet, encoders: Sequence[ClipEncoder], batch_size: int
) -> MeasuredImages:
    """Open every image once, decoding on other threads while the encoders are at work.

    Memory: two batches of decoded images, and per image its vectors and a thumbnail.

    Raises:
        UserError: an image cannot be opened, or is not what the manifest says; the extra `images`
            is not installed.
    """
    read: list[_Read] = []
    vectors: list[list[NDArray[np.float32]]] = [[] for _ in encoders]
    for batch in _batches(images, lambda entry: _ready(images, entry, encoders), batch_size):
        read += [ready.read for ready in batch]
        for place, encoder in enumerate(encoders):
            vectors[place].append(encoder.image_vectors([one.tensors[place] for one in batch]))
    return MeasuredImages(
        tuple(np.concatenate(found) for found in vectors),
        tuple(one.facts for one in read),
        np.stack([one.hash for one in read]),
        tuple(one.thumbnail for one in read),
    )


def encoded_images(images: ImageSet, encoder: ClipEncoder, batch_size: int) -> NDArray[np.float32]:
    """(n, d) unit vectors alone, read as `measured_images` does."""
    batches = _batches(images, lambda entry: encoder.prepare(images.open(entry)), batch_size)
    return np.concatenate([encoder.image_vectors(batch) for batch in batches])


def _batches(
    images: ImageSet, prepare: Callable[[ImageEntry], Made], batch_size: int
) -> Iterator[list[Made]]:
    """What is prepared of every image, a batch at a time, the next ones meanwhile under way."""
    from tqdm import tqdm

    n_ahead = batch_size + 2 * n_workers()
    batch: list[Made] = []
    with tqdm(total=len(images.entries), desc="checking", unit="image", disable=None) as bar:
        for one in decoded_ahead(images.entries, prepare, n_ahead):
            batch.append(one)
            if len(batch) == batch_size:
                yield batch
                bar.update(len(batch))
                batch = []
        if batch:
            yield batch
            bar.update(len(batch))


@dataclass(frozen=True)
class _Read:
    facts: ImageFacts
    hash: Hashes
    thumbnail: bytes


@dataclass(frozen=True)
class _Ready:
    tensors: tuple[Tensor, ...]
    read: _Read


def _ready(images: ImageSet, entry: ImageEntry, encoders: Sequence[ClipEncoder]) -> _Ready:
    image = images.open(entry)
    return _Ready(
        tuple(encoder.prepare(image) for encoder in encoders),
        _Read(
            image_facts(image, images.path(entry).stat().st_size),
            perceptual_hash(image),
            thumbnail(image),
        ),
    )


def thumbnail(image: PILImage) -> bytes:
    """A WebP of at most 96 x 96 px."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    written = io.BytesIO()
    small.save(written, "WEBP", quality=_QUALITY, method=4)
    return written.getvalue()
