"""An image's facts in its own PNG file: what its manifest says of it, in text chunks."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_harness.image_file import text_chunk

if TYPE_CHECKING:
    from PIL.Image import Image

    from emo_harness.images.image_entry import ImageEntry

SOFTWARE = "emo-harness"
# The chunk that holds all facts; the others repeat some under the names that PNG registers.
FACTS = "emo-harness"
# Said of an image's place in its set, or found later: no facts of the image.
_LEFT_OUT = {"file", "referenced", "default", "checks", "norms"}


def png_bytes(image: Image, entry: ImageEntry) -> bytes:
    """A PNG file with the pixels of `image` and the facts of `entry`; equal input, equal bytes.

    Args:
        image: RGB.
        entry: its line of the manifest; how it was made, its concept, its sha256.
    """
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("Title", entry.id)
    if entry.caption:
        chunks.add_itxt("Description", entry.caption)
    chunks.add_text("Software", SOFTWARE)
    facts = json.dumps(facts_of(entry), ensure_ascii=False, allow_nan=False)
    chunks.add_itxt(FACTS, facts, zip=True)
    file = io.BytesIO()
    # Of zlib's strategies the one that is made for filtered rows gives the smallest files here, at
    # the highest level in the time of the usual one.
    image.save(file, "PNG", pnginfo=chunks, compress_level=9, compress_type=zlib.Z_FILTERED)
    return file.getvalue()


def facts_of(entry: ImageEntry) -> dict[str, Any]:
    """What is written into an image; unknown facts are left out."""
    return entry.model_dump(mode="json", exclude_none=True, exclude=_LEFT_OUT)


def read_facts(path: Path) -> dict[str, Any] | None:
    """The facts that `png_bytes` wrote into a whole file; None where there are none.

    The pixels are not decoded.
    """
    text = text_chunk(path, FACTS)
    try:
        facts = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None
