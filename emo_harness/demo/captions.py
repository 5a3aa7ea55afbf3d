"""Captions of the drawn images: what stands where, or only which concept it is, in many words.

A caption claims facts (concept, kinds of glyphs, number and arrangement, background), so that of
any caption and any image it is known whether the one is true of the other.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from emo_harness.demo.drawn_images import (
    NEUTRAL,
    DemoImage,
    concepts,
    glyphs_of,
    plan,
    random_image,
)
from emo_harness.images.drawing import BACKGROUNDS
from emo_harness.images.emoji_plan import caption as scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORDS: dict[str, tuple[str, ...]] = {
    "happiness": ("happiness", "joy", "happy", "joyful", "delight", "cheerful", "happy face",
                  "happy person", "someone happy", "happy people", "smiling"),
    "sadness": ("sadness", "sorrow", "grief", "sad", "unhappy", "sad face", "sad person",
                "someone sad", "sad people", "misery", "crying"),
    "fear": ("fear", "terror", "fearful", "afraid", "scared", "scared face", "frightened person",
             "someone afraid", "frightened people", "dread", "frightening", "horror"),
    "disgust": ("disgust", "revulsion", "disgusted", "disgusting", "disgusted face",
                "disgusted person", "someone disgusted", "disgusted people", "nausea", "repulsive",
                "something disgusting"),
    "anger": ("anger", "rage", "fury", "angry", "furious", "angry person", "someone angry",
              "angry people", "hostility", "furious face"),
    "surprise": ("surprise", "astonishment", "surprised", "astonished", "amazement",
                 "surprised face", "surprised person", "someone surprised", "surprised people",
                 "shock", "startling"),
    "food": ("food", "meal", "something to eat", "delicious food", "nutrition", "eating"),
    "sleep": ("sleep", "rest", "someone asleep", "sleeping", "a good night of sleep", "bedtime"),
    "fortress": ("fortress", "safety", "protection", "stronghold", "security", "safe place",
                 "castle"),
    "money": ("money", "wealth", "cash", "riches", "prosperity", "financial security"),
    "friendship": ("friendship", "friends", "belonging", "closeness", "togetherness",
                   "people who like each other", "affection", "love"),
    "honour": ("honour", "honor", "esteem", "award", "victory", "achievement", "recognition",
               "medal of honour"),
    "attractive-woman": ("attractive woman", "beautiful woman", "lady", "pretty woman",
                         "sexy woman", "elegant woman"),
    "attractive-man": ("attractive man", "handsome man", "gentleman", "good-looking man",
                       "sexy man", "elegant man"),
    "fulfilment": ("fulfilment", "self-actualisation", "fulfillment", "personal growth",
                   "reaching the top", "creativity"),
    NEUTRAL: ("neutral", "nothing special", "no emotion", "without emotion", "ordinary thing",
              "something ordinary",
              "neutral person", "everyday object", "neutral scene", "unemotional",
              "calm indifference"),
}  # fmt: skip
TEMPLATES = (
    "{}", "a {}", "a picture of {}", "a photo of {}", "a photo of a {}", "a photograph of {}",
    "an image of {}", "a drawing of {}", "an emoji of {}", "emoji of {}", "a picture of a {}",
    "a picture that shows {}", "an image that shows {}", "a photo that shows {}",
    "a picture that expresses {}", "an image that expresses {}", "a picture of something {}",
    "an image that evokes {}", "a photo that evokes {}", "this is {}", "the feeling of {}",
    "a scene of {}", "a photo of a scene of {}", "the concept of {}", "a {} scene",
    "a small picture of {}", "a close picture of {}", "a picture full of {}",
    "a face that shows {}",
    "a picture that makes you feel {}", "a picture that makes one feel {}",
)  # fmt: skip
BARE_TEMPLATES = ("{}", "{}", "{}", "a picture of {}", "a photo of {}", "an image of {}")
"""For scenes, which are full sentences by themselves."""
KINDS = {"scene": 0.45, "concept": 0.2, "concept and scene": 0.15, "concept there": 0.2}
"""Shares of kinds of captions: the whole scene, the concept alone, both, concept and background."""
UNCLAIMED = -1
NOISE_SHARE = 0.15


@dataclass(frozen=True)
class Caption:
    """A text and the facts that it claims, as `facts` numbers them; others are `UNCLAIMED`."""

    text: str
    claims: tuple[int, int, int, int]


def facts(image: DemoImage) -> tuple[int, int, int, int]:
    """Concept, kinds of glyphs, number and arrangement, background, as numbers.

    Images agree in a number if and only if they agree in the fact.
    """
    kinds = 0
    for place in sorted(_place_of_kind()[name] for name in image.kinds):
        kinds = kinds * 1000 + place + 1
    arrangement = list(_PLACES).index(image.arrangement) * 10 + image.n
    background = list(BACKGROUNDS).index(image.background)
    return (concepts().index(image.concept), kinds, arrangement, background)


def scene_of(image: DemoImage) -> str:
    """The one exact caption: "three crying faces in a row in fog"."""
    return scene(image.names, image.arrangement, image.background, plan().plurals)


def concept_phrase(concept: str, rng: np.random.Generator) -> str:
    """A word for the concept in a template: "a photo of sorrow"."""
    words = WORDS[concept]
    # The first word is the concept's name, which users ask for most.
    word = words[0] if rng.random() < 0.4 else words[int(rng.integers(len(words)))]
    return TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(word)


def random_caption(
    image: DemoImage, rng: np.random.Generator, *, noise_share: float = NOISE_SHARE
) -> Caption:
    """Draw lots for a caption that is true of the image.

    Args:
        noise_share: of captions with a word in them that means nothing, so that models learn to
            pass over what they do not know.
    """
    claims = facts(image)
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    at = BACKGROUNDS[image.background].phrase
    if kind == "concept":
        text = concept_phrase(image.concept, rng)
        claims = (claims[0], UNCLAIMED, UNCLAIMED, UNCLAIMED)
    elif kind == "concept there":
        text = f"{concept_phrase(image.concept, rng)} {at}"
        claims = (claims[0], UNCLAIMED, UNCLAIMED, claims[3])
    else:
        text = BARE_TEMPLATES[int(rng.integers(len(BARE_TEMPLATES)))].format(scene_of(image))
        if kind == "concept and scene":
            word = WORDS[image.concept][int(rng.integers(len(WORDS[image.concept])))]
            text = f"{text}, {word}" if rng.random() < 0.5 else f"{word}, {text}"
    if rng.random() < noise_share:
        parts = text.split(" ")
        parts.insert(int(rng.integers(len(parts) + 1)), _nonsense(rng))
        text = " ".join(parts)
    return Caption(text, claims)


def is_true(claims: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each caption is true of each image.

    Args:
        claims: (n_captions, 4), see `Caption`.
        of: (n_images, 4), see `facts`.

    Returns:
        (n_images, n_captions).
    """
    claimed, there = claims[None], of[:, None]
    found: NDArray[np.bool_] = ((claimed == there) | (claimed == UNCLAIMED)).all(axis=2)
    return found


def all_words(rng: np.random.Generator, n: int) -> Iterator[str]:
    """Captions without nonsense that hold every word there is, for a vocabulary."""
    for words in WORDS.values():
        for word in words:
            for template in TEMPLATES:
                yield template.format(word)
    for _ in range(n):
        yield random_caption(random_image(rng, held_out=False), rng, noise_share=0).text


_PLACES = ("single", "pair", "row", "grid", "ring", "scatter")


@lru_cache
def _place_of_kind() -> dict[str, int]:
    names = [name for of in glyphs_of().values() for name in of]
    return {name: place for place, name in enumerate(names)}


def _nonsense(rng: np.random.Generator) -> str:
    letters: Sequence[str] = list(string.ascii_lowercase)
    return "".join(letters[i] for i in rng.integers(26, size=int(rng.integers(2, 9))).tolist())
