"""`emo probe evaluate`."""

from __future__ import annotations

NAME = "evaluate"
EXAMPLE = "Example: emo probe evaluate --help"


def command() -> None:
    """To be written."""
    raise NotImplementedError
