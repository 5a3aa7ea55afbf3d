"""Facts of an image that are not its emotion, so that arms can be matched on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Floats = NDArray[np.float64]
# The longer side of the copy that facts are measured on, so that they do not depend on how large
# the file is.
SIDE_PX = 256


@dataclass(frozen=True)
class ImageFacts:
    """What an image is like, whatever it shows.

    Attributes:
        sharpness: variance of the Laplacian of its brightness.
        brightness: mean luma, 0 (black) to 1 (white).
        contrast: standard deviation of luma (Peli 1990, J. Opt. Soc. Am. A 7, 2032: RMS contrast).
        colourfulness: 0 for grey; their raters called 0.06 slightly and 0.43 extremely colourful.
        width, height: in pixels, as stored.
        n_bytes: of the file.
    """

    sharpness: float
    brightness: float
    contrast: float
    colourfulness: float
    width: int
    height: int
    n_bytes: int


def image_facts(image: PILImage, n_bytes: int) -> ImageFacts:
    """Measure an image, scaled to 256 px at its longer side.

    With luma Y = 0.299 R + 0.587 G + 0.114 B in [0, 1] (ITU-R BT.601): sharpness is the variance of
    Y(x-1, y) + Y(x+1, y) + Y(x, y-1) + Y(x, y+1) - 4 Y(x, y), inner pixels only (Pech-Pacheco et
    al. 2000, ICPR 3, 314); colourfulness is sqrt(sd(rg)^2 + sd(yb)^2) + 0.3 sqrt(mean(rg)^2 +
    mean(yb)^2) with rg = R - G and yb = (R + G) / 2 - B, all in [0, 1] (Hasler & Suesstrunk 2003,
    Proc. SPIE 5007, 87, eq. 3, whose unit is 1/255 of ours).

    Args:
        image: RGB.
        n_bytes: of its file.
    """
    pixels = scaled_pixels(image)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    return ImageFacts(
        sharpness=_laplacian_variance(luma),
        brightness=float(luma.mean()),
        contrast=float(luma.std()),
        colourfulness=_colourfulness(pixels),
        width=image.width,
        height=image.height,
        n_bytes=n_bytes,
    )


def scaled_pixels(image: PILImage) -> Floats:
    """(height, width, 3) float64 in [0, 1], the longer side `SIDE_PX`."""
    from PIL import Image

    scale = SIDE_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(small, dtype=np.float64) / 255


def _laplacian_variance(luma: Floats) -> float:
    if min(luma.shape) < 3:
        return 0.0
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float((around - 4 * luma[1:-1, 1:-1]).var())


def _colourfulness(pixels: Floats) -> float:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    rg, yb = red - green, (red + green) / 2 - blue
    spread = np.hypot(rg.std(), yb.std())
    return float(spread + 0.3 * np.hypot(rg.mean(), yb.mean()))
