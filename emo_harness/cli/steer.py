"""`emo steer`: add an axis to a model's activations, and measure what that does."""

from __future__ import annotations

EXAMPLE = "Example: emo steer --help"


def steer() -> None:
    """To be written."""
    raise NotImplementedError
