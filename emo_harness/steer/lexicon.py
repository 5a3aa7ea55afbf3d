"""The value of a text, by a lexicon of words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def text_value(text: str, lexicon: Mapping[str, float]) -> float:
    """The mean value of the words that the lexicon knows; NaN where it knows none.

    Args:
        lexicon: by lower-case word.

    Example:
        >>> text_value("Happy, happy and sad.", {"happy": 2.0, "sad": -1.0})
        1.0
    """
    words = (word.lower().replace("’", "'") for word in _WORD.findall(text))
    values = [lexicon[word] for word in words if word in lexicon]
    return sum(values) / len(values) if values else math.nan
