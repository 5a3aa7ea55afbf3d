"""Vocabulary: a tokenizer's tokens as text, and which of them may stand in a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# What a tokenizer shows in place of bytes that are half of a character.
REPLACEMENT = "\ufffd"
_CONTROL = ("Cc", "Cs", "Zl", "Zp")
# Joiners that emoji and several scripts need; all else that is never seen hides or reorders text.
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes:
        id: its number.
        text: as it reads behind another token: a word's first token begins with a space.
        special: it means something to the model or its tokenizer beyond its characters.
        whole: no part of it is half of a character.
        visible: it has something to see, and nothing that controls, hides or reorders text.
    """

    id: int
    text: str
    special: bool
    whole: bool
    visible: bool

    @property
    def printable(self) -> bool:
        return self.whole and self.visible


class Vocabulary:
    """The tokens of one tokenizer.

    Args:
        tokenizer: a transformers tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: dict[int, Token] = {}
        self._special = dict(_special_tokens(tokenizer))
        # What stands before a token when its text is asked for.
        self._anchor = list(tokenizer("a", add_special_tokens=False).input_ids)[-1:]
        self._anchor_text = self._decoded(self._anchor)

    def token(self, token_id: int) -> Token:
        """One token; without text where the tokenizer does not know the number."""
        if token_id not in self._tokens:
            self._tokens[token_id] = self._read(token_id)
        return self._tokens[token_id]

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens in their order, without white space around it."""
        return self._decoded(ids).strip()

    def is_clean(self, text: str) -> bool:
        """Whether a text has no control characters, and nothing that reads as a special token."""
        has_special = any(content in text for content in self._special.values() if content)
        return not has_special and _is_harmless(text)

    def survivors(self, ids: Sequence[int], text: str) -> list[bool]:
        """Which of a text's tokens the tokenizer gives back from it, in their order.

        These are a longest common subsequence of the tokens and of those that the text has when
        it is read again, without the special tokens that surround a prompt.
        """
        again = list(self._tokenizer(text, add_special_tokens=False).input_ids)
        return _in_common(list(ids), again)

    def _read(self, token_id: int) -> Token:
        text = ""
        if 0 <= token_id < len(self._tokenizer):
            behind = self._decoded([*self._anchor, token_id])
            if behind.startswith(self._anchor_text):
                text = behind[len(self._anchor_text) :]
            else:
                text = self._decoded([token_id])
        return Token(
            id=token_id,
            text=text,
            special=token_id in self._special,
            whole=REPLACEMENT not in text,
            visible=_is_harmless(text) and any(_is_seen(c) for c in text),
        )

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text


def _special_tokens(tokenizer: Any) -> Iterable[tuple[int, str]]:
    """Ids and contents of special tokens, and of added ones that are written like them."""
    yield from zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    for token_id, added in getattr(tokenizer, "added_tokens_decoder", {}).items():
        content = str(added).strip()
        is_markup = len(content) > 2 and content[0] + content[-1] in ("<>", "[]")
        if added.special or is_markup:
            yield int(token_id), content


def _is_harmless(text: str) -> bool:
    """Whether nothing in a text controls, hides or reorders it."""
    for character in text:
        category = unicodedata.category(character)
        if category in _CONTROL or (category == "Cf" and character not in _JOINERS):
            return False
    return True


def _is_seen(character: str) -> bool:
    return unicodedata.category(character)[0] not in "ZC"


def _in_common(one: Sequence[int], other: Sequence[int]) -> list[bool]:
    """Which items of the first are in a longest common subsequence of the two."""
    longest = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) - 1, -1, -1):
        for j in range(len(other) - 1, -1, -1):
            longest[i][j] = (
                longest[i + 1][j + 1] + 1
                if one[i] == other[j]
                else max(longest[i + 1][j], longest[i][j + 1])
            )
    found = [False] * len(one)
    i = j = 0
    while i < len(one) and j < len(other):
        if one[i] == other[j]:
            found[i] = True
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    return found
