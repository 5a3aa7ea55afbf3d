"""When `generate_until` has generated enough: lm-eval's and transformers' rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# lm-eval looks this many tokens further back for a stop sequence than the sequence has.
_LOOK_BACK = 2


@dataclass
class StopRule:
    """Whether what was generated is enough: an end token, or a stop sequence in its text.

    A stop sequence is looked for only where a token can have completed one.
    """

    tokenizer: Any
    until: tuple[str, ...]
    end_tokens: frozenset[int]
    _may_complete: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = [
            len(self.tokenizer.encode(stop, add_special_tokens=False)) for stop in self.until
        ]
        self._look_back = max(lengths, default=0) + _LOOK_BACK
        self._last_characters = {stop[-1] for stop in self.until}
        self._tidies = bool(getattr(self.tokenizer, "clean_up_tokenization_spaces", False))

    def __call__(self, generated: list[int]) -> bool:
        last = generated[-1]
        if last in self.end_tokens:
            return True
        if last not in self._may_complete:
            self._may_complete[last] = self._completes(last)
        if not self._may_complete[last]:
            return False
        text = self.tokenizer.decode(generated[-self._look_back :])
        return any(stop in text for stop in self.until)

    def _completes(self, token: int) -> bool:
        """Whether a token's text can hold a stop sequence's last character."""
        text = self.tokenizer.decode([token])
        # Bytes of a character that other tokens complete decode to a replacement character, and a
        # tokenizer that strips or tidies spaces decodes a token alone to less than it stands for.
        unsure = not text or "\ufffd" in text or self._tidies or " " in self._last_characters
        return unsure or any(character in text for character in self._last_characters)
