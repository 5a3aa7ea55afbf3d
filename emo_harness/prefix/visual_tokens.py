"""Token ids of images, beyond the vocabulary, and the places that they take in a sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.prefix.trie import Tokens

_LAST_ID = np.iinfo(np.int32).max


@dataclass(frozen=True)
class ImagePlaces:
    """Where an image's tokens lie, seen from its first one.

    Attributes:
        offsets: (3, n) positions in time, height and width.
        span: by how many positions the image moves what follows it.
    """

    offsets: NDArray[np.int64]
    span: int


@dataclass(frozen=True)
class ImageTokens:
    """A registered image.

    Attributes:
        key: what identifies it.
        first: the id of its first token; the others follow.
        n_tokens: how many it has.
        places: where they lie; None where they take positions like text.
    """

    key: str
    first: int
    n_tokens: int
    places: ImagePlaces | None = None

    @property
    def ids(self) -> Tokens:
        return np.arange(self.first, self.first + self.n_tokens, dtype=np.int32)


class ImageTable:
    """The images that have token ids, and what ids tell of them.

    Args:
        first_id: the first id that no text token has.
    """

    def __init__(self, first_id: int) -> None:
        self.first_id = first_id
        self._images: list[ImageTokens] = []
        self._by_key: dict[str, ImageTokens] = {}
        self._next = first_id
        # Per id: its image, by the number in which it came, and its place in that image.
        self._firsts = np.empty(0, np.int64)

    def add(self, key: str, n_tokens: int, places: ImagePlaces | None) -> ImageTokens:
        """Give an image ids that no other one has.

        Raises:
            ValueError: no tokens, or no ids left.
        """
        if n_tokens < 1:
            raise ValueError(f"image {key} has no tokens")
        if self._next + n_tokens - 1 > _LAST_ID:
            raise ValueError(f"no token ids left for image {key}: {len(self._images):,} have some")
        image = ImageTokens(key, self._next, n_tokens, places)
        self._next += n_tokens
        self._images.append(image)
        self._by_key[key] = image
        return image

    def get(self, key: str) -> ImageTokens | None:
        return self._by_key.get(key)

    def __getitem__(self, key: str) -> ImageTokens:
        return self._by_key[key]

    def of(self, tokens: Tokens) -> list[tuple[ImageTokens, NDArray[np.int64], NDArray[np.int64]]]:
        """The images among some tokens: each with the rows of its tokens, and their places in it.

        Raises:
            ValueError: an id that belongs to no image.
        """
        rows = np.flatnonzero(tokens >= self.first_id)
        if not len(rows):
            return []
        if len(self._firsts) != len(self._images):
            self._firsts = np.array([image.first for image in self._images], np.int64)
        ids = tokens[rows].astype(np.int64)
        if ids.max() >= self._next:
            raise ValueError(f"token id {ids.max()} belongs to no image")
        which = np.searchsorted(self._firsts, ids, side="right") - 1
        found = []
        for number in np.unique(which):
            mine = which == number
            image = self._images[number]
            found.append((image, rows[mine], ids[mine] - image.first))
        return found

    def left_out(self, tokens: Tokens) -> NDArray[np.int64]:
        """(n,) by how much each token moves those after it less than a token of text does.

        An image's tokens share positions, so it moves them by its span; counted at its last token.
        """
        found = np.zeros(len(tokens), np.int64)
        for image, rows, places in self.of(tokens):
            if image.places is not None:
                last = rows[places == image.n_tokens - 1]
                found[last] = image.n_tokens - image.places.span
        return found

    def offsets(self, tokens: Tokens) -> NDArray[np.int64]:
        """(3, n) how far each token lies from where one of text would, in its path's positions."""
        found = np.zeros((3, len(tokens)), np.int64)
        for image, rows, places in self.of(tokens):
            if image.places is not None:
                found[:, rows] = image.places.offsets[:, places] - places
        return found
