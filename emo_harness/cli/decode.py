"""`emo decode`: what a stimulus set means inside a model, as a meta prompt."""

from __future__ import annotations

EXAMPLE = "Example: emo decode prompt attack --model emo-demo --out decoded/"


def decode() -> None:
    """Not built yet."""
