"""What a model is asked about an image: valence and arousal, each from 1 to 9.

The two scales are those on which affective images are rated by people: pleasure and arousal in
nine steps (Bradley and Lang 1994, J. Behav. Ther. Exp. Psychiatry 25, 49).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dimension = Literal["valence", "arousal"]
LOWEST, HIGHEST = 1, 9
RATINGS = tuple(range(LOWEST, HIGHEST + 1))


@dataclass(frozen=True)
class RatingQuestion:
    """One question; `text` names both ends of the scale."""

    dimension: Dimension
    text: str

    def prompt(self, *, in_chat: bool) -> str:
        """What stands behind the image; outside a chat with a cue to answer."""
        return self.text if in_chat else f"{self.text}\nAnswer:"


VALENCE = RatingQuestion(
    "valence",
    "How pleasant or unpleasant is the feeling that this picture conveys? "
    "Answer with one number from 1 (very unpleasant) to 9 (very pleasant).",
)
AROUSAL = RatingQuestion(
    "arousal",
    "How calm or exciting is the feeling that this picture conveys? "
    "Answer with one number from 1 (very calm) to 9 (very exciting).",
)
QUESTIONS = (VALENCE, AROUSAL)
