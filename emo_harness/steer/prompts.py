"""Prompts to steer: plain ones, and pairs of opposite classes beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from emo_harness.errors import UserError
from emo_harness.validation import Strict, validated

if TYPE_CHECKING:
    import pandas as pd

MAX_FILE_BYTES = 50_000_000
POLES = {"positive": 1, "negative": -1, "neutral": 0}


class PromptLine(Strict):
    """One line of a JSON lines file of prompts.

    Attributes:
        text: the prompt.
        class_: whether it is of the high class, of the low class, or of none.
        group: what belongs together; continuations of a group's classes are scored after its
            neutral prompt, where it has one.
    """

    text: Annotated[str, Field(min_length=1)]
    class_: Literal["positive", "negative", "neutral"] = Field(default="neutral", alias="class")
    group: str | int | None = None


@dataclass(frozen=True)
class SteeredPrompt:
    """A prompt.

    Attributes:
        text: without spaces at its end, since the next token brings its own.
        pole: 1 of the high class, -1 of the low class, 0 of none.
        group: what belongs together.
    """

    text: str
    pole: int
    group: str


def read_prompts(path: Path) -> list[SteeredPrompt]:
    """Read prompts: one a line in a text file, or JSON lines with `text`, `class` and `group`.

    Raises:
        UserError: no such file, no prompts, a line that breaks the format.
    """
    doing = f"reading the prompts {path.name}"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES:,} bytes")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(
            doing,
            found=getattr(error, "strerror", None) or str(error)[:100],
            expected="a UTF-8 file, .txt or .jsonl",
            fix="name such a file",
        ) from error
    is_json = path.suffix.lower() in (".jsonl", ".json")
    found = [
        _of_line(line, number, f"{doing}, line {number}") if is_json else _plain(line, number)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not found:
        raise UserError(
            doing, found="no prompts", expected="one prompt a line", fix="write some prompts"
        )
    return found


def prompts_of_corpus(
    table: pd.DataFrame, dimension: str, n: int, seed: int
) -> list[SteeredPrompt]:
    """Sentences without negation: each template with a neutral, a high and a low word.

    Args:
        table: a corpus' prompts.
        dimension: the column with the words' poles.
        n: how many templates; all where there are fewer.
        seed: decides templates and words.

    Raises:
        UserError: the corpus has no words of both poles for the dimension.
    """
    poles = table.get(dimension)
    plain = table[~table["negation"].astype(bool)]
    if poles is None or not {-1, 1} <= set(poles.dropna()):
        raise UserError(
            f"choosing prompts for {dimension!r}",
            found=f"no words of both poles of {dimension!r} in the corpus",
            expected="a high and a low pole",
            fix="give prompts of your own: --prompts FILE.jsonl with `text` and `class`",
        )
    rng = np.random.default_rng([seed, 3])
    templates = plain["template"].unique()
    chosen = sorted(rng.permutation(templates)[:n].tolist())
    found = []
    for template in chosen:
        rows = plain[plain["template"] == template]
        for pole in (0, 1, -1):
            texts = rows.loc[(rows[dimension] == pole).fillna(False), "text"].tolist()
            if texts:
                text = texts[int(rng.integers(len(texts)))]
                found.append(SteeredPrompt(text.rstrip(), pole, f"template {template}"))
    return found


def starts(prompts: Sequence[SteeredPrompt]) -> list[int]:
    """Places of the prompts whose next token is looked at: the neutral ones, else all."""
    neutral = [place for place, one in enumerate(prompts) if one.pole == 0]
    return neutral or list(range(len(prompts)))


def start_of(prompts: Sequence[SteeredPrompt]) -> list[int]:
    """For each prompt, after which one its continuations are scored.

    Those of a class come after the neutral prompt of their group, so that both classes have one
    beginning and differ in nothing but the continuation; where there is none, after their own.
    """
    neutral = {one.group: place for place, one in enumerate(prompts) if one.pole == 0}
    return [
        neutral.get(one.group, place) if one.pole else place for place, one in enumerate(prompts)
    ]


def _plain(line: str, number: int) -> SteeredPrompt:
    return SteeredPrompt(line.rstrip(), 0, f"line {number}")


def _of_line(line: str, number: int, doing: str) -> SteeredPrompt:
    fix = 'e.g. {"text": "After the news, Ann", "class": "neutral", "group": 1}'
    try:
        raw: Any = json.loads(line)
    except ValueError as error:
        raise UserError(doing, found="no JSON", expected="a JSON object a line", fix=fix) from error
    one = validated(PromptLine, raw, doing, fix)
    if not one.text.strip():
        raise UserError(doing, found="an empty text", expected="a prompt", fix=fix)
    group = f"line {number}" if one.group is None else str(one.group)
    return SteeredPrompt(one.text.rstrip(), POLES[one.class_], group)
