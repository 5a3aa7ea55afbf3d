"""Near-duplicates: images that look alike, found by perceptual hashes.

The hash is imagehash's pHash of 256 bits: which of the 16 x 16 lowest frequencies of a small grey
copy lie above their median. Scaling, recompression and brightness leave it nearly alone. It knows
no colour; one drawing before two plain backgrounds is found where they are about as bright as each
other (0 to 40 bits, half of the pairs within 16). An image that was cropped or mirrored is not
found. The usual 64 bits do not do: faces that differ in their mouths alone are one image to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emo_harness.extras import import_extra

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_SIDE = 16
N_BITS = _SIDE**2
# Pairs that differ in so many bits or fewer look alike. Of the 84 shipped images copies at half the
# size differ in up to 8, as JPEG of quality 50 in up to 14, brighter by 15% in up to 26 but 98% of
# them in up to 16; two different ones in at least 24, usually 126.
MOST_BITS = 16
_BLOCK = 128
_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)

Hashes = NDArray[np.uint8]


@dataclass(frozen=True)
class NearDuplicates:
    """Which images look alike.

    Attributes:
        groups: places of images that are joined by pairs of near-duplicates, each group in order.
        of: (n,) the first of an image's group; its own place where it is the first, or alone.
        most_bits: the threshold.
    """

    groups: tuple[tuple[int, ...], ...]
    of: NDArray[np.int64]
    most_bits: int


def perceptual_hash(image: PILImage) -> Hashes:
    """(32,) uint8: the 256 bits of an image's pHash.

    Raises:
        UserError: the extra `images` is not installed.
    """
    imagehash = import_extra("imagehash", "looking for near-duplicates")
    return np.packbits(np.asarray(imagehash.phash(image, hash_size=_SIDE).hash, dtype=bool))


def near_duplicates(hashes: Hashes, most_bits: int = MOST_BITS) -> NearDuplicates:
    """Groups of images whose hashes differ in few bits (single linkage).

    Args:
        hashes: (n, 32) uint8. Compared a block of rows at a time: n x n distances never lie in
            memory together.
        most_bits: pairs with at most so many different bits are near-duplicates.
    """
    n = len(hashes)
    first = np.arange(n)
    for start in range(0, n, _BLOCK):
        block = hashes[start : start + _BLOCK]
        bits = _ONES[block[:, None, :] ^ hashes[None, start:, :]].sum(axis=2, dtype=np.uint16)
        for row, other in np.argwhere(bits <= most_bits):
            if row < other:
                _join(first, start + int(row), start + int(other))
    of = np.array([_first(first, place) for place in range(n)], dtype=np.int64)
    members: dict[int, list[int]] = {}
    for place, head in enumerate(of):
        members.setdefault(int(head), []).append(place)
    groups = tuple(tuple(group) for group in members.values() if len(group) > 1)
    return NearDuplicates(groups, of, most_bits)


def _first(first: NDArray[np.int64], place: int) -> int:
    while first[place] != place:
        # Halving the path keeps later look-ups short.
        first[place] = first[first[place]]
        place = int(first[place])
    return place


def _join(first: NDArray[np.int64], one: int, other: int) -> None:
    a, b = _first(first, one), _first(first, other)
    first[max(a, b)] = min(a, b)
