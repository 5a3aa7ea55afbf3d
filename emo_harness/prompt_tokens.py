"""How many tokens a run's prompts had, and which did not fit the model's context.

Reads the run's own `tokenizer.json` (a local folder, or the hub's local cache; nothing is
downloaded) with the tokenizers library, so no model code is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# lm-eval's Hugging Face models reserve this many tokens where a task names no number.
DEFAULT_GENERATED_TOKENS = 256
# The names under which lm-eval takes that number, in its order.
GENERATED_TOKENS_KEYS = (
    "max_gen_toks",
    "max_new_tokens",
    "max_tokens",
    "max_completion_tokens",
)


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
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(path)), limit.max_length)
        except Exception:  # tokenizers raises nothing narrower for a file it cannot read
            return None

    def truncated(self, arguments: Mapping[str, Mapping[str, Any]], n_arms: int) -> list[bool]:
        """Whether lm-eval had to cut the prompt, arm by arm.

        Args:
            arguments: `arguments` of one logged sample: the requests of all arms in order.
            n_arms: how many arms they belong to; an arm with several requests (answer options)
                counts as truncated if any of them was.
        """
        requests = list(arguments.values())
        per_arm = len(requests) // n_arms
        cut = [self._is_cut(request) for request in requests]
        return [any(cut[i * per_arm : (i + 1) * per_arm]) for i in range(n_arms)]

    def count(self, text: str, special: bool = True) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def _is_cut(self, request: Mapping[str, Any]) -> bool:
        prompt, rest = request["arg_0"], request.get("arg_1")
        if isinstance(rest, Mapping):
            named = [rest[key] for key in GENERATED_TOKENS_KEYS if rest.get(key) is not None]
            reserved = int(named[0]) if named else DEFAULT_GENERATED_TOKENS
            return self._exceeds(prompt, self._max_length - reserved)
        return self._exceeds(prompt + str(rest or ""), self._max_length + 1)

    def _exceeds(self, text: str, room: int) -> bool:
        # No tokenizer makes more tokens than bytes, begin and end marks aside.
        return len(text.encode()) + 2 > room and self.count(text) > room


def tokenizer_file(place: str, revision: str | None = None) -> Path | None:
    """The `tokenizer.json` of a local folder or of the hub's local cache, None if there is none."""
    local = Path(place).expanduser() / "tokenizer.json"
    if local.is_file():
        return local
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(place, "tokenizer.json", revision=revision)
    except HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None
