"""What one encoder says of every image of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import quoted
from emo_harness.images.check_words import NEUTRAL, CheckWords
from emo_harness.images.clip_encoder import ClipEncoder
from emo_harness.images.image_entry import Generated, ImageEntry
from emo_harness.images.zero_shot import (
    NAN,
    class_texts,
    class_vectors,
    log_probabilities,
    nearer_to_high,
    own_log_odds,
    own_probability,
    pole_vectors,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class EncoderScores:
    """Readings of n images, in the manifest's order; NaN is unknown.

    Attributes:
        concepts, emotions: classes, in the order of their places below.
        own_concept, own_emotion: (n,) places; a twin's are those of its image; -1 is none.
        predicted, emotion_predicted: (n,) places of the most probable classes.
        probability_concept, probability_emotion: (n,) of the own class.
        emotion_probabilities: (n, n_emotions).
        twin_contrast: (n,) log-odds of the image's own emotion (where it has none: of its
            concept) in the image less those in its neutral twin; NaN without a twin.
        alignment: (n,) cosine with the image's own prompt or caption.
        valence, arousal: (n,) p(high) - p(low) of the two ends' words.
        remarks: what of the texts the encoder could not read, one sentence each.
    """

    encoder: str
    concepts: tuple[str, ...]
    emotions: tuple[str, ...]
    own_concept: Ints
    own_emotion: Ints
    predicted: Ints
    emotion_predicted: Ints
    probability_concept: Floats
    probability_emotion: Floats
    emotion_probabilities: Floats
    twin_contrast: Floats
    alignment: Floats
    valence: Floats
    arousal: Floats
    remarks: tuple[str, ...]


def encoder_scores(
    entries: Sequence[ImageEntry],
    vectors: NDArray[np.float32],
    encoder: ClipEncoder,
    words: CheckWords,
) -> EncoderScores:
    """Score a set's images.

    Args:
        entries: the manifest, twins among them.
        vectors: (n, d) of the same images.
    """
    images = vectors.astype(np.float64)
    concepts = concepts_of(entries)
    emotions = tuple(words.emotions)
    phrases = {concept: words.of_concept(concept) for concept in concepts}
    own_concept = np.array([concepts.index(entry.concept) for entry in entries], dtype=np.int64)
    own_emotion = np.array(
        [emotions.index(e) if (e := entry.emotion) in emotions else -1 for entry in entries],
        dtype=np.int64,
    )
    by_concept = log_probabilities(
        images, class_vectors(encoder, phrases, words.concept_templates), encoder.scale
    )
    by_emotion = log_probabilities(
        images, class_vectors(encoder, words.emotions, words.emotion_templates), encoder.scale
    )
    odds = np.where(
        own_emotion >= 0,
        own_log_odds(by_emotion, own_emotion),
        own_log_odds(by_concept, own_concept),
    )
    alignment, remark_on_texts = _alignment(entries, images, encoder)
    valence, arousal = (
        nearer_to_high(images, pole_vectors(encoder, poles, words), encoder.scale)
        for poles in (words.valence, words.arousal)
    )
    return EncoderScores(
        encoder=encoder.name,
        concepts=concepts,
        emotions=emotions,
        own_concept=own_concept,
        own_emotion=own_emotion,
        predicted=by_concept.argmax(axis=1),
        emotion_predicted=by_emotion.argmax(axis=1),
        probability_concept=own_probability(by_concept, own_concept),
        probability_emotion=own_probability(by_emotion, own_emotion),
        emotion_probabilities=np.exp(by_emotion),
        twin_contrast=_less_twin(entries, odds),
        alignment=alignment,
        valence=valence,
        arousal=arousal,
        remarks=(*_unread(encoder, words, concepts), *remark_on_texts),
    )


def concepts_of(entries: Sequence[ImageEntry]) -> tuple[str, ...]:
    """Concepts of a set's images, in their order."""
    return tuple(dict.fromkeys(entry.concept for entry in entries))


def twin_places(entries: Sequence[ImageEntry]) -> Ints:
    """(n,) the place of each image's first neutral twin, -1 where it has none."""
    places: dict[str, int] = {}
    for place, entry in enumerate(entries):
        if entry.twin_of is not None:
            places.setdefault(entry.twin_of, place)
    return np.array([places.get(entry.id, -1) for entry in entries], dtype=np.int64)


def own_text(entry: ImageEntry) -> str | None:
    """What an image should show, in words: the prompt it was made from, else its caption."""
    return entry.made.prompt if isinstance(entry.made, Generated) else entry.caption


def _less_twin(entries: Sequence[ImageEntry], values: Floats) -> Floats:
    twins = twin_places(entries)
    return np.where(twins >= 0, values - values[twins], NAN)


def _alignment(
    entries: Sequence[ImageEntry], images: Floats, encoder: ClipEncoder
) -> tuple[Floats, tuple[str, ...]]:
    """Cosines with own texts, each distinct text encoded once."""
    texts = [own_text(entry) for entry in entries]
    distinct = list(dict.fromkeys(text for text in texts if text))
    found = np.full(len(entries), NAN)
    if not distinct:
        return found, ()
    place = {text: number for number, text in enumerate(distinct)}
    known = np.array([n for n, text in enumerate(texts) if text], dtype=np.int64)
    own = np.array([place[text] for text in texts if text], dtype=np.int64)
    vectors = encoder.text_vectors(distinct).astype(np.float64)
    found[known] = (images[known] * vectors[own]).sum(axis=1)
    n_cut = encoder.n_cut(distinct)
    cut = (
        f"{encoder.name} reads {encoder.context_tokens} tokens: {n_cut} of {len(distinct)} prompts "
        "and captions were cut for it"
    )
    return found, ((cut,) if n_cut else ())


def _unread(encoder: ClipEncoder, words: CheckWords, concepts: Sequence[str]) -> tuple[str, ...]:
    """Classes whose words the encoder's tokenizer does not know: their numbers mean nothing."""
    asked = {concept: words.of_concept(concept) for concept in concepts} | {
        emotion: phrases for emotion, phrases in words.emotions.items() if emotion != NEUTRAL
    }
    unread = [
        name
        for (name, phrases), texts in zip(asked.items(), class_texts(asked, ("{}",)), strict=True)
        if len(encoder.unknown(texts)) == len(phrases)
    ]
    if not unread:
        return ()
    return (
        f"{encoder.name} does not know the words for {quoted(unread)}: its numbers there mean "
        "nothing",
    )
