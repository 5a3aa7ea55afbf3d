"""Verdict words: how a verdict is set, so that sign and colour say the same everywhere."""

from __future__ import annotations

NO_DIFFERENCE = "no difference"
SIGNS = {"up": "▲", "down": "▼", "same": "=", "open": "?"}


def tone(verdict: str) -> str:
    """`up`, `down`, `same`, or `open` for what is undecided or unknown."""
    if verdict.startswith("raises"):
        return "up"
    if verdict.startswith("lowers"):
        return "down"
    return "same" if verdict.startswith(NO_DIFFERENCE) else "open"


def bounds_tone(low: float, high: float) -> str:
    """`up` or `down` where an interval leaves zero out, else `quiet`."""
    if low > 0:
        return "up"
    return "down" if high < 0 else "quiet"
