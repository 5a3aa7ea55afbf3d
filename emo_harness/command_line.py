"""The command line of a process, written so that it may be shown: without secrets."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

HIDDEN = "***"
# Names that end so hold secrets; `max_tokens`, `tokenizer` and the like do not.
_NAME = (
    r"[\w.-]*?(?:api[_-]?key|token|pass(?:word|wd)?|secret|secret[_-]?key|access[_-]?key|"
    r"credentials?|authorization)"
)
# Model arguments of lm-eval that name a token of a vocabulary.
_ABOUT_TOKENS = ("add_bos_token", "bos_token", "eos_token", "pad_token", "think_end_token")
_FLAG = re.compile(rf"--?{_NAME}", re.IGNORECASE)
_IN_TEXT = (
    # key=value, up to the comma or space before the next
    (re.compile(rf"(?<![\w.-])(--?)?({_NAME})=([^,\s]+)", re.IGNORECASE), rf"\1\2={HIDDEN}"),
    # "key": "value", and as Python writes it
    (
        re.compile(
            rf"""(["'])({_NAME})\1(\s*:\s*)("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s,}}\]"']+)""",
            re.IGNORECASE,
        ),
        rf'\1\2\1\3"{HIDDEN}"',
    ),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"://[^/\s:@]*:[^/\s@]+@"), f"://{HIDDEN}@"),
    # What Hugging Face, OpenAI, Anthropic and GitHub call their keys, whatever they stand under.
    (re.compile(r"\b(?:hf_|sk-|gh[pousr]_|github_pat_)[\w-]{16,}"), HIDDEN),
)


def command_line(arguments: Sequence[str] | None = None) -> str:
    """The process's own command as one would type it.

    Args:
        arguments: as `sys.argv`, which is the default. The program is told by its name alone.
    """
    program, *rest = sys.argv if arguments is None else arguments
    path = Path(program)
    # `python -m lm_eval` runs .../lm_eval/__main__.py
    name = path.parent.name if path.name == "__main__.py" else path.name
    shown: list[str] = []
    hides_next = False
    for argument in rest:
        is_value = hides_next and not argument.startswith("--")
        shown.append(HIDDEN if is_value else without_secrets(argument))
        hides_next = _FLAG.fullmatch(argument) is not None
    text = shlex.join([name, *shown])
    return text.encode("utf-8", "replace").decode("utf-8")


def is_secret(name: str) -> bool:
    """Whether what stands under this name must not be shown: `api_key`, `token`, `password`."""
    return name not in _ABOUT_TOKENS and _FLAG.fullmatch(f"--{name}") is not None


def without_secrets(text: str) -> str:
    """Any text with what looks like a secret blotted out."""
    for pattern, instead in _IN_TEXT:
        text = pattern.sub(instead, text)
    return text
