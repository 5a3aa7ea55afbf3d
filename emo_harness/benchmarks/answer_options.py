"""The closed answer set of a question, derived from the question and its data."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LETTERED = re.compile(r"^\(([A-Z])\)", re.MULTILINE)
_LISTED = re.compile(r"^- (.+?)\s*$", re.MULTILINE)


class AnswerOptions:
    """Callable from a document to its options, as lm-eval's `doc_to_choice` wants it.

    A question that lists its options, lettered "(A) ..." or dashed "- Yes", names them itself.
    Where questions list none, the options are the distinct targets of the whole data set.
    """

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        self.targets = sorted({row["target"] for row in rows})

    def __call__(self, doc: dict[str, str]) -> list[str]:
        return listed_options(doc["input"]) or self.targets

    def __repr__(self) -> str:
        return "options listed in the question, else the distinct targets of the data set"


def listed_options(question: str) -> list[str]:
    """The options a question lists after "Options:", in their order; [] where it lists none."""
    _, found, listed = question.rpartition("Options:")
    if not found:
        return []
    letters = _LETTERED.findall(listed)
    return [f"({letter})" for letter in letters] or _LISTED.findall(listed)
