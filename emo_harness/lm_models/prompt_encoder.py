"""Prompts to token ids exactly as `HFLM` at batch size 1 makes them, many at a time."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

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
        self._prefix_text = tokenizer.decode(prefix_token_id)

    def pieces(self, strings: Iterable[str]) -> dict[str, list[int]]:
        """Encode contexts and whole prompts of log-likelihood requests."""
        return self._encoded(strings, self._prefix_text, truncation=False)

    def prompts(self, strings: Iterable[str], *, truncation: bool) -> dict[str, list[int]]:
        """Encode prompts that are to be continued."""
        bos = getattr(self.tokenizer, "bos_token", None)
        return self._encoded(strings, bos, truncation=truncation)

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
                with _on_all_cores():
                    ids = self.tokenizer(some, truncation=truncation, **kwargs)["input_ids"]
                found.update(zip(some, ids, strict=True))
        return found


@contextmanager
def _on_all_cores() -> Iterator[None]:
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
