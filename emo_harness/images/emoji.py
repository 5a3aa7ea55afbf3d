"""Glyphs of an emoji font: finding the font, telling which one it is, drawing one glyph."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from emo_harness.errors import UserError, quoted

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

FILE_NAMES = ("NotoColorEmoji.ttf", "NotoColorEmoji-Regular.ttf")
DEBIAN_PACKAGE = "fonts-noto-color-emoji"
# The one size, in pixels, in which the font's bitmaps are stored.
STORED_SIZE = 109
_CODE_POINTS = re.compile(r"U\+[0-9A-F]{2,6}( U\+[0-9A-F]{2,6})*")


def find_font() -> Path:
    """The Noto Color Emoji font of this machine, in the folders where systems keep fonts.

    Raises:
        UserError: there is none; names the Debian package.
    """
    for folder in _font_folders():
        for name in FILE_NAMES:
            found = sorted(folder.rglob(name)) if folder.is_dir() else []
            if found:
                return found[0]
    raise UserError(
        "looking for the font Noto Color Emoji",
        found=f"none in {quoted(str(folder) for folder in _font_folders())}",
        expected="NotoColorEmoji.ttf",
        fix=f"apt install {DEBIAN_PACKAGE}, or name the file: --font NotoColorEmoji.ttf",
    )


class EmojiFont:
    """A colour font with bitmaps of one size, as Noto Color Emoji is (tables CBDT and CBLC).

    Args:
        path: the font's file.

    Attributes:
        name, version: as the font says them.

    Raises:
        UserError: it is no font, or one without such bitmaps.
    """

    def __init__(self, path: Path) -> None:
        from fontTools.ttLib import TTFont, TTLibError
        from PIL import ImageFont

        doing = f"reading the emoji font {path}"
        try:
            with TTFont(path, lazy=True, fontNumber=0) as font:
                tables = set(font.keys())
                self._known = frozenset(font.getBestCmap() or ()) if "cmap" in tables else None
                self.name = str(font["name"].getDebugName(4) or path.stem)
                self.version = str(font["name"].getDebugName(5) or "unknown")
        except (OSError, TTLibError, KeyError) as error:
            raise UserError(
                doing,
                found=str(getattr(error, "strerror", None) or error or "no font"),
                expected="a TrueType font",
                fix=f"apt install {DEBIAN_PACKAGE}",
            ) from error
        if "CBDT" not in tables:
            raise UserError(
                doing,
                found="a font without colour bitmaps (no table CBDT)",
                expected="Noto Color Emoji as Debian ships it, which stores bitmaps",
                fix=f"apt install {DEBIAN_PACKAGE}; other builds hold outlines (COLR) instead",
            )
        self.path = path
        self._plain = ImageFont.truetype(
            str(path), STORED_SIZE, layout_engine=ImageFont.Layout.BASIC
        )
        self._glyphs: dict[str, Image] = {}

    @cached_property
    def sha256(self) -> str:
        """Of the font's file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def has(self, code_points: str) -> bool:
        """Whether the font has a glyph for it, or for every part of it."""
        return self._known is None or all(
            ord(c) in self._known for c in text_of(code_points) if c != "\ufe0f"
        )

    def glyph(self, code_points: str, size: int) -> Image:
        """One glyph on a transparent square, cut to its ink, centred.

        Args:
            code_points: "U+1F600", or a sequence "U+1F468 U+200D U+1F373".
            size: side of the square, and of the glyph's longer side, in pixels.

        Returns:
            (size, size) RGBA.

        Raises:
            UserError: the font has no such glyph.
        """
        from PIL import Image

        stored = self._stored(code_points)
        scale = size / max(stored.size)
        width, height = (max(1, round(side * scale)) for side in stored.size)
        square = Image.new("RGBA", (size, size), (0, 0, 0, 0))
        resized = stored.resize((width, height), Image.Resampling.LANCZOS)
        square.paste(resized, ((size - width) // 2, (size - height) // 2))
        return square

    def _stored(self, code_points: str) -> Image:
        """The glyph's own bitmap, cut to its ink."""
        if code_points not in self._glyphs:
            self._glyphs[code_points] = self._drawn(code_points)
        return self._glyphs[code_points]

    def _drawn(self, code_points: str) -> Image:
        from PIL import Image, ImageDraw

        text = text_of(code_points)
        canvas = Image.new("RGBA", (3 * STORED_SIZE, 2 * STORED_SIZE), (255, 255, 255, 0))
        if self.has(code_points):
            font = self._plain if len(text) == 1 else self._shaping(code_points)
            pen = ImageDraw.Draw(canvas)
            pen.text((STORED_SIZE // 2, STORED_SIZE // 2), text, font=font, embedded_color=True)
        ink = canvas.getchannel("A").getbbox()
        # Parts that the font cannot join stand side by side, wider than any one glyph.
        if ink is None or ink[2] - ink[0] > 1.5 * STORED_SIZE:
            raise UserError(
                f"drawing the emoji {code_points}",
                found=f"no such glyph in {self.path.name}, {self.version}",
                expected="an emoji that the font has",
                fix="take another glyph, or a newer font",
            )
        return canvas.crop(ink)

    def _shaping(self, code_points: str) -> FreeTypeFont:
        from PIL import ImageFont, features

        if not features.check("raqm"):
            raise UserError(
                f"drawing the emoji {code_points}",
                found="a sequence of code points, and Pillow without libraqm",
                expected="Pillow with libraqm, which joins sequences, or single code points",
                fix="install Pillow's own wheel (pip install --force-reinstall pillow)",
            )
        return ImageFont.truetype(str(self.path), STORED_SIZE, layout_engine=ImageFont.Layout.RAQM)


@lru_cache(maxsize=4096)
def text_of(code_points: str) -> str:
    """The characters of "U+1F600" or of a sequence of such.

    Raises:
        UserError: it is not written so.
    """
    numbers = (
        [int(part[2:], 16) for part in code_points.split(" ")]
        if _CODE_POINTS.fullmatch(code_points)
        else []
    )
    if not numbers or any(n > sys.maxunicode or 0xD800 <= n < 0xE000 for n in numbers):
        raise UserError(
            "reading an emoji's code points",
            found=repr(code_points)[:80],
            expected="U+ and a hexadecimal number, e.g. U+1F600; several with a space between",
            fix="look the emoji up in Unicode's emoji charts",
        )
    return "".join(map(chr, numbers))


def _font_folders() -> Iterator[Path]:
    home = Path.home()
    yield from (
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".local" / "share" / "fonts",
        home / ".fonts",
        home / "Library" / "Fonts",
        Path("/Library/Fonts"),
    )
