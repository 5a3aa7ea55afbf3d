"""Glyphs: found, cut to their ink, refused where the font has none."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from emo_harness.errors import UserError
from emo_harness.images import emoji
from emo_harness.images.emoji import EmojiFont, find_font, text_of
from tests.images.emoji_font import emoji_font


@pytest.mark.parametrize("size", [16, 32, 235])
@pytest.mark.parametrize("code_points", ["U+1F600", "U+1F9CD", "U+1FAA1", "U+1F1EF U+1F1F5"])
def test_glyph_fills_its_square_in_one_direction(code_points: str, size: int) -> None:
    glyph = emoji_font().glyph(code_points, size)
    assert glyph.mode == "RGBA"
    assert glyph.size == (size, size)
    left, top, right, bottom = glyph.getbbox()
    assert max(right - left, bottom - top) == size
    # In the other direction it stands in the middle.
    assert abs(left - (size - right)) <= 1 + size // 32
    assert abs(top - (size - bottom)) <= 1 + size // 32


def test_glyph_has_colours_and_is_the_same_each_time() -> None:
    first, second = (np.asarray(emoji_font().glyph("U+1F621", 48)) for _ in range(2))
    assert np.array_equal(first, second)
    solid = first[first[..., 3] == 255][:, :3].astype(int)
    # A raging face is red.
    assert (solid[:, 0] - solid[:, 2]).mean() > 60


def test_parts_that_join_are_one_glyph() -> None:
    # Woman, joiner, laptop: neither of both alone.
    joined, parts = (
        [np.asarray(emoji_font().glyph(one, 40)) for one in group]
        for group in (["U+1F469 U+200D U+1F4BB"], ["U+1F469", "U+1F4BB"])
    )
    assert not any(np.array_equal(joined[0], part) for part in parts)


@pytest.mark.parametrize(
    "code_points",
    ["U+0041", "U+10FFFD", "U+4E00", "U+1F4BB U+1F600 U+1F469"],
    ids=["a letter", "no character", "Chinese", "parts that do not join"],
)
def test_what_the_font_lacks_is_refused(code_points: str) -> None:
    with pytest.raises(UserError, match="no such glyph"):
        emoji_font().glyph(code_points, 32)


@pytest.mark.parametrize("text", ["", "1F600", "U+", "U+1f600", "U+D800", "U+110000", "U+1F600,"])
def test_code_points_are_written_in_one_way(text: str) -> None:
    with pytest.raises(UserError, match="code points"):
        text_of(text)


def test_font_without_colour_bitmaps_is_refused() -> None:
    outlines = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    with pytest.raises(UserError, match="without colour bitmaps"):
        EmojiFont(outlines)


@pytest.mark.parametrize("content", [b"", b"no font", bytes(4096)])
def test_file_that_is_no_font_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(content)
    with pytest.raises(UserError, match="TrueType"):
        EmojiFont(path)
    with pytest.raises(UserError):
        EmojiFont(tmp_path / "missing.ttf")


def test_missing_font_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(emoji, "_font_folders", lambda: iter([tmp_path]))
    with pytest.raises(UserError, match="apt install fonts-noto-color-emoji"):
        find_font()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    file = tmp_path / "deep" / "er" / "NotoColorEmoji.ttf"
    file.touch()
    assert find_font() == file
