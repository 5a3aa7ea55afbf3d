"""`emo probe corpus`."""

from __future__ import annotations

NAME = "corpus"
EXAMPLE = "Example: emo probe corpus --help"


def command() -> None:
    """To be written."""
    raise NotImplementedError
