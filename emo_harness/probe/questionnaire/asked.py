"""Questionnaires: system prompts, questions with ordered answers, and how they are put.

A system prompt is characterised by what a model would answer under it. Each question may be put in
two modes: `answers` scores the text of every answer after the question; `letters` lists the answers
with letters and scores the letters, in one or several orders of the answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal, TypeVar

import numpy as np

from emo_harness.errors import UserError
from emo_harness.text_file import read_text
from emo_harness.validation import Strict, validated

Mode = Literal["answers", "letters"]
MODES: tuple[Mode, ...] = ("answers", "letters")
CUE = "Answer: ("
One = TypeVar("One", bound=Strict)


class SystemPrompt(Strict):
    """What a model is told of itself.

    Attributes:
        id: unique in its file.
        prompt: its text.
        tag: the kind it belongs to, e.g. "high valence".
    """

    id: int | str
    prompt: str
    tag: str = ""


class Question(Strict):
    """A question with its answers, in order: the first answer has the highest value."""

    id: int | str
    question: str
    answers: list[str]


@dataclass(frozen=True)
class Asked:
    """One answer's score is asked of the model.

    Attributes:
        prompt: number of the system prompt, -1 for none: the baseline of PMI.
        question, answer: numbers.
        order: number of the order in which the answers were listed; 0 in mode `answers`.
        context, continuation: what is scored.
    """

    prompt: int
    question: int
    answer: int
    order: int
    context: str
    continuation: str


def load_prompts(path: Path) -> list[SystemPrompt]:
    """Read system prompts, one JSON object a line: id, prompt, tag.

    Raises:
        UserError: a file that cannot be read, a wrong line, an id twice, no prompt.
    """
    return _load(path, SystemPrompt, "system prompts")


def load_questions(path: Path) -> list[Question]:
    """Read questions, one JSON object a line: id, question, answers (two or more).

    Raises:
        UserError: see `load_prompts`; or a question with one answer, or one answer twice.
    """
    found = _load(path, Question, "questions")
    for one in found:
        distinct = {answer.strip() for answer in one.answers}
        if len(distinct) != len(one.answers) or "" in distinct or len(distinct) < 2:
            raise UserError(
                f"reading questions from {path}",
                found=f"the answers {one.answers} of question {one.id!r}",
                expected="two or more different answers, none of them empty",
                fix=f"mend question {one.id!r}",
            )
        if len(one.answers) > len(ascii_uppercase):
            raise UserError(
                f"reading questions from {path}",
                found=f"{len(one.answers)} answers of question {one.id!r}",
                expected=f"at most {len(ascii_uppercase)}, a letter for each",
                fix=f"shorten question {one.id!r}",
            )
    return found


def orders_of(n_answers: int, n_orders: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Different orders of answers: as given, reversed, then drawn; at most n_answers! of them."""
    given = tuple(range(n_answers))
    chosen = [given, given[::-1]][:n_orders]
    if n_orders >= math.factorial(min(n_answers, 12)):
        return [given, *(order for order in permutations(given) if order != given)]
    while len(chosen) < n_orders:
        drawn = tuple(int(i) for i in rng.permutation(n_answers))
        if drawn not in chosen:
            chosen.append(drawn)
    return chosen


class Rendering:
    """How system prompt and question become one text; with a chat template where one is given.

    Where the template has no place for a system prompt, it is the beginning of what the user says.

    Args:
        chat_template: messages to text, ending where the model answers; None puts one after the
            other.
    """

    def __init__(self, chat_template: Any = None) -> None:
        self._chat_template = chat_template

    def __call__(self, prompt: str, asked: str) -> str:
        if self._chat_template is None:
            return prompt + asked
        user = {"role": "user", "content": asked.strip()}
        if not prompt:
            return str(self._chat_template([user]))
        system = {"role": "system", "content": prompt.strip()}
        text = str(self._chat_template([system, user]))
        if prompt.strip() in text:
            return text
        # Some templates have no place for a system prompt, and lm-eval then leaves it out.
        told = {"role": "user", "content": f"{prompt.strip()}\n\n{asked.strip()}"}
        return str(self._chat_template([told]))


def asked_of(
    prompts: Sequence[SystemPrompt],
    questions: Sequence[Question],
    *,
    mode: Mode = "answers",
    n_orders: int = 1,
    rendering: Rendering,
    rng: np.random.Generator,
) -> tuple[list[Asked], list[list[tuple[int, ...]]]]:
    """Everything that is asked: under every system prompt, and under none.

    Returns:
        What is asked, and by question the orders of its answers.
    """
    orders = [
        orders_of(len(q.answers), n_orders if mode == "letters" else 1, rng) for q in questions
    ]
    texts = [(-1, ""), *((number, one.prompt) for number, one in enumerate(prompts))]
    asked = [
        one
        for number, text in texts
        for place, question in enumerate(questions)
        for one in _asked(number, text, place, question, mode, orders[place], rendering)
    ]
    return asked, orders


def _asked(
    number: int,
    text: str,
    place: int,
    question: Question,
    mode: Mode,
    orders: Sequence[tuple[int, ...]],
    rendering: Rendering,
) -> Iterator[Asked]:
    if mode == "answers":
        context = rendering(text, question.question)
        for answer, words in enumerate(question.answers):
            yield Asked(number, place, answer, 0, context, words)
        return
    for order_number, order in enumerate(orders):
        listed = "\n".join(
            f"({letter}) {question.answers[answer].strip()}"
            for letter, answer in zip(ascii_uppercase, order, strict=False)
        )
        context = rendering(text, f"{question.question.rstrip()}\n{listed}\n")
        for letter, answer in zip(ascii_uppercase, order, strict=False):
            yield Asked(number, place, answer, order_number, context + CUE, letter)


def _load(path: Path, kind: type[One], what: str) -> list[One]:
    doing = f"reading {what} from {path}"
    fix = f"give a file of one JSON object a line with the keys {', '.join(kind.model_fields)}"
    lines = read_text(path, doing).splitlines()
    found: list[One] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
        except ValueError as error:
            told = f"line {number} is no JSON ({error})"
            raise UserError(doing, found=told, expected="JSON lines", fix=fix) from error
        found.append(validated(kind, raw, f"{doing}, line {number}", fix))
    ids = [one.id for one in found]  # type: ignore[attr-defined]
    repeated = sorted({str(i) for i in ids if ids.count(i) > 1})
    if repeated or not found:
        raise UserError(
            doing,
            found=f"the id {repeated[0]!r} twice" if repeated else "nothing",
            expected="one or more lines, each with an id of its own",
            fix=fix,
        )
    return found
