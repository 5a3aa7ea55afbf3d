"""The words that an image encoder is asked with: templates, and phrases by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, Field

from emo_harness.errors import UserError
from emo_harness.resources import resource
from emo_harness.text_file import read_text
from emo_harness.validation import Strict, validated

DEFAULT = "templates/image_checks/words.yaml"
GAP = "{}"
# The class that a neutral twin should fall into.
NEUTRAL = "neutral"


def _with_gap(template: str) -> str:
    if template.count(GAP) != 1:
        raise ValueError("a template with {} once, where the phrase goes")
    return template


Phrase = Annotated[str, Field(min_length=1, max_length=200)]
Template = Annotated[Phrase, AfterValidator(_with_gap)]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=50)]
Templates = Annotated[list[Template], Field(min_length=1, max_length=50)]


class Poles(Strict):
    """Phrases for the two ends of a scale."""

    high: Phrases
    low: Phrases


class CheckWords(Strict):
    """What an encoder is asked; see `templates/image_checks/words.yaml`.

    Attributes:
        concept_templates, emotion_templates: sentences with `{}` for a phrase.
        concepts: phrases by concept; a concept that is missing goes by its name.
        emotions: phrases by emotion, the six basic ones or some of them, and "neutral".
        valence, arousal: compared with human ratings.
    """

    concept_templates: Templates
    emotion_templates: Templates
    concepts: dict[str, Phrases] = Field(default_factory=dict)
    emotions: Annotated[dict[str, Phrases], Field(min_length=2)]
    valence: Poles
    arousal: Poles

    def of_concept(self, concept: str) -> Sequence[str]:
        """Phrases for a concept of a set.

        Example:
            >>> load_check_words().of_concept("attractive-woman")
            ['attractive woman']
        """
        return self.concepts.get(concept) or [concept.replace("-", " ").replace("_", " ")]


def load_check_words(path: Path | None = None) -> CheckWords:
    """Read a file of words, by default the shipped one.

    Raises:
        UserError: no YAML, an unknown or missing key, a template without its gap.
    """
    place = path or resource(DEFAULT)
    doing = f"reading the words {place}"
    fix = f"start from a copy of {DEFAULT} of this project"
    text = read_text(place, doing)
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        found = " ".join(str(error).split())[:160]
        raise UserError(doing, found=found, expected="a YAML file", fix=fix) from error
    return validated(CheckWords, raw, doing, fix)
