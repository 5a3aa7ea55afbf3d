"""Plain text: what a model wrote, made safe to look at."""

from __future__ import annotations

import re

SLUG_CHARS = 80

# Newline and tab stay. Beside control characters: halves of surrogate pairs, which no UTF-8 file
# can hold, and marks that reorder or hide text (bidirectional controls, zero-width characters but
# the joiner that emoji need).
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u2069"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff]"
)


def visible(text: str) -> str:
    """The text with every character that cannot be seen shown as a sign.

    >>> visible("a\\x1b[31mb")
    'a␛[31mb'
    >>> visible("a\\u202eb")
    'a‹U+202E›b'
    """
    return text if text.isprintable() else _UNSEEN.sub(_sign, text)


def shortened(text: str, most: int) -> str:
    """At most about `most` characters, saying what was left out of the middle."""
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most // 3
    left_out = len(text) - head - tail
    return f"{text[:head]} [… {left_out:,} characters …] {text[-tail:]}"


def slug(text: str) -> str:
    """The text as an anchor: small letters, digits, hyphens; the beginning of a long one.

    >>> slug("Qwen/Qwen3-8B: bbh")
    'qwen-qwen3-8b-bbh'
    """
    return re.sub(r"[^a-z0-9]+", "-", text[:SLUG_CHARS].lower()).strip("-") or "x"


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"‹U+{code:04X}›"
