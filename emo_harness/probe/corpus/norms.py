"""Norms: what people say about words, as continuous targets.

Formats are recognised by their header, or by the shape of their rows where they have none:

- warriner: columns Word, V.Mean.Sum, A.Mean.Sum, D.Mean.Sum; 1 to 9 (Warriner, Kuperman and
  Brysbaert, 2013).
- nrc-vad: word, valence, arousal, dominance between tabs, with or without header; 0 to 1 (Mohammad,
  2018). nrc-vad-2: the same under the header term, valence, ...; -1 to 1 (Mohammad, 2025).
- glasgow: two header rows, words and VAL, AROU, DOM over M, SD, N; 1 to 9 (Scott, Keitel,
  Becirspahic, Yao and Sereno, 2019).
- vader: word, mean, sd, [ratings] between tabs, no header; -4 to 4 (Hutto and Gilbert, 2014).
- plain: columns `word` and one per dimension, between commas, semicolons or tabs; the scale is from
  the lowest value to the highest.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, quoted
from emo_harness.probe.corpus.files import file_sha256
from emo_harness.text_file import read_text

FIX = "docs/probing-corpus.md shows the formats of norms"
_WORD_HEADINGS = ("word", "words", "term")
_WARRINER = {"valence": "v.mean.sum", "arousal": "a.mean.sum", "dominance": "d.mean.sum"}
_GLASGOW = {"valence": "val", "arousal": "arou", "dominance": "dom"}
_VAD = ("valence", "arousal", "dominance")
_MISSING = frozenset(("", "na", "nan", "null", "-", "."))
Row = list[str]


@dataclass(frozen=True)
class Norms:
    """One dimension of a file of norms.

    Attributes:
        name: the file's name.
        layout: which format it was read as.
        dimension: e.g. "valence".
        values: by word, in the file's own unit.
        scale: the unit's lowest and highest value.
        repeated: words that the file has several times; they have the mean of their values.
        sha256: of the file.
    """

    name: str
    layout: str
    dimension: str
    values: Mapping[str, float]
    scale: tuple[float, float]
    repeated: tuple[str, ...]
    sha256: str

    def of(self, words: Iterable[str]) -> NDArray[np.float64]:
        """(n_words,) their values; NaN for a word that the norms do not have.

        A word is looked up as it is, then in lower case.
        """
        found = (self.values.get(w, self.values.get(w.lower(), math.nan)) for w in words)
        return np.fromiter(found, dtype=np.float64)

    def signed(self, words: Iterable[str]) -> NDArray[np.float64]:
        """(n_words,) values from -1, the scale's low end, to +1: 2 (v - low) / (high - low) - 1.

        Denying a word turns the sign of its signed value.
        """
        low, high = self.scale
        return 2 * (self.of(words) - low) / (high - low) - 1


def load_norms(path: str | Path, dimension: str) -> Norms:
    """Read one dimension of a file of norms.

    Raises:
        UserError: no such file, an unknown format, no such dimension, a value that is no number or
            outside the scale, or no two different values.
    """
    path = Path(path)
    doing = f"reading {dimension} norms from {path.name}"
    rows = _rows(read_text(path, doing), doing)
    layout, named, body, scale = _layout(rows, doing)
    if dimension not in named or dimension == "word":
        raise UserError(
            doing,
            found=f"norms in the {layout} format without {dimension}",
            expected=f"a dimension among {quoted(name for name in named if name != 'word')}",
            fix="name another dimension or file",
        )
    given = _given(rows[body:], body + 1, (named["word"], named[dimension]), scale, doing)
    values = {word: fmean(several) for word, several in given.items()}
    lowest, highest = min(values.values()), max(values.values())
    if lowest == highest:
        raise UserError(
            doing, found="one and the same value throughout", expected="values that differ", fix=FIX
        )
    return Norms(
        name=path.name,
        layout=layout,
        dimension=dimension,
        values=values,
        scale=scale or (lowest, highest),
        repeated=tuple(word for word, several in given.items() if len(several) > 1),
        sha256=file_sha256(path),
    )


Layout = tuple[str, dict[str, int], int, "tuple[float, float] | None"]


def _layout(rows: Sequence[Row], doing: str) -> Layout:
    """Its name, the column of each dimension and of "word", the first row of values, the scale."""
    head = [cell.strip().lower() for cell in rows[0]]
    for recognised in (_glasgow, _with_header, _without_header):
        layout = recognised(rows, head)
        if layout is not None:
            return layout
    raise UserError(
        doing,
        found=f"a first row {quoted([repr(cell[:20]) for cell in rows[0]], 5)}",
        expected="norms of Warriner, NRC-VAD, Glasgow or VADER, or columns `word` and `valence`",
        fix=FIX,
    )


def _glasgow(rows: Sequence[Row], head: Row) -> Layout | None:
    if len(rows) < 2 or head[0] not in _WORD_HEADINGS:
        return None
    below = [cell.strip().lower() for cell in rows[1]]
    if below.count("m") < 1 or below[0] not in ("", *_WORD_HEADINGS):
        return None
    named = {"word": 0}
    for dimension, heading in _GLASGOW.items():
        # A heading stands over its first column, the mean; merged cells leave the others empty.
        places = [p for p, cell in enumerate(head) if cell == heading and below[p : p + 1] == ["m"]]
        if places:
            named[dimension] = places[0]
    return ("glasgow", named, 2, (1.0, 9.0)) if len(named) > 1 else None


def _with_header(rows: Sequence[Row], head: Row) -> Layout | None:
    places: dict[str, int] = {}
    for place, cell in enumerate(head):
        places.setdefault(cell, place)
    word = next((places[name] for name in _WORD_HEADINGS if name in places), None)
    if word is None:
        return None
    warriner = {d: places[name] for d, name in _WARRINER.items() if name in places}
    if warriner:
        return "warriner", {"word": word, **warriner}, 1, (1.0, 9.0)
    named = {name: place for name, place in places.items() if name and place != word}
    if not named:
        return None
    if head[:4] == ["word", *_VAD] and len(head) == 4 and _within(rows[1:], 0.0):
        return "nrc-vad", {"word": word, **named}, 1, (0.0, 1.0)
    if head[:4] == ["term", *_VAD] and _within(rows[1:], -1.0):
        return "nrc-vad-2", {"word": word, **named}, 1, (-1.0, 1.0)
    return "plain", {**named, "word": word}, 1, None


def _without_header(rows: Sequence[Row], head: Row) -> Layout | None:
    if len(head) != 4:
        return None
    if head[3].startswith("[") and _number(head[1]) is not None:
        return "vader", {"word": 0, "valence": 1}, 0, (-4.0, 4.0)
    if _within(rows, 0.0):
        return "nrc-vad", {"word": 0} | {d: n for n, d in enumerate(_VAD, start=1)}, 0, (0.0, 1.0)
    return None


def _within(rows: Sequence[Row], low: float) -> bool:
    numbers = [_number(cell) for row in rows for cell in row[1:4]]
    return bool(numbers) and all(n is not None and low <= n <= 1 for n in numbers)


def _given(
    rows: Sequence[Row],
    first_row: int,
    columns: tuple[int, int],
    scale: tuple[float, float] | None,
    doing: str,
) -> dict[str, list[float]]:
    given: dict[str, list[float]] = {}
    for number, row in enumerate(rows, start=first_row):
        word, cell = (row[place].strip() if place < len(row) else "" for place in columns)
        if not word or cell.lower() in _MISSING:
            continue
        value = _number(cell)
        if value is None or (scale and not scale[0] <= value <= scale[1]):
            raise UserError(
                f"{doing}, row {number}",
                found=f"{cell[:40]!r} for {word[:40]!r}",
                expected="a number" + (f" from {scale[0]:g} to {scale[1]:g}" if scale else ""),
                fix=FIX,
            )
        given.setdefault(word, []).append(value)
    if not given:
        raise UserError(doing, found="no word with a value", expected="at least one", fix=FIX)
    return given


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _rows(text: str, doing: str) -> list[Row]:
    text = text.lstrip("\r\n")
    if not text.strip():
        raise UserError(doing, found="an empty file", expected="a table of words", fix=FIX)
    start = text.splitlines()[0]
    if "\t" in start:
        # Quotation marks belong to the words there (emoticons), they do not quote.
        return [line.split("\t") for line in text.splitlines()]
    separator = max(",;", key=start.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise UserError(doing, found=f"{error}", expected="a CSV file", fix=FIX) from error
