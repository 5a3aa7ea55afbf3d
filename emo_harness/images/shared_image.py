"""An image that many requests share: what is made of its file form is made once."""

from __future__ import annotations

import io
from typing import IO, Any

from PIL import Image


class SharedImage(Image.Image):
    """An image that keeps its PNG form once it was asked for.

    lm-eval logs the hash of every request's images and saves each as PNG for that, about ten
    milliseconds a time, though the requests of an arm all show the same one. Not to be drawn on.
    """

    _png: bytes | None = None

    @classmethod
    def of(cls, image: Image.Image) -> SharedImage:
        """The same pixels, in an image of their own."""
        shared = cls()
        shared.__setstate__(image.__getstate__())
        return shared

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """Write the image; see PIL."""
        if format != "PNG" or params or not hasattr(fp, "write"):
            super().save(fp, format, **params)
            return
        file: IO[bytes] = fp
        if self._png is None:
            made = io.BytesIO()
            super().save(made, format)
            self._png = made.getvalue()
        file.write(self._png)
