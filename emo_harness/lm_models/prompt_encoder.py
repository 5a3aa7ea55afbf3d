"""Prompts to token ids exactly as `HFLM` at batch size 1 makes them, many at a time."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from emo_harness.lm_models.encoded import EncodedPair, EncodedPrompt
from emo_harness.prefix import Tokens

# Strings handed to the tokenizer together; it works on them with all cores.
AT_A_TIME = 512
_PARALLELISM = "TOKENIZERS_PARALLELISM"


class PromptEncoder:
    """A tokenizer with lm-eval's rules for the beginning-of-sequence token.

    Args:
        tokenizer: a transformers tokenizer.
        add_bos_token: the model argument of that name.
        prefix_token_id: the token that stands before an empty context.
    """

    def __init__(self, tokenizer: Any, add_bos_token: bool | None, prefix_token_id: int) -> None:
        self.tokenizer = tokenizer
        self.add_bos_token = add_bos_token
        self.prefix_token_id = prefix_token_id
        self._prefix_text = tokenizer.decode(prefix_token_id)

    def pieces(self, strings: Iterable[str]) -> dict[str, list[int]]:
        """Encode contexts and whole prompts of log-likelihood requests."""
        return self._encoded(strings, self._prefix_text, truncation=False)

    def prompts(self, strings: Iterable[str], *, truncation: bool) -> dict[str, list[int]]:
        """Encode prompts that are to be continued."""
        bos = getattr(self.tokenizer, "bos_token", None)
        return self._encoded(strings, bos, truncation=truncation)

    def to_continue(self, strings: Sequence[str], *, truncation: bool) -> list[EncodedPrompt]:
        """Prompts that are to be continued; where `truncation` cuts one, that is told."""
        known = {
            string: EncodedPrompt(as_tokens(ids), is_cut=truncation and self._is_cut(string, ids))
            for string, ids in self.prompts(strings, truncation=truncation).items()
        }
        return [known[string] for string in strings]

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[EncodedPair]:
        """What `TemplateLM.loglikelihood` makes of contexts and options, each string once."""
        strings = []
        for context, option in pairs:
            if context:
                strings += list(texts_of_pair(context, option))
        known = self.pieces(strings)
        return [self._pair(context, option, known) for context, option in pairs]

    def _pair(self, context: str, option: str, known: dict[str, list[int]]) -> EncodedPair:
        if context:
            before, whole = (known[text] for text in texts_of_pair(context, option))
            return EncodedPair(EncodedPrompt(as_tokens(before)), as_tokens(whole[len(before) :]))
        ids = self.tokenizer.encode(option, add_special_tokens=False)
        begins = bool(ids) and ids[0] == self.prefix_token_id
        own = ids[1:] if begins else ids
        return EncodedPair(EncodedPrompt(as_tokens([self.prefix_token_id])), as_tokens(own))

    def _is_cut(self, string: str, ids: Sequence[int]) -> bool:
        if len(ids) < self.tokenizer.model_max_length:
            return False
        return len(self.prompts([string], truncation=False)[string]) > len(ids)

    def _encoded(
        self, strings: Iterable[str], bos_text: str | None, *, truncation: bool
    ) -> dict[str, list[int]]:
        groups: dict[bool | None, list[str]] = defaultdict(list)
        for string in dict.fromkeys(strings):
            has_bos = bos_text is not None and string.startswith(bos_text)
            groups[False if has_bos else self.add_bos_token].append(string)
        found: dict[str, list[int]] = {}
        for special, members in groups.items():
            kwargs: dict[str, Any] = {} if special is None else {"add_special_tokens": special}
            for first in range(0, len(members), AT_A_TIME):
                some = members[first : first + AT_A_TIME]
                with on_all_cores():
                    ids = self.tokenizer(some, truncation=truncation, **kwargs)["input_ids"]
                found.update(zip(some, ids, strict=True))
        return found


def texts_of_pair(context: str, option: str) -> tuple[str, str]:
    """What is tokenised of a pair: its context without spaces at its end, and the whole.

    lm-eval counts these spaces to the option, whose tokens are those of the whole that follow as
    many as the context has.
    """
    return context.rstrip(), context + option


@contextmanager
def on_all_cores() -> Iterator[None]:
    """Let the tokenizer use threads, which lm-eval turns off for the sake of forked processes."""
    before = os.environ.get(_PARALLELISM)
    os.environ[_PARALLELISM] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARALLELISM]
        else:
            os.environ[_PARALLELISM] = before


def as_tokens(ids: Sequence[int]) -> Tokens:
    return np.array(ids, dtype=np.int32)
