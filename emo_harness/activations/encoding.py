"""Prompts as token ids, and the tokens in which a named span lies.

Tokens are those that lm-eval's Hugging Face models would ask with at their defaults: special tokens
as the tokenizer adds them, and none where a prompt begins with the beginning-of-sequence token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.prefix import Tokens, shared_length

if TYPE_CHECKING:
    import pandas as pd

# Strings handed to the tokenizer together; a fast one works on them with all cores.
AT_A_TIME = 512
SHOWN_CHARS = 80
SPAN_COLUMNS = ("span_first", "span_last")
Offsets = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class EncodedPrompts:
    """A table of prompts, encoded.

    Attributes:
        texts: as given.
        tokens: (n,) token ids of each.
        spans: (n_prompts, 2) int64, the first token of the span and the one after its last; -1
            where a prompt names no span.
    """

    texts: list[str]
    tokens: list[Tokens]
    spans: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def n_tokens(self) -> NDArray[np.int64]:
        """(n_prompts,) tokens of each."""
        return np.array([len(tokens) for tokens in self.tokens], np.int64)

    def distinct_spans(self) -> tuple[list[Tokens], NDArray[np.int64]]:
        """The distinct token sequences of spans, and which of them each prompt has; -1 for none."""
        found: dict[bytes, int] = {}
        sequences: list[Tokens] = []
        ids = np.full(len(self), -1, np.int64)
        for index, (first, after) in enumerate(self.spans.tolist()):
            if first < 0:
                continue
            tokens = self.tokens[index][first:after]
            key = tokens.tobytes()
            if key not in found:
                found[key] = len(sequences)
                sequences.append(tokens)
            ids[index] = found[key]
        return sequences, ids


def encode_prompts(tokenizer: Any, prompts: pd.DataFrame) -> EncodedPrompts:
    """Encode the column `text`, and find the spans that `span_first` and `span_last` name.

    Args:
        tokenizer: a transformers tokenizer.
        prompts: one row per prompt; a span is `text[span_first:span_last]`.

    Raises:
        UserError: no prompts, a text that is none or has no tokens, a span that is not in its text
            or that no token covers.
    """
    texts = _texts(prompts)
    spans = _character_spans(prompts, texts)
    wants_offsets = bool((spans[:, 0] >= 0).any()) and bool(getattr(tokenizer, "is_fast", False))
    tokens: list[Tokens] = []
    token_spans = np.full((len(texts), 2), -1, np.int64)
    for index, (ids, offsets) in enumerate(_encoded(tokenizer, texts, wants_offsets)):
        if not len(ids):
            raise _refused(index, texts[index], "a prompt without tokens", "text in every prompt")
        tokens.append(np.array(ids, np.int32))
        first, last = spans[index].tolist()
        if first < 0:
            continue
        found = (
            _covering(offsets, first, last)
            if offsets is not None
            else _by_prefixes(tokenizer, texts[index], tokens[index], first, last)
        )
        if found is None:
            raise _refused(
                index,
                texts[index],
                f"no tokens that are those of {texts[index][first:last]!r}",
                "a span that the tokenizer's tokens cover",
            )
        token_spans[index] = found
    return EncodedPrompts(texts, tokens, token_spans)


def _texts(prompts: pd.DataFrame) -> list[str]:
    if "text" not in prompts or not len(prompts):
        raise UserError(
            "reading prompts to capture",
            found="no prompts" if "text" in prompts else "a table without the column `text`",
            expected="at least one prompt, as text",
            fix="name a corpus, a file or a run that has prompts",
        )
    texts = list(prompts["text"])
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise _refused(index, repr(text), "a prompt that is no text", "text in every prompt")
    return texts


def _character_spans(prompts: pd.DataFrame, texts: Sequence[str]) -> NDArray[np.int64]:
    """(n_prompts, 2) characters of the spans, -1 where there is none."""
    spans = np.full((len(texts), 2), -1, np.int64)
    if not set(SPAN_COLUMNS) <= set(prompts.columns):
        return spans
    for place, column in enumerate(SPAN_COLUMNS):
        spans[:, place] = prompts[column].astype("Int64").fillna(-1).to_numpy(np.int64)
    for index, (first, last) in enumerate(spans.tolist()):
        if (first, last) != (-1, -1) and not 0 <= first < last <= len(texts[index]):
            raise _refused(
                index,
                texts[index],
                f"a span of characters {first} to {last} in a text of {len(texts[index])}",
                "a span within the text",
            )
    return spans


def _encoded(
    tokenizer: Any, texts: Sequence[str], wants_offsets: bool
) -> Iterator[tuple[list[int], Offsets | None]]:
    """Token ids of each text, and where its tokens lie, in the order given."""
    bos = getattr(tokenizer, "bos_token", None) or ""
    for first in range(0, len(texts), AT_A_TIME):
        some = texts[first : first + AT_A_TIME]
        has_bos = [bool(bos) and text.startswith(bos) for text in some]
        found: list[tuple[list[int], Offsets | None]] = [([], None)] * len(some)
        for group in (False, True):
            members = [i for i, one in enumerate(has_bos) if one is group]
            if not members:
                continue
            kwargs: dict[str, Any] = {"add_special_tokens": False} if group else {}
            encoded = tokenizer(
                [some[i] for i in members],
                truncation=False,
                **kwargs,
                **({"return_offsets_mapping": True} if wants_offsets else {}),
            )
            for place, i in enumerate(members):
                offsets = encoded["offset_mapping"][place] if wants_offsets else None
                found[i] = (encoded["input_ids"][place], offsets)
        yield from found


def _covering(offsets: Iterable[tuple[int, int]], first: int, last: int) -> tuple[int, int] | None:
    """The first token with a character of the span, and the one after the last such token."""
    inside = [
        place
        for place, (start, end) in enumerate(offsets)
        if start < last and end > first and end > start
    ]
    return (inside[0], inside[-1] + 1) if inside else None


def _by_prefixes(
    tokenizer: Any, text: str, tokens: Tokens, first: int, last: int
) -> tuple[int, int] | None:
    """Where a tokenizer tells no offsets: how far the text up to the span's ends is encoded alike.

    A space before the span may be a token of its own or a part of the span's first one.
    """
    ends = set(getattr(tokenizer, "all_special_ids", ()))
    alike: list[int | None] = []
    for part in (text[:first], text[:first].rstrip(" "), text[:last]):
        ids = np.array(next(_encoded(tokenizer, [part], False))[0], np.int32)
        n = shared_length(ids, tokens)
        while n < len(ids) and int(ids[-1]) in ends:
            ids = ids[:-1]
        # Where the last token is another one, it joins what follows.
        alike.append(n if n == len(ids) else None)
    start = alike[0] if alike[0] is not None else alike[1]
    after = alike[2]
    return None if start is None or after is None or start >= after else (start, after)


def shown(text: str) -> str:
    """A prompt for messages: its beginning and end."""
    if len(text) <= SHOWN_CHARS:
        return repr(text)
    half = SHOWN_CHARS // 2
    return repr(f"{text[:half]} ... {text[-half:]}")


def _refused(index: int, text: str, found: str, expected: str) -> UserError:
    return UserError(
        f"reading prompt {index} ({shown(text)})",
        found=found,
        expected=expected,
        fix="correct or leave out this prompt",
    )
