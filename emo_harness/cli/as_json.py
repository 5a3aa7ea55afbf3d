"""Numbers for scripts: what is unknown becomes null."""

from __future__ import annotations

import math
from collections.abc import Mapping


def known(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields with NaN as None, at any depth."""
    return {key: _known(value) for key, value in fields.items()}


def _known(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return known(value)
    return value
