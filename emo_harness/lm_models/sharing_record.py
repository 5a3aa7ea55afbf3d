"""What a run records about how much it shared, and what it could not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class SharingRecord:
    """Counts over a run.

    Attributes:
        naive_tokens: tokens of all prompts, each counted for itself, and what was generated.
        distinct_tokens: tokens of their tries, and what was generated.
        computed_tokens: tokens that passes computed.
        model_s: seconds in the model's forward passes.
        tokenizing_s: seconds in tokenising prompts.
        total_s: seconds from a call with requests to its answers.
        fallback_s: seconds in which `HFLM` answered.
        fallbacks: requests that `HFLM` answered, by reason.
        truncated: packed prompts cut to the context window, by arm.
        halvings: how often memory ran out and limits were halved.
    """

    naive_tokens: int = 0
    distinct_tokens: int = 0
    computed_tokens: int = 0
    model_s: float = 0.0
    tokenizing_s: float = 0.0
    total_s: float = 0.0
    fallback_s: float = 0.0
    fallbacks: Counter[str] = field(default_factory=Counter)
    truncated: Counter[str] = field(default_factory=Counter)
    halvings: int = 0
    _cut: set[tuple[Any, ...]] = field(default_factory=set)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time spent inside to an attribute."""
        started = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.perf_counter() - started)

    def fell_back(self, reason: str, n_requests: int) -> bool:
        """Count requests that `HFLM` answers; whether this reason is new."""
        is_new = reason not in self.fallbacks
        self.fallbacks[reason] += n_requests
        return is_new

    def cut(self, request: Any) -> None:
        """Count the prompt of a request that was cut, once, by the arm it was asked under."""
        arm = getattr(request, "arm", "unknown")
        prompt = (request.task_name, request.doc_id, arm, request.args[0])
        if prompt not in self._cut:
            self._cut.add(prompt)
            self.truncated[arm] += 1

    def as_json(self) -> dict[str, Any]:
        """As the results file keeps it."""
        shared = self.naive_tokens / self.computed_tokens if self.computed_tokens else None
        return {
            "naive_tokens": self.naive_tokens,
            "distinct_tokens": self.distinct_tokens,
            "computed_tokens": self.computed_tokens,
            "sharing_ratio": None if shared is None else round(shared, 3),
            "model_s": round(self.model_s, 3),
            "tokenizing_s": round(self.tokenizing_s, 3),
            "total_s": round(self.total_s, 3),
            "fallback_s": round(self.fallback_s, 3),
            "fallbacks": dict(self.fallbacks),
            "truncated": dict(self.truncated),
            "halvings": self.halvings,
        }
