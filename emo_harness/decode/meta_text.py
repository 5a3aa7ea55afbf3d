"""Meta text: from ranked tokens to one line of text that can be a stimulus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emo_harness.decode.vocabulary import Token, Vocabulary
from emo_harness.stimuli import MAX_TEXT_CHARACTERS

# Tokens without anything to see, special ones and control characters never stand in a text; half
# characters do under `show`, as the sign that stands for them.
Unprintable = Literal["skip", "show"]
# Of equal words nearly every order reads the same; so often another one is looked for.
_SHUFFLES = 100


@dataclass(frozen=True)
class MetaText:
    """A text made of decoded tokens.

    Attributes:
        text: one line; empty where no token could stand in it.
        tokens: of the text, in its order.
        places: of each token, where it was ranked: (position, rank).
        survives: whether the tokenizer gives it back from the text.
    """

    text: str
    tokens: tuple[Token, ...]
    places: tuple[tuple[int, int], ...]
    survives: tuple[bool, ...]

    @property
    def lost(self) -> tuple[int, ...]:
        """Ordinals of the tokens that the tokenizer does not give back."""
        return tuple(i for i, survives in enumerate(self.survives) if not survives)


def best_tokens_text(
    ranked: Sequence[int], length: int, vocabulary: Vocabulary, unprintable: Unprintable
) -> MetaText:
    """The text of one vector's best tokens, best first.

    Args:
        ranked: token ids, best first.
        length: tokens of the text, as far as there are so many that may stand in it.
    """
    chosen: list[tuple[int, int]] = []
    for rank in range(len(ranked)):
        if len(chosen) == length:
            break
        _try(chosen, [ranked], 0, rank, vocabulary, unprintable)
    return _text([ranked], chosen, vocabulary)


def position_text(
    ranked: Sequence[Sequence[int]], vocabulary: Vocabulary, unprintable: Unprintable
) -> MetaText:
    """The text of each position's best token that may stand in it.

    Args:
        ranked: by position, token ids, best first.
    """
    chosen: list[tuple[int, int]] = []
    for position, ids in enumerate(ranked):
        for rank in range(len(ids)):
            if _try(chosen, ranked, position, rank, vocabulary, unprintable):
                break
    return _text(ranked, chosen, vocabulary)


def shuffled_text(
    text: MetaText, vocabulary: Vocabulary, rng: np.random.Generator
) -> MetaText | None:
    """The text with its words in another order; None where there is no other.

    Words are what white space separates. A text of one word, as tokens inside of words make it,
    has its tokens put into another order instead.
    """
    single = [[place] for place in range(len(text.tokens))]
    for pieces, between in ((_words(text), " "), (single, "")):
        for _ in range(_SHUFFLES if len(pieces) > 1 else 0):
            order = [pieces[i] for i in rng.permutation(len(pieces)).tolist()]
            found = _rebuilt(text, order, between, vocabulary)
            if found.text not in ("", text.text) and vocabulary.is_clean(found.text):
                return found
    return None


def _words(text: MetaText) -> list[list[int]]:
    """Ordinals of the tokens of each word."""
    words: list[list[int]] = []
    closed = True
    for place, token in enumerate(text.tokens):
        if closed or token.text[:1].isspace():
            words.append([])
        words[-1].append(place)
        closed = token.text[-1:].isspace()
    return words


def _rebuilt(
    text: MetaText, pieces: Sequence[Sequence[int]], between: str, vocabulary: Vocabulary
) -> MetaText:
    """The text of pieces, each the ordinals of its tokens, with something between them."""
    order = [place for piece in pieces for place in piece]
    ids = [text.tokens[place].id for place in order]
    if between:
        words = (vocabulary.text([text.tokens[i].id for i in piece]) for piece in pieces)
        written = between.join(words)
    else:
        written = vocabulary.text(ids)
    return MetaText(
        written,
        tuple(text.tokens[place] for place in order),
        tuple(text.places[place] for place in order),
        tuple(vocabulary.survivors(ids, written)),
    )


def _try(
    chosen: list[tuple[int, int]],
    ranked: Sequence[Sequence[int]],
    position: int,
    rank: int,
    vocabulary: Vocabulary,
    unprintable: Unprintable,
) -> bool:
    """Add a token if it, and the text with it, can be a stimulus's."""
    token = vocabulary.token(int(ranked[position][rank]))
    if token.special or not token.visible or not (token.whole or unprintable == "show"):
        return False
    ids = [int(ranked[p][r]) for p, r in chosen] + [token.id]
    text = vocabulary.text(ids)
    if len(text) > MAX_TEXT_CHARACTERS or not vocabulary.is_clean(text):
        return False
    chosen.append((position, rank))
    return True


def _text(
    ranked: Sequence[Sequence[int]], chosen: Sequence[tuple[int, int]], vocabulary: Vocabulary
) -> MetaText:
    ids = [int(ranked[position][rank]) for position, rank in chosen]
    text = vocabulary.text(ids) if ids else ""
    survives = vocabulary.survivors(ids, text) if ids else []
    return MetaText(text, tuple(vocabulary.token(i) for i in ids), tuple(chosen), tuple(survives))
