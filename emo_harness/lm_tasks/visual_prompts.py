"""Where an image stands in a prompt: pure functions on templates, texts and chat messages.

lm-eval's multimodal models take the text "<image>" for the place of an image, and put their own
tokens there; in chat they make an entry of the message of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_harness import placement
from emo_harness.errors import UserError

PLACEHOLDER = "<image>"
Question = str | Callable[[Mapping[str, Any]], str]


def before(prompt: str) -> str:
    """Put the image on a line of its own at the very start of a rendered prompt."""
    return placement.prefix(prompt, PLACEHOLDER)


def before_last_turn(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Put the image at the start of the last message of the user's, which asks the question."""
    last = max(i for i, message in enumerate(messages) if message["role"] == "user")
    return [
        {**message, "content": before(message["content"])} if i == last else message
        for i, message in enumerate(messages)
    ]


def followed(question: Question, line: str) -> Question:
    """Put a line of its own after the question, before the answer cue.

    Args:
        question: a Jinja template, or a function that renders the question and has no answer cue.
    """
    if isinstance(question, str):
        return placement.suffix(question, line)
    return Followed(question, line)


@dataclass(frozen=True)
class Followed:
    """A question that a function renders, and a line after it."""

    question: Callable[[Mapping[str, Any]], str]
    line: str

    def __call__(self, doc: Mapping[str, Any]) -> str:
        return f"{self.question(doc)}\n{self.line}"


@dataclass(frozen=True)
class ImageInChat:
    """A model's chat template that is given the image's place, and the number of places counted.

    Attributes:
        chat_template: the model's.
        first: whether the image is still to be put before the question.
        n_expected: how many images the request has.
        asked: what is asked, for messages.
    """

    chat_template: Callable[..., str]
    first: bool
    n_expected: int
    asked: str

    def __call__(self, messages: Sequence[dict[str, str]], **kwargs: Any) -> str:
        placed = before_last_turn(messages) if self.first else list(messages)
        # In an order of its own, since models change the messages.
        require_places("".join(m["content"] for m in placed), self.n_expected, self.asked)
        return self.chat_template(placed, **kwargs)


def require_places(text: str, n_expected: int, asked: str) -> None:
    """Refuse a text in which not every "<image>" is the place of an image.

    Raises:
        UserError: a question or a stimulus holds the word itself.
    """
    found = text.count(PLACEHOLDER)
    if found != n_expected:
        raise UserError(
            f"rendering {asked}",
            found=f"{PLACEHOLDER!r} {found} times in a prompt with {n_expected} "
            f"{'image' if n_expected == 1 else 'images'}",
            expected=f"{PLACEHOLDER!r} where an image goes and nowhere else, since models take "
            "the word for its place",
            fix="leave the question out with --samples, or write the word otherwise",
        )
