"""How many tokens a run's prompts had, and which did not fit the model's context.

Reads the run's own `tokenizer.json` (a local folder, or the hub's local cache; nothing is
downloaded) with the tokenizers library, so no model code is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from emo_harness.resources import embedded_model

# lm-eval's Hugging Face models reserve this many tokens where a task names no number.
DEFAULT_GENERATED_TOKENS = 256
# The names under which lm-eval takes that number, in its order.
GENERATED_TOKENS_KEYS = (
    "max_gen_toks",
    "max_new_tokens",
    "max_tokens",
    "max_completion_tokens",
)
# More tokens than a sentence put into a prompt can add beyond its own bytes, or take away, by
# parting words around it.
_PARTED_TOKENS = 64
# The tokenizers library needs 200 times a text's size: of longer texts only a prefix is encoded.
PREFIX_CHARS = 20_000
# A prefix of so many times the room is more than the room in most languages.
_CHARS_PER_TOKEN = 6


@dataclass(frozen=True)
class PromptLimit:
    """What a run says about its context: the tokenizer's place and the window in tokens."""

    tokenizer: str
    max_length: int
    revision: str | None = None

    @classmethod
    def of_run(cls, config: Mapping[str, Any], max_length: object) -> PromptLimit | None:
        """From the `config` of lm-eval's results; None where it does not tell (an API model)."""
        model_args = config.get("model_args")
        if isinstance(model_args, str):
            pairs = (part.split("=", 1) for part in model_args.split(",") if "=" in part)
            model_args = dict(pairs)
        if not isinstance(model_args, Mapping) or not isinstance(max_length, int):
            return None
        named = {**config, **model_args}
        place = named.get("tokenizer") or named.get("pretrained")
        revision = named.get("revision")
        return cls(str(place), max_length, str(revision) if revision else None) if place else None


class PromptTokens:
    """Counts tokens of prompts and tells which were truncated."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length

    @classmethod
    def for_limit(cls, limit: PromptLimit | None) -> PromptTokens | None:
        """None where the tokenizer cannot be had without a download."""
        path = tokenizer_file(limit.tokenizer, limit.revision) if limit else None
        if limit is None or path is None:
            return None
        tokenizer = _tokenizer(path, path.stat().st_mtime_ns)
        return cls(tokenizer, limit.max_length) if tokenizer else None

    def truncated(self, requests: Sequence[tuple[str, object]], n_arms: int) -> list[bool]:
        """Whether lm-eval had to cut the prompt, arm by arm.

        Args:
            requests: (prompt, generation arguments or option) of one question, the requests of
                all arms in order.
            n_arms: how many arms they belong to; an arm with several requests (answer options)
                counts as truncated if any of them was.
        """
        per_arm = len(requests) // n_arms
        counted: list[tuple[int, int]] = []
        cut = [self._is_cut(prompt, rest, counted) for prompt, rest in requests]
        return [any(cut[i * per_arm : (i + 1) * per_arm]) for i in range(n_arms)]

    def count(self, text: str, special: bool = True) -> int:
        """Exact, and about as slow and large as the text; see `about`."""
        return len(self._tokenizer.encode(_encodable(text), add_special_tokens=special).ids)

    def about(self, text: str) -> float:
        """As `count` up to 20,000 characters; scaled up from these where there are more."""
        if len(text) <= PREFIX_CHARS:
            return self.count(text)
        return self.count(text[:PREFIX_CHARS]) * len(text) / PREFIX_CHARS

    def _is_cut(self, prompt: str, rest: object, counted: list[tuple[int, int]]) -> bool:
        if isinstance(rest, Mapping):
            named = [rest[key] for key in GENERATED_TOKENS_KEYS if rest.get(key) is not None]
            reserved = int(named[0]) if named else DEFAULT_GENERATED_TOKENS
            return self._exceeds(prompt, self._max_length - reserved, counted)
        return self._exceeds(prompt + str(rest or ""), self._max_length + 1, counted)

    def _exceeds(self, text: str, room: int, counted: list[tuple[int, int]]) -> bool:
        """Whether a text has more tokens than there is room for; counts only where unsure.

        `counted` holds (bytes, tokens) of the question's first counted prompt. The question's
        other prompts differ from it by an inserted sentence, so they have no fewer tokens and at
        most as many more as bytes, but for a few where the insertion parts a word.
        """
        # No tokenizer makes more tokens than bytes, begin and end marks aside.
        if 4 * len(text) + 2 <= room:
            return False
        n_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if n_bytes + 2 <= room:
            return False
        for bytes_before, tokens_before in counted:
            inserted = n_bytes - bytes_before
            if tokens_before + max(inserted, 0) + _PARTED_TOKENS <= room:
                return False
            if inserted >= 0 and tokens_before - _PARTED_TOKENS > room:
                return True
        n_tokens = self._enough_tokens(text, room)
        if not counted:
            counted.append((n_bytes, n_tokens))
        return n_tokens > room

    def _enough_tokens(self, text: str, room: int) -> int:
        """A text's tokens; fewer, but more than there is room for, where a prefix has as many."""
        n_chars = max(PREFIX_CHARS, _CHARS_PER_TOKEN * room)
        while n_chars < len(text):
            # Where a prefix ends it may part a word, and so have tokens that the text has not.
            n_tokens = self.count(text[:n_chars]) - _PARTED_TOKENS
            if n_tokens > room:
                return n_tokens
            n_chars *= 2
        return self.count(text)


@lru_cache(maxsize=4)
def _tokenizer(path: Path, mtime_ns: int) -> Any:
    """The tokenizer in a file of this age; None where it cannot be read."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception:  # tokenizers raises nothing narrower for a file it cannot read
        return None


def _encodable(text: str) -> str:
    """Without lone surrogates, which JSON may hold and UTF-8 may not."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def tokenizer_file(place: str, revision: str | None = None) -> Path | None:
    """The `tokenizer.json` of a folder, an embedded model or the hub's local cache, or None."""
    local = Path(embedded_model(place)).expanduser() / "tokenizer.json"
    if local.is_file():
        return local
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(place, "tokenizer.json", revision=revision)
    except HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None
