"""`emo attribute`: which words of a stimulus move the answers of a run."""

from __future__ import annotations

EXAMPLE = "Example: emo attribute runs/ && emo report runs/ --out report/"


def attribute() -> None:
    """Not built yet."""
