"""Images of the user's, opened with a byte and a pixel budget; nothing else opens them."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emo_harness.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_BYTES = 32 * 1024**2
MAX_PIXELS = 50_000_000

# What decoders raise for broken files.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
# What reading a broken EXIF block raises beyond that.
_BROKEN_EXIF = (*_BROKEN, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError)
# Where a rotation is told.
_TELL_ROTATION = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_FIX = "save it again as an ordinary PNG, JPEG or WebP"


def open_image(
    path: Path,
    *,
    doing: str | None = None,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
) -> PILImage:
    """An image as 8-bit RGB, upright.

    Transparency is laid on white, 16 bits are scaled to 8, CMYK and palettes are converted, and a
    rotation that EXIF tells is carried out; where EXIF is broken, the image is upright as stored.

    Args:
        doing: what it is opened for, for the message; "opening the image PATH" if not given.
        max_bytes: of the file.
        max_pixels: width times height; looked at before anything is decoded.

    Raises:
        UserError: no such file, another format, more bytes or pixels than the budget, an animation,
            or a file that breaks off.
    """
    doing = doing or f"opening the image {path}"
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise UserError(doing, found=found, expected="an image file", fix="check the path")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise UserError(
            doing,
            found=str(error.strerror or error),
            expected="a readable file",
            fix="check its path and rights",
        ) from error
    return decode_image(content, doing=doing, max_bytes=max_bytes, max_pixels=max_pixels)


def decode_image(
    content: bytes,
    *,
    doing: str,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    as_rgb: bool = True,
) -> PILImage:
    """An image from the bytes of a file; see `open_image`.

    Args:
        as_rgb: convert it; else it keeps its mode and transparency, and is turned upright alone.
    """
    from PIL import Image, UnidentifiedImageError

    if len(content) > max_bytes:
        raise UserError(
            doing,
            found=f"more than {max_bytes:,} bytes",
            expected=f"at most {max_bytes:,}",
            fix="save it smaller; no stimulus needs more",
        )
    try:
        with warnings.catch_warnings():
            # Pillow warns of broken EXIF, which is passed over.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as told:
                _require_fit(told, doing, max_pixels)
                told.verify()
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                image.load()
                _scale_transparent_grey(image, content)
                upright = _upright(image)
                return _as_rgb(upright) if as_rgb else upright
    except UnidentifiedImageError as error:
        raise UserError(
            doing,
            found="no PNG, JPEG or WebP",
            expected=f"one of {', '.join(FORMATS)}",
            fix=_FIX,
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(doing, "an image far larger than any stimulus", max_pixels) from error
    except _BROKEN as error:
        raise UserError(
            doing,
            found=f"a broken image ({' '.join(str(error).split())[:100] or type(error).__name__})",
            expected="a whole one",
            fix=_FIX,
        ) from error


def text_chunk(path: Path, name: str) -> str | None:
    """A text that a whole PNG file carries before its pixels, which are not decoded; or None."""
    from PIL import Image

    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file.seek(-len(_PNG_END), io.SEEK_END)
            if file.read() != _PNG_END:
                return None
            file.seek(0)
            with Image.open(file, formats=("PNG",)) as image:
                found = image.info.get(name)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError, *_BROKEN):
        return None
    return found if isinstance(found, str) else None


def pixels_sha256(image: PILImage) -> str:
    """SHA-256 (hex) of an image's size and RGB pixels: the same image in any file has the same.

    Example:
        >>> from PIL import Image
        >>> pixels_sha256(Image.new("L", (2, 1), 128)) == pixels_sha256(
        ...     Image.new("RGB", (2, 1), (128, 128, 128))
        ... )
        True
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    digest = hashlib.sha256(f"RGB {rgb.width} {rgb.height} ".encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def _require_fit(image: PILImage, doing: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_large(doing, f"{image.width:,} x {image.height:,} pixels", max_pixels)
    # A photograph with further ones behind it (MPO) is no animation; its first is meant.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise UserError(doing, found="an animation", expected="a single image", fix=_FIX)


def _too_large(doing: str, found: str, max_pixels: int) -> UserError:
    return UserError(
        doing, found=found, expected=f"at most {max_pixels:,} pixels", fix="save it smaller"
    )


def _upright(image: PILImage) -> PILImage:
    """A copy, turned as EXIF or XMP tells, and telling of no rotation any more."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _BROKEN_EXIF:
        orientation = None
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    upright = image.copy() if turn is None else image.transpose(turn)
    for place in _TELL_ROTATION:
        upright.info.pop(place, None)
    return upright


def _scale_transparent_grey(image: PILImage, content: bytes) -> None:
    """Scale the transparent level of 2 or 4 bits of grey as Pillow has scaled the pixels."""
    # Of a PNG's header: bits per sample, and whether there is only grey.
    depth, colour = content[24:25], content[25:26]
    clear = image.info.get("transparency")
    if image.format == "PNG" and colour == b"\x00" and depth in (b"\x02", b"\x04"):
        highest = 2 ** depth[0] - 1
        if isinstance(clear, int):
            image.info["transparency"] = (clear & highest) * 255 // highest


def _as_rgb(image: PILImage) -> PILImage:
    from PIL import Image

    if image.mode.startswith("I"):
        # 16 bits of grey, of which one value may mean transparent.
        levels = np.asarray(image).astype(np.int64)
        scaled = np.rint(np.clip(levels, 0, 65_535) / 257).astype(np.uint8)
        scaled[levels == image.info.get("transparency", -1)] = 255
        return Image.fromarray(scaled).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        white = Image.new("RGBA", above.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, above).convert("RGB")
    return image.convert("RGB")
