"""`emo probe fit`."""

from __future__ import annotations

NAME = "fit"
EXAMPLE = "Example: emo probe fit --help"


def command() -> None:
    """To be written."""
    raise NotImplementedError
