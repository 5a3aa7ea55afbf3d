"""The one user-facing error type, and how it is shown.

A mistake that a user can make raises `UserError`. Our command line catches it once; under bare
`lm_eval`, whose command line is not ours, `show_user_errors` makes the interpreter's exception
hook print the same short block and leave with the same exit code.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from types import TracebackType

EXIT_CODE = 2


class UserError(Exception):
    """A mistake of the user's, told in four parts.

    Args:
        doing: what was being done, e.g. "reading the stimulus set my.yaml".
        found: what was found.
        expected: what was expected instead.
        fix: what to do next.
    """

    def __init__(self, doing: str, *, found: str, expected: str, fix: str) -> None:
        super().__init__(doing, found, expected, fix)
        self.doing = doing
        self.found = found
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        return (
            f"error: {self.doing}\n"
            f"  found:    {self.found}\n"
            f"  expected: {self.expected}\n"
            f"  do:       {self.fix}"
        )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return " (nearest: 'x')" for the known word most like `word`, or "" if none is close."""
    likeness = {k: difflib.SequenceMatcher(None, k, word).ratio() for k in sorted(known)}
    best = max(likeness, key=likeness.__getitem__, default="")
    return f" (nearest: {best!r})" if likeness.get(best, 0) >= 0.5 else ""


def quoted(words: Iterable[str], limit: int = 8) -> str:
    """Join words for a message, cutting a long list."""
    listed = list(words)
    shown = ", ".join(listed[:limit])
    return shown if len(listed) <= limit else f"{shown} and {len(listed) - limit} more"


def first_line(error: BaseException) -> str:
    """Of a library's message, which may be pages long; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def show_user_errors() -> None:
    """Make an uncaught `UserError` end in its block and exit code 2; leave all else as it was."""
    previous = sys.excepthook
    if getattr(previous, "_shows_user_errors", False):
        return

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, UserError):
            print(error, file=sys.stderr)
            # A SystemExit raised inside the hook becomes the interpreter's exit code.
            raise SystemExit(EXIT_CODE)
        previous(kind, error, traceback)

    hook._shows_user_errors = True  # type: ignore[attr-defined]
    sys.excepthook = hook
