"""The emoji font of this machine, or a skip that names the package."""

from __future__ import annotations

from functools import cache

import pytest

from emo_harness.errors import UserError
from emo_harness.images.emoji import DEBIAN_PACKAGE, EmojiFont, find_font


@cache
def _found() -> EmojiFont | None:
    try:
        return EmojiFont(find_font())
    except UserError:
        return None


def emoji_font() -> EmojiFont:
    font = _found()
    if font is None:
        pytest.skip(f"no Noto Color Emoji here (Debian package {DEBIAN_PACKAGE})")
    return font
