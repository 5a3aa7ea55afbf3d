"""Layers on the command line."""

from __future__ import annotations


def layers_of(text: str | None) -> list[int] | None:
    """Layers such as "0,3,6-11"; None for "all", or where nothing is said.

    Raises:
        UserError: anything else.
    """
    from emo_harness.steer.spec import read_layers

    return None if text is None or text.strip().lower() in ("", "all") else list(read_layers(text))
