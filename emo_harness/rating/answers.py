"""The rating that an answer names, told apart from the scale that it repeats."""

from __future__ import annotations

import re

from emo_harness.rating.questions import HIGHEST, LOWEST

NAN = float("nan")
_NUMBER = re.compile(r"(?<![\d.,])(?:(?<![\w)])-)?\d+(?:[.,]\d+)*")
_ASIDE = r"\s*(?:\([^()]*\)\s*)?"
_TO = r"(?:-|\u2013|\u2014|\.{2,3}|\u2026|to|through|until|and)"
_ENDS = (rf"{LOWEST}{_ASIDE}{_TO}\s*{HIGHEST}", rf"{HIGHEST}{_ASIDE}{_TO}\s*{LOWEST}")
# "from 1 (very unpleasant) to 9 (very pleasant)", "1-9", "1 .. 9", "between 1 and 9".
_RANGE = re.compile(rf"(?<![\d.,])(?:{'|'.join(_ENDS)})(?!\d|[.,]\d){_ASIDE}", re.IGNORECASE)
# "out of 9", "9-point"; and behind a number "/9" and "of 9".
_SIZE = re.compile(
    rf"(?:\bout\s+of\s+|(?<=\d)\s*/\s*|(?<=\d)\s+of\s+){HIGHEST}(?!\d|[.,]\d)"
    rf"|(?<![\d.,]){HIGHEST}[\s-]points?\b",
    re.IGNORECASE,
)
# "9 = very pleasant"; and, where both ends have one, "9: very pleasant", "9 being very pleasant".
_DEFINED = re.compile(r"\s*=\s*[^\W\d]")
_DESCRIBED = re.compile(
    r"\s*(?:[:(]\s*[^\W\d]|(?:is|being|means|the|very|most|least|lowest|highest)\b)", re.IGNORECASE
)


def rating_in(answer: str) -> float:
    """The one whole number from 1 to 9 that an answer names; NaN without one, or with several.

    What an answer says of the scale itself is left out first: its range, "out of 9", and what its
    numbers stand for, unless nothing else names a number.

    Example:
        >>> rating_in("On a scale from 1 to 9, I would say 7."), rating_in("9 (very pleasant)")
        (7.0, 9.0)
        >>> rating_in("6 or 7"), rating_in("7/10")
        (nan, nan)
    """
    text = _SIZE.sub(" ", _RANGE.sub(" ", answer))
    told = list(_NUMBER.finditer(text))
    defined = [one for one in told if _DEFINED.match(text, one.end())]
    described = [one for one in told if _DESCRIBED.match(text, one.end())]
    if {str(LOWEST), str(HIGHEST)} <= {one[0] for one in described}:
        defined += described
    named = {one[0] for one in told if one not in defined} or {one[0] for one in told}
    ratings = {_rating(number) for number in named}
    return ratings.pop() if len(ratings) == 1 else NAN


def _rating(number: str) -> float:
    value = float(number) if re.fullmatch(r"-?\d{1,9}(?:\.\d+)?", number) else NAN
    return value if value in range(LOWEST, HIGHEST + 1) else NAN
