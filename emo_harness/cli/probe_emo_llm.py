"""`emo probe emo-llm`."""

from __future__ import annotations

NAME = "emo-llm"
EXAMPLE = "Example: emo probe emo-llm --help"


def command() -> None:
    """To be written."""
    raise NotImplementedError
