"""`emo probe plot`."""

from __future__ import annotations

NAME = "plot"
EXAMPLE = "Example: emo probe plot --help"


def command() -> None:
    """To be written."""
    raise NotImplementedError
