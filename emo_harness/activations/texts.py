"""A user's own prompts: a text file, or JSON lines with spans and facts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from emo_harness.errors import UserError

# Under which of these a line's text stands.
TEXT_KEYS = ("text", "prompt")


def read_texts(path: Path) -> pd.DataFrame:
    """Read prompts from a file.

    A `.jsonl` file holds one object per line: `text` (or `prompt`), and if wanted `span` (words of
    the text that occur once in it), or `span_first` and `span_last` (characters); everything else
    is a fact. Any other file holds one prompt per line; empty lines are left out.

    Returns:
        The table that `capture` takes.

    Raises:
        UserError: no such file, no prompts, a line that is no object or has no text, or a span that
            is not in its text, or more than once.
    """
    doing = f"reading prompts from {path}"
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            doing,
            found=getattr(error, "strerror", None) or str(error),
            expected="a text file in UTF-8, or JSON lines",
            fix="check the path",
        ) from error
    lines = [line for line in content.split("\n") if line.strip()]
    if not lines:
        raise UserError(
            doing,
            found="no prompts",
            expected="at least one line",
            fix="put one prompt on each line",
        )
    if path.suffix != ".jsonl":
        return pd.DataFrame({"text": [line.rstrip("\r") for line in lines]})
    rows = [_row(line, f"{doing}, prompt {n}") for n, line in enumerate(lines)]
    table = pd.DataFrame(rows)
    for name in ("span_first", "span_last"):
        if name in table:
            table[name] = table[name].astype("Int64")
    return table


def texts_facts(path: Path) -> dict[str, Any]:
    """What a store's manifest tells of prompts from a file."""
    return {
        "kind": "texts",
        "description": f"prompts of {path.name}",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _row(line: str, doing: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise _refused(doing, f"no JSON ({error})", "one object per line") from error
    if not isinstance(found, dict):
        raise _refused(doing, f"{type(found).__name__}, no object", "one object per line")
    key = next((key for key in TEXT_KEYS if key in found), None)
    if key is None or not isinstance(found[key], str):
        raise _refused(doing, "no text", "a string under `text`")
    row = {"text": found.pop(key), **found}
    if "span" in row:
        row["span_first"], row["span_last"] = _span(row, doing)
    for name in ("span_first", "span_last"):
        if not isinstance(row.get(name, 0), (int, type(None))) or isinstance(row.get(name), bool):
            raise _refused(doing, f"{name} = {row[name]!r}", "a number of characters")
    if ("span_first" in row) != ("span_last" in row):
        raise _refused(doing, "one of span_first and span_last", "both or none")
    return row


def _span(row: Mapping[str, Any], doing: str) -> tuple[int, int]:
    span, text = row["span"], row["text"]
    if not isinstance(span, str) or not span:
        raise _refused(doing, f"span = {span!r}", "words of the text")
    times = text.count(span)
    if times != 1:
        told = f"{times} times" if times else "not"
        raise _refused(
            doing,
            f"the span {span!r}, which is {told} in {text!r}",
            "a span that occurs once; span_first and span_last name any other",
        )
    return text.index(span), text.index(span) + len(span)


def _refused(doing: str, found: str, expected: str) -> UserError:
    return UserError(doing, found=found, expected=expected, fix="correct this line")
