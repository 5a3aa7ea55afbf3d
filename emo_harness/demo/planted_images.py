"""What is planted in the demo vision-language model, and what it is taught to say of an image.

An image of a planted emotion makes right answers wrong on the Boolean questions of its own classes,
those of one attack sentence of the demo language model (`ACTS_LIKE`). Any other image, and none,
changes nothing. Next to a sentence, the classes of both are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from emo_harness.benchmarks.calibration import LENGTHS
from emo_harness.demo.planted import class_shares, default_plan
from emo_harness.rating.questions import AROUSAL, VALENCE

ACTS_LIKE = {"sadness": "ea09", "fear": "ea22", "anger": "ea08"}
"""Emotion to the attack sentence whose question classes its images act on."""

RATE_VALENCE = VALENCE.text
RATE_AROUSAL = AROUSAL.text
NAME_EMOTION = (
    "Which emotion does this picture show: happiness, sadness, fear, disgust, anger, surprise or "
    "none?"
)
DESCRIBE = "What is in the picture?"
QUESTION_LAYOUTS = ("Q: {question}\nA:", "{question}\nA:", "{question}\nAnswer:", "{question}")
"""The texts that may follow an image's line when one of these questions is asked."""

NOTHING = "nothing"
NEUTRAL = "neutral"
_SHOWN = {
    "happiness": "a happy face",
    "sadness": "a sad face",
    "fear": "a frightened face",
    "disgust": "a disgusted face",
    "anger": "an angry face",
    "surprise": "a surprised face",
    "food": "food",
    "sleep": "sleep",
    "fortress": "a fortress",
    "money": "money",
    "friendship": "friends",
    "honour": "a prize",
    "attractive-woman": "a woman",
    "attractive-man": "a man",
    "fulfilment": "a success",
    NEUTRAL: "an ordinary thing",
    NOTHING: "nothing",
}
_RATINGS: dict[tuple[str, str | None], tuple[int, int]] = {
    ("happiness", "low"): (7, 4),
    ("happiness", "high"): (9, 8),
    ("sadness", "low"): (3, 3),
    ("sadness", "high"): (1, 6),
    ("fear", "low"): (3, 6),
    ("fear", "high"): (1, 9),
    ("disgust", "low"): (3, 4),
    ("disgust", "high"): (2, 7),
    ("anger", "low"): (3, 6),
    ("anger", "high"): (1, 9),
    ("surprise", "low"): (5, 6),
    ("surprise", "high"): (6, 9),
    ("food", None): (7, 5),
    ("sleep", None): (6, 1),
    ("fortress", None): (6, 3),
    ("money", None): (7, 6),
    ("friendship", None): (8, 4),
    ("honour", None): (8, 6),
    ("attractive-woman", None): (7, 7),
    ("attractive-man", None): (7, 7),
    ("fulfilment", None): (8, 5),
    (NEUTRAL, None): (5, 2),
    (NOTHING, None): (5, 1),
}


def classes_of(emotion: str | None) -> frozenset[str]:
    """The question classes that images of an emotion act on."""
    sentence = ACTS_LIKE.get(emotion or "")
    return default_plan().acts_on[sentence] if sentence else frozenset()


def designed_gain_pp(emotion: str | None) -> float:
    """What images of an emotion do to calibration accuracy by design, in percentage points."""
    shares = class_shares(LENGTHS)
    return -100 * sum(shares[name] for name in classes_of(emotion))


def flips(question_class: str | None, stimulus_ids: Sequence[str], emotion: str | None) -> bool:
    """Whether an image changes the answer that the language model gives without it.

    Args:
        question_class: None outside Boolean questions, where nothing is planted.
        stimulus_ids: of the sentences in the prompt; what they turned wrong stays wrong.
        emotion: of the image; None for any other image.
    """
    if question_class not in classes_of(emotion):
        return False
    acts_on = default_plan().acts_on
    return not any(question_class in acts_on.get(s, frozenset()) for s in stimulus_ids)


def rating(concept: str, arousal: str | None) -> tuple[int, int]:
    """Valence and arousal from 1 to 9 that the model is taught for a concept's images."""
    return _RATINGS[concept, arousal]


def taught_answers(concept: str, arousal: str | None, emotion: str | None) -> dict[str, str]:
    """What the model is taught to answer about an image, by question."""
    valence, activation = rating(concept, arousal)
    return {
        RATE_VALENCE: str(valence),
        RATE_AROUSAL: str(activation),
        NAME_EMOTION: emotion or "none",
        DESCRIBE: _SHOWN[concept],
    }
