"""Pieces: a prompt as words, spaces and special tokens, and what its tokens' scores say of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emo_harness.prefix import shared_length
from emo_harness.runs.stimulus_span import Span

Role = Literal["stimulus", "prompt", "special", "space"]
WORD_ROLES: tuple[Role, ...] = ("stimulus", "prompt")
Floats = NDArray[np.float64]
# Scripts that put no spaces between words are cut at every character; punctuation stays with the
# character before it.
_UNSPACED = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_PARTS = re.compile(rf"\s+|[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")
_EDGES = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True)
class Piece:
    """A part of a prompt that is one thing to a reader.

    Attributes:
        text: the prompt's characters `first` to `after`; "" for special tokens that the tokenizer
            adds before or after the prompt.
        role: a word of the `stimulus`, a word of the rest of the `prompt`, a `special` token, or
            the `space` between.
    """

    text: str
    first: int
    after: int
    role: Role

    @property
    def is_word(self) -> bool:
        return self.role in WORD_ROLES


@dataclass(frozen=True, eq=False)
class PromptPieces:
    """A prompt in pieces.

    Attributes:
        pieces: their texts, joined, are the prompt.
        places: (n_tokens,) int64, the piece that each token of the prompt belongs to.
    """

    pieces: tuple[Piece, ...]
    places: NDArray[np.int64]

    @cached_property
    def words(self) -> NDArray[np.int64]:
        """(n_words,) which pieces are words, in order."""
        return np.array([i for i, one in enumerate(self.pieces) if one.is_word], np.int64)

    @cached_property
    def of_stimulus(self) -> NDArray[np.bool_]:
        """(n_words,) which words are the stimulus's."""
        return np.array([self.pieces[i].role == "stimulus" for i in self.words], np.bool_)

    def sums(self, scores: Floats) -> Floats:
        """Scores of tokens, summed over each piece's.

        Args:
            scores: (n_tokens,), in whatever unit.

        Returns:
            (n_pieces,) NaN where a piece has no token of its own. Their sum is that of `scores`.
        """
        found = np.zeros(len(self.pieces))
        np.add.at(found, self.places, scores)
        found[np.bincount(self.places, minlength=len(self.pieces)) == 0] = np.nan
        return found


def pieces_of(
    tokenizer: Any, text: str, ids: Sequence[int], stimulus: Span | None = None
) -> PromptPieces:
    """Cut a prompt, and tell which piece each of its tokens belongs to.

    A token belongs to the piece that has most of its characters that are no spaces; a token of
    spaces alone to the piece that has most of these.

    Args:
        tokenizer: a transformers tokenizer, fast or slow.
        text: the prompt; characters at its end that no token covers belong to the answer (lm-eval
            moves spaces there).
        ids: its tokens, special ones that the tokenizer adds included.
        stimulus: which characters are the stimulus.
    """
    special_ids = set(getattr(tokenizer, "all_special_ids", ()))
    parts = cut(text, _special_texts(tokenizer), stimulus)
    offsets = _offsets(tokenizer, text, ids)
    if offsets is not None:
        places = _by_offsets(offsets, ids, special_ids, parts)
    else:
        places = _by_beginnings(tokenizer, text, ids, special_ids, parts)
    # Tokens before the first character and behind the last have pieces of their own.
    before, behind = (places == -1).any(), (places == len(parts)).any()
    pieces = [*parts]
    if before:
        pieces = [Piece("", 0, 0, "special"), *pieces]
        places = places + 1
    if behind:
        pieces = [*pieces, Piece("", len(text), len(text), "special")]
    return PromptPieces(tuple(pieces), places)


def cut(text: str, special: Sequence[str] = (), stimulus: Span | None = None) -> list[Piece]:
    """Cut a text into words, spaces and special tokens; punctuation stays with its word.

    Args:
        special: texts of special tokens, each a piece of its own where the text has it.
        stimulus: characters whose words are the stimulus's.
    """
    first, after = stimulus or (0, 0)
    bounds = sorted({0, first, after, len(text)})
    pieces = []
    for start, end in itertools.pairwise(bounds):
        role: Role = "stimulus" if first <= start < after else "prompt"
        for at, part, is_special in _parted(text[start:end], special):
            kind: Role = "special" if is_special else "space" if part.isspace() else role
            pieces.append(Piece(part, start + at, start + at + len(part), kind))
    return pieces


def plain_word(word: str) -> str:
    """A word as it is counted: lower case, without punctuation around it."""
    return _EDGES.sub("", word.lower()) or word


def _parted(text: str, special: Sequence[str]) -> Iterator[tuple[int, str, bool]]:
    """(where, what, whether it is a special token)."""
    at = 0
    marks = "|".join(map(re.escape, sorted(special, key=len, reverse=True)))
    for number, part in enumerate(re.split(f"({marks})", text) if marks else [text]):
        if number % 2:
            yield at, part, True
        else:
            for match in _PARTS.finditer(part):
                yield at + match.start(), match.group(), False
        at += len(part)


def _special_texts(tokenizer: Any) -> list[str]:
    listed = set(getattr(tokenizer, "all_special_tokens", ()))
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    listed |= {token.content for token in added if getattr(token, "special", False)}
    return [text for text in listed if text]


def _offsets(tokenizer: Any, text: str, ids: Sequence[int]) -> list[Span] | None:
    """Where each token's characters are; None where the tokenizer does not tell, or not of these.

    Whether special tokens were added is seen from the tokens.
    """
    if not getattr(tokenizer, "is_fast", False):
        return None
    for kwargs in ({}, {"add_special_tokens": False}, {"add_special_tokens": True}):
        encoded = tokenizer(text, truncation=False, return_offsets_mapping=True, **kwargs)
        if list(encoded["input_ids"]) == list(ids):
            return [(int(first), int(after)) for first, after in encoded["offset_mapping"]]
    return None


def _by_offsets(
    offsets: Sequence[Span], ids: Sequence[int], special_ids: set[int], parts: Sequence[Piece]
) -> NDArray[np.int64]:
    """(n_tokens,) piece of each; -1 and len(parts): special, before the text and behind it."""
    ends = np.array([part.after for part in parts], np.int64)
    covers = [after > first for first, after in offsets]
    last = max((i for i, covering in enumerate(covers) if covering), default=-1)
    places = np.full(len(ids), -1, np.int64)
    waiting: list[int] = []
    current = -1
    for i, (first, after) in enumerate(offsets):
        if covers[i]:
            current = _most_of(parts, ends, first, after)
            places[i] = current
            places[waiting] = current
            waiting = []
        elif i > last:
            places[i] = len(parts) if ids[i] in special_ids or current < 0 else current
        elif current >= 0:
            places[i] = current
        elif ids[i] not in special_ids:
            # A mark for the space that a tokenizer thinks before the first word.
            waiting.append(i)
    return places


def _most_of(parts: Sequence[Piece], ends: NDArray[np.int64], first: int, after: int) -> int:
    """The piece with most of these characters, spaces counting only among themselves."""
    start = int(np.searchsorted(ends, first, side="right"))
    counted = []
    for place in range(start, len(parts)):
        part = parts[place]
        if part.first >= after:
            break
        n_chars = min(part.after, after) - max(part.first, first)
        counted.append((part.role != "space", n_chars, -place))
    return -max(counted)[2] if counted else len(parts) - 1


def _by_beginnings(
    tokenizer: Any, text: str, ids: Sequence[int], special_ids: set[int], parts: Sequence[Piece]
) -> NDArray[np.int64]:
    """As `_by_offsets`, for a tokenizer that tells no offsets.

    A token belongs to the first piece up to whose end the text, encoded by itself, begins with the
    tokens up to this one: a token that is another one there joins what follows.
    """
    tokens = np.array(ids, np.int32)
    n_before = 0
    while n_before < len(ids) and ids[n_before] in special_ids and not _starts(parts, "special"):
        n_before += 1
    n_behind = 0
    while n_behind < len(ids) - n_before and ids[len(ids) - 1 - n_behind] in special_ids:
        if parts and parts[-1].role == "special":
            break
        n_behind += 1
    has_added = n_before + n_behind > 0
    places = np.full(len(ids), len(parts) - 1, np.int64)
    n_placed = 0
    for place, part in enumerate(parts):
        begun = np.array(
            tokenizer.encode(text[: part.after], add_special_tokens=has_added), np.int32
        )
        begun = begun[: len(begun) - n_behind] if n_behind else begun
        n_alike = shared_length(begun, tokens)
        if n_alike > n_placed:
            places[n_placed:n_alike] = place
            n_placed = n_alike
    places[:n_before] = -1
    places[len(ids) - n_behind :] = len(parts)
    return places


def _starts(parts: Sequence[Piece], role: Role) -> bool:
    return bool(parts) and parts[0].role == role
