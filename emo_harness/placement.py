"""Where a stimulus goes in a prompt: pure functions on templates, texts and chat messages.

lm-eval renders a prompt from two Jinja templates (the task's description and its question), a
system instruction and, in chat, a list of messages. A placement changes one of these and leaves
the rendering to lm-eval, so that an arm differs from its control by the stimulus alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal, get_args

from emo_harness.errors import UserError

Placement = Literal["suffix", "instruction", "prefix", "system"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)

# What stands between a stimulus and its neighbours, recorded with every run.
SEPARATORS: dict[Placement, str] = {
    "suffix": "\n",
    "instruction": " ",
    "prefix": "\n",
    "system": "\n\n",
}

_LAST_EXPRESSION = re.compile(r".*(?:\}\}|%\})", re.DOTALL)


def literal(text: str) -> str:
    """A Jinja expression that renders to exactly `text`, whatever braces it holds."""
    return "{{ " + json.dumps(text, ensure_ascii=False) + " }}"


def suffix(question: str, text: str) -> str:
    """Put the stimulus on its own line between the question and the answer cue.

    Args:
        question: Jinja template, e.g. "Q: {{input}}\\nA:". What follows its last expression is
            the answer cue.
    """
    match = _LAST_EXPRESSION.match(question)
    asked = match.group() if match else question
    cue = question[len(asked) :]
    gap = "" if not cue or cue.startswith("\n") else "\n"
    return f"{asked}\n{literal(text)}{gap}{cue}"


def instruction(description: str, text: str, task: str) -> str:
    """Put the stimulus after the task's description, one space apart, before its blank line.

    Raises:
        UserError: the task has no description.
    """
    words = description.rstrip()
    if not words:
        raise UserError(
            f"placing a stimulus at `instruction` in {task}",
            found="a task without a description",
            expected="a description that the stimulus can follow",
            fix="use the placement suffix or prefix",
        )
    return f"{words} {literal(text)}{description[len(words) :].lstrip(' ')}"


def prefix(prompt: str, text: str) -> str:
    """Put the stimulus on a line of its own at the very start of a rendered prompt."""
    return f"{text}\n{prompt}"


def prefix_messages(messages: Sequence[dict[str, str]], text: str) -> list[dict[str, str]]:
    """Put the stimulus on a line of its own at the start of the first chat message."""
    first, *rest = messages
    return [{**first, "content": prefix(first["content"], text)}, *rest]


def system(instruction_text: str | None, text: str) -> str:
    """Append the stimulus to the system instruction as its own paragraph, or be all of it."""
    return f"{instruction_text}\n\n{text}" if instruction_text else text
