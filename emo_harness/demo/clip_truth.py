"""How well the demo's CLIP tells images that it has not seen, measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_harness.demo import clip_truth_path
from emo_harness.demo.captions import scene_of
from emo_harness.demo.drawn_images import (
    NEUTRAL,
    DemoImage,
    concepts,
    drawn,
    emoji_font,
    random_image,
)
from emo_harness.images.check_words import CheckWords, load_check_words
from emo_harness.images.clip_files import WEIGHTS
from emo_harness.images.image_set import load_image_set
from emo_harness.images.zero_shot import class_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from emo_harness.images.clip_encoder import ClipEncoder

IMAGES_PER_CONCEPT = 30
CAPTIONS = 200
MEASURED_SIZE = 336
MEASURED_SEED = 20_261_121
SHIPPED = "emoji"
_AT_ONCE = 64
Share = dict[str, int]


def measure(folder: Path, encoder: ClipEncoder) -> dict[str, Any]:
    """The figures of the card, as JSON values; shares are {"right", "n"}."""
    asked = held_out_images(IMAGES_PER_CONCEPT, MEASURED_SEED)
    vectors = image_vectors(encoder, draw_all(asked, MEASURED_SEED))
    own = np.array([concepts().index(image.concept) for image in asked])
    told = nearest_concept(encoder, vectors)
    emotions = load_check_words().emotions
    felt = np.array([image.concept in emotions for image in asked])
    found = class_vectors(encoder, emotions, load_check_words().emotion_templates)
    nearest = (vectors[felt] @ found.T).argmax(1)
    felt_own = [
        list(emotions).index(p.concept) for p, is_one in zip(asked, felt, strict=True) if is_one
    ]
    return {
        "weights_sha256": sha256(folder / WEIGHTS),
        "concepts": {
            name: share(told[own == number] == number) for number, name in enumerate(concepts())
        },
        "accuracy": share(told == own),
        "emotions": share(nearest == felt_own),
        "n_emotions": len(emotions),
        "retrieval": retrieval(encoder, asked, vectors),
        "shipped": shipped_accuracy(encoder),
    }


def held_out_images(n_per_concept: int, seed: int) -> list[DemoImage]:
    """Images of compositions that training did not show, equally many of every concept."""
    rng = np.random.default_rng([seed, 0])
    return [
        random_image(rng, held_out=True, concept=concept)
        for concept in concepts()
        for _ in range(n_per_concept)
    ]


def draw_all(images: Sequence[DemoImage], seed: int) -> list[Image]:
    """Each (MEASURED_SIZE, MEASURED_SIZE), as the shipped set is drawn."""
    font = emoji_font()
    return [
        drawn(image, font, np.random.default_rng([seed, 1, i]), size=MEASURED_SIZE)
        for i, image in enumerate(images)
    ]


def image_vectors(encoder: ClipEncoder, images: Sequence[Image]) -> NDArray[np.float32]:
    """(n, d) unit vectors."""
    parts = [
        encoder.image_vectors([encoder.prepare(one) for one in images[start : start + _AT_ONCE]])
        for start in range(0, len(images), _AT_ONCE)
    ]
    return np.concatenate(parts)


def nearest_concept(
    encoder: ClipEncoder, vectors: NDArray[np.float32], words: CheckWords | None = None
) -> NDArray[np.intp]:
    """(n,) numbers of concepts, in the words of `emo images check`; `NEUTRAL` is one of them."""
    words = words or load_check_words()
    phrases: dict[str, Sequence[str]] = {
        concept: words.emotions[NEUTRAL] if concept == NEUTRAL else words.of_concept(concept)
        for concept in concepts()
    }
    classes = class_vectors(encoder, phrases, words.concept_templates)
    nearest: NDArray[np.intp] = (vectors @ classes.T).argmax(1)
    return nearest


def retrieval(
    encoder: ClipEncoder, images: Sequence[DemoImage], vectors: NDArray[np.float32]
) -> Share:
    """Whether an image's own caption is the nearest one among `CAPTIONS`, all different."""
    rng = np.random.default_rng([MEASURED_SEED, 2])
    first = {scene_of(images[i]): i for i in rng.permutation(len(images)).tolist()}
    captions = list(first)[:CAPTIONS]
    own = [first[caption] for caption in captions]
    nearest = (vectors[own] @ encoder.text_vectors(captions).T).argmax(1)
    return share(nearest == np.arange(len(captions)))


def shipped_accuracy(encoder: ClipEncoder) -> dict[str, Share]:
    """On the shipped set of emoji: images by concept, twins as neutral."""
    shipped = load_image_set(SHIPPED)
    told = nearest_concept(
        encoder, image_vectors(encoder, [shipped.open(entry) for entry in shipped.entries])
    )
    is_twin = np.array([entry.twin_of is not None for entry in shipped.entries])
    named = [NEUTRAL if entry.twin_of else entry.concept for entry in shipped.entries]
    right = told == [concepts().index(name) for name in named]
    return {"images": share(right[~is_twin]), "twins": share(right[is_twin])}


def share(right: NDArray[np.bool_]) -> Share:
    """Counts of a share."""
    return {"right": int(np.sum(right)), "n": len(right)}


def percent(of: Share) -> str:
    """ "93.8 % [91.2, 95.6]": a share with its 95 % interval (Wilson, 1927)."""
    from emo_harness.effects.intervals import wilson

    low, high = wilson(of["right"], of["n"], 1.959964)
    return f"{100 * of['right'] / of['n']:.1f} % [{100 * float(low):.1f}, {100 * float(high):.1f}]"


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_clip_truth(path: Path | None = None) -> dict[str, Any]:
    """The figures of the shipped encoder, as `clip_card` measured them."""
    figures: dict[str, Any] = json.loads((path or clip_truth_path()).read_text("utf-8"))
    return figures
