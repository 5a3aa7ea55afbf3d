"""`emo probe apply`."""

from __future__ import annotations

NAME = "apply"
EXAMPLE = "Example: emo probe apply --help"


def command() -> None:
    """To be written."""
    raise NotImplementedError
