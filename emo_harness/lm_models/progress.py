"""The progress of a sweep, in tokens and questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from tqdm import tqdm


class Progress:
    """A bar that advances with tokens, whose total is known before anything is computed.

    Args:
        requests: lm-eval's requests; those of one document are one question.
        name: of the model that answers.
        disable: show nothing.
    """

    def __init__(self, requests: Sequence[Any], *, name: str, disable: bool) -> None:
        self._name = name
        self._open = Counter(_question(request) for request in requests)
        self._n_questions = len(self._open)
        # Shown when the first tokens are expected.
        self._bar = tqdm(unit="tok", unit_scale=True, disable=True)
        self._disable = disable

    def expect(self, n_tokens: int) -> None:
        """There are more tokens to compute, or fewer."""
        if self._bar.disable and not self._disable:
            self._bar = tqdm(total=n_tokens, desc=self._told(), unit="tok", unit_scale=True)
        elif not self._disable:
            self._bar.total += n_tokens
            self._bar.refresh()

    def computed(self, n_tokens: int) -> None:
        """A pass has computed tokens."""
        self._bar.update(n_tokens)

    def answered(self, request: Any) -> None:
        """A request has its answer."""
        question = _question(request)
        self._open[question] -= 1
        if not self._open[question]:
            del self._open[question]
            self._bar.set_description(self._told(), refresh=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def _told(self) -> str:
        done = self._n_questions - len(self._open)
        return f"{self._name}: {done:,} of {self._n_questions:,} questions"


def _question(request: Any) -> tuple[Any, Any]:
    return request.task_name, request.doc_id
