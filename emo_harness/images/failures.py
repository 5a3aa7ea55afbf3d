"""Images that came out wrong: how they are known, and what is written down of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, ValidationError

from emo_harness.validation import Strict
from emo_harness.whole_file import text_writer, write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAILURES = "failures.jsonl"
# In levels of 0 to 255; a share of the pixels at either end is left out, for single hot pixels.
BLACK_LEVEL = 8
CONSTANT_RANGE = 4
ENDS_PERCENT = 0.1

NOT_FINITE = "pixels that are not finite numbers"
SAFETY = "the safety checker's verdict"
BLACK = "a black frame"
CONSTANT = "an image of one colour"
PIPELINE_FAILED = "the pipeline failed"
PIPELINE_REFUSED = "the pipeline refused"


class Failure(Strict):
    """One attempt at an image that failed.

    Attributes:
        id: of the image.
        attempt: from 0.
        seed: of the attempt.
        reason: in words.
    """

    id: str
    attempt: int = Field(ge=0)
    seed: int
    reason: str


def why_failed(levels: NDArray[np.uint8]) -> str | None:
    """Why pixels are no image; None where they are one.

    With `ENDS_PERCENT` of the pixels left out at either end, a black frame nowhere exceeds
    `BLACK_LEVEL`, and an image of one colour varies by at most `CONSTANT_RANGE` in each channel.

    Args:
        levels: (height, width, 3), 0 to 255.
    """
    ends = [_ends(levels[..., channel]) for channel in range(levels.shape[-1])]
    if max(high for _, high in ends) <= BLACK_LEVEL:
        return BLACK
    if max(high - low for low, high in ends) <= CONSTANT_RANGE:
        return CONSTANT
    return None


def record_failure(folder: Path, failure: Failure) -> None:
    """Add one line to the folder's failures, by one system call, from any process."""
    line = (json.dumps(failure.model_dump(), ensure_ascii=False) + "\n").encode()
    handle = os.open(folder / FAILURES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def read_failures(folder: Path) -> list[Failure]:
    """The failures of a folder; a line that broke off is left out, and its attempt made again."""
    try:
        lines = (folder / FAILURES).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in filter(None, lines):
        try:
            found.append(Failure.model_validate_json(line))
        except ValidationError:
            continue
    return found


def tidy_failures(folder: Path, order: Mapping[str, int], failures: Iterable[Failure]) -> None:
    """Write the failures anew, whole: each once, in the order of the images."""
    once = {(one.id, one.attempt): one for one in failures if one.id in order}
    kept = sorted(once.values(), key=lambda one: (order[one.id], one.attempt))
    path = folder / FAILURES
    if not kept:
        path.unlink(missing_ok=True)
        return
    lines = "".join(json.dumps(one.model_dump(), ensure_ascii=False) + "\n" for one in kept)
    if not path.is_file() or path.read_bytes() != lines.encode():
        write_whole(path, text_writer(lines))


def _ends(levels: NDArray[np.uint8]) -> tuple[int, int]:
    """The lowest and the highest level of a channel, `ENDS_PERCENT` at either end left out."""
    up_to = np.bincount(levels.ravel(), minlength=256).cumsum()
    outside = levels.size * ENDS_PERCENT / 100
    low = np.searchsorted(up_to, outside, side="right")
    high = np.searchsorted(up_to, levels.size - outside, side="left")
    return int(low), int(high)
