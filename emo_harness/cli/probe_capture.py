"""`emo probe capture`."""

from __future__ import annotations

NAME = "capture"
EXAMPLE = "Example: emo probe capture --help"


def command() -> None:
    """To be written."""
    raise NotImplementedError
