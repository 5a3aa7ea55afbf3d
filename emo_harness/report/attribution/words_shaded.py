"""Words shaded: the pieces of a prompt as runs of a picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from emo_harness.report.attribution.methods import known
from emo_harness.report.attribution.numbers import Method, Piece
from emo_harness.report.attribution.scale import ShadeScale
from emo_harness.report.blocks import ShadedRun, ShadedWord
from emo_harness.report.numerals import counted
from emo_harness.report.plain_text import shortened

PIECE_CHARS = 160
STOPS = ("3", "4")
WORDS = ("stimulus", "prompt")
ADDED = "special token"


def shaded_runs(
    pieces: Sequence[Piece], stretches: Sequence[slice], method: Method, scale: ShadeScale
) -> list[ShadedRun]:
    """The stretches of a prompt as runs; what lies between is counted and added up."""
    roles = _roles(pieces)
    runs: list[ShadedRun] = []
    shown = 0
    for stretch in [*stretches, slice(len(pieces), len(pieces))]:
        if stretch.start > shown:
            runs.append(_left_out(pieces[shown : stretch.start], method, scale))
        places = range(stretch.start, stretch.stop)
        for mark, group in itertools.groupby(places, key=lambda place: roles[place]):
            words = (_word(pieces[place], method, scale) for place in group)
            runs.append(ShadedRun(list(_joined(words)), mark))
        shown = stretch.stop
    return runs


def piece_text(piece: Piece) -> str:
    """What is shown of a piece; a special token that stands in no text has a name."""
    return shortened(piece.text, PIECE_CHARS) or (ADDED if piece.role == "special" else "")


def word_scores(
    pieces: Sequence[Piece], method: Method, roles: Sequence[str] = WORDS
) -> list[float]:
    """The known scores of words; spaces and special tokens are none."""
    scores = (known(piece.scores.get(method)) for piece in pieces if piece.role in roles)
    return [score for score in scores if not math.isnan(score)]


def _roles(pieces: Sequence[Piece]) -> list[str]:
    """What each piece is marked as: space between two words of a stimulus belongs to it."""
    marks = {"stimulus": "stimulus", "special": "special"}
    roles = [marks.get(piece.role, "") for piece in pieces]
    last = -1
    for place, piece in enumerate(pieces):
        if piece.role == "space":
            continue
        if piece.role == "stimulus" and last >= 0 and roles[last] == "stimulus":
            roles[last + 1 : place] = ["stimulus"] * (place - last - 1)
        last = place
    return roles


def _word(piece: Piece, method: Method, scale: ShadeScale) -> ShadedWord:
    text = piece_text(piece)
    score = known(piece.scores.get(method))
    if math.isnan(score) or piece.role == "space":
        return ShadedWord(text)
    shade = scale.shade(score)
    stops = shade.endswith(STOPS) or (piece.role == "stimulus" and shade != "")
    return ShadedWord(text, shade, scale.told(score), stops)


def _joined(words: Iterator[ShadedWord]) -> Iterator[ShadedWord]:
    """Neighbours that tell no number as one."""
    for silent, group in itertools.groupby(words, key=lambda word: not word.value):
        if silent:
            yield ShadedWord("".join(word.text for word in group))
        else:
            yield from group


def _left_out(pieces: Sequence[Piece], method: Method, scale: ShadeScale) -> ShadedRun:
    n_words = sum(piece.role in WORDS for piece in pieces)
    there = word_scores(pieces, method)
    together = f", together {scale.told(sum(there))}" if there else ""
    return ShadedRun([ShadedWord(f" [… {counted(n_words, 'word')}{together} …] ")], "left-out")
