"""`emo probe questionnaire`."""

from __future__ import annotations

NAME = "questionnaire"
EXAMPLE = "Example: emo probe questionnaire --help"


def command() -> None:
    """To be written."""
    raise NotImplementedError
