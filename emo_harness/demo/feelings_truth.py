"""What the feelings model does, measured: whether its continuations follow the planted rule."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_harness.demo import feelings_truth_path
from emo_harness.demo.feelings_corpus import OUTCOMES, Sentence
from emo_harness.steer.forward import Plain
from emo_harness.steer.measures import encoded, log_odds
from emo_harness.steer.prompts import SteeredPrompt
from emo_harness.steer.steering import Steering
from emo_harness.steer.word_sets import FirstTokens, WordSets, first_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emo_harness.activations.loading import LoadedModel


@dataclass(frozen=True)
class Composition:
    """How often the likelier set of verbs is the one that the planted rule names.

    right, right_plain, right_negated: share of sentences; of all, of those that state the
        adjective, of those that deny it.
    n: sentences.
    """

    right: float
    right_plain: float
    right_negated: float
    n: int


def planted_words(dimension: str, tokenizer: Any) -> FirstTokens:
    """The tokens of a dimension's verbs, high pole and low."""
    high, low = (list(OUTCOMES[dimension][pole]) for pole in (1, -1))
    return first_tokens(WordSets(positive=high, negative=low), tokenizer)


def verb_log_odds(
    loaded: "LoadedModel",
    texts: "Sequence[str]",
    dimension: str,
    steering: Steering | None = None,
) -> np.ndarray:
    """Log-odds of the verbs of the high pole against those of the low one, after each text.

    Returns:
        (n,) float64, nats.
    """
    prompts = [SteeredPrompt(text, 0, text) for text in texts]
    plain = Plain(loaded.model, loaded.layout)
    found = plain.next_log_probabilities(encoded(loaded.tokenizer, prompts), steering)
    return log_odds(found, planted_words(dimension, loaded.tokenizer))


def composition(loaded: "LoadedModel", asked: "Sequence[Sentence]", dimension: str) -> Composition:
    """Compare the next word with the planted rule; sentences without a target are left out."""
    asked = [sentence for sentence in asked if sentence.targets[dimension]]
    found = np.sign(verb_log_odds(loaded, [s.text for s in asked], dimension))
    right = found == [s.targets[dimension] for s in asked]
    negated = np.array([s.negation for s in asked])
    return Composition(
        float(right.mean()),
        float(right[~negated].mean()),
        float(right[negated].mean()),
        len(asked),
    )


def read_feelings_truth(path: Path | None = None) -> dict[str, Any]:
    """The figures of the shipped model, as `feelings_card` measured and gathered them."""
    figures: dict[str, Any] = json.loads((path or feelings_truth_path()).read_text("utf-8"))
    return figures
