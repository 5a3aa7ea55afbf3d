"""Images that control for the presence of an image: plain grey, and scrambled copies.

A scrambled copy keeps what an image is made of and loses what it shows: all its pixels in another
order (same colours), or all its spatial frequencies with other phases (same coarseness and mixture
of colours; less contrast where the range of levels has no room for it). Where an effect is there
for copies too, it is not one of what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emo_harness.image_file import pixels_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

Levels = NDArray[np.float32]

MID_GREY = 128
# Of a phase-scrambled copy's amplitude spectrum from its image's, at equal contrast.
SPECTRUM_TOLERANCE = 0.05
# A larger image is scrambled at this size and scaled back: models see less of it anyway.
MOST_SCRAMBLED_PIXELS = 4_000_000
# More would bring more contrast, and the image back: its own phases fit its range best.
_ROUNDS = 10
_HALVINGS = 8
_MEAN_TOLERANCE = 0.1


def grey(size: tuple[int, int]) -> Image:
    """A plain mid-grey image, RGB.

    Args:
        size: width and height in pixels.
    """
    from PIL import Image

    return Image.new("RGB", size, (MID_GREY,) * 3)


def rng_of(image: Image) -> np.random.Generator:
    """A generator of the pixels alone, so that an image's copies are the same in every run."""
    return np.random.default_rng(int(pixels_sha256(image)[:16], 16))


def pixel_scrambled(image: Image, rng: np.random.Generator) -> Image:
    """All pixels in random order: the same number of pixels of every colour, nothing to see.

    Args:
        image: RGB.
        rng: `rng_of(image)` gives the same copy in every run.
    """
    from PIL import Image

    pixels = np.asarray(image.convert("RGB"))
    mixed = rng.permutation(pixels.reshape(-1, 3), axis=0).reshape(pixels.shape)
    return Image.fromarray(mixed, "RGB")


def phase_scrambled(image: Image, rng: np.random.Generator) -> Image:
    r"""All spatial frequencies with other phases: its amplitude spectrum but for a factor.

    Of each channel's spectrum F_c(u, v) the copy has F_c(u, v) exp(i t(u, v)), with one field of
    random phases t = -t(-u, -v) for all channels, so that their cross-spectra, and with them which
    colours go together, stay as they are (Prichard and Theiler 1994, for time series; that what an
    image shows lies in its phases: Oppenheim and Lim 1981).

    Such a copy exceeds 0 to 255. Clipping alone would change its spectrum and mean. So t is first
    fitted to the range: the copy is clipped, and t becomes the field nearest to what is left,
    arg sum_c conj(F_c) G_c of its spectrum G, a few times over (after Schreiber and Schmitz 1996).
    Then contrast is taken off about the mean until clipping moves the spectrum by at most
    `SPECTRUM_TOLERANCE` of what it is, all channels together; `spectrum_match` tells how much
    contrast was kept. Means of channels stay within half a level of 255. Above
    `MOST_SCRAMBLED_PIXELS` the copy lacks the finest frequencies.

    Args:
        image: RGB.
        rng: `rng_of(image)` gives the same copy in every run.
    """
    from PIL import Image
    from scipy import fft

    n_pixels = image.width * image.height
    if n_pixels > MOST_SCRAMBLED_PIXELS:
        scale = (MOST_SCRAMBLED_PIXELS / n_pixels) ** 0.5
        size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        small = image.convert("RGB").resize(size, Image.Resampling.BOX)
        return phase_scrambled(small, rng).resize(image.size, Image.Resampling.BILINEAR)
    levels = np.asarray(image.convert("RGB"), dtype=np.float32)
    shape = levels.shape[:2]
    spectrum = fft.rfft2(levels, axes=(0, 1))
    # The phases of real noise have the symmetry that a real image needs.
    turns = _unit(fft.rfft2(rng.standard_normal(shape, dtype=np.float32)))
    for _ in range(_ROUNDS):
        turns[0, 0] = 1
        copy = fft.irfft2(spectrum * turns[..., None], s=shape, axes=(0, 1))
        fitted = fft.rfft2(np.clip(copy, 0, 255), axes=(0, 1))
        turns = _unit((np.conj(spectrum) * fitted).sum(-1))
    turns[0, 0] = 1
    copy = fft.irfft2(spectrum * turns[..., None], s=shape, axes=(0, 1))
    return Image.fromarray(_within_range(copy, np.abs(spectrum)), "RGB")


@dataclass(frozen=True)
class SpectrumMatch:
    """How a copy's amplitude spectrum, without means, compares with its image's.

    Attributes:
        contrast: the factor that makes the image's spectrum most like the copy's.
        error: what then remains, as a share of the copy's (Euclidean norms).
    """

    contrast: float
    error: float


def spectrum_match(image: Image, copy: Image) -> SpectrumMatch:
    """Compare the amplitude spectra of two images of one size; NaN for a plain image."""
    before, after = (_amplitudes(np.asarray(one.convert("RGB"))) for one in (image, copy))
    square = float((before * before).sum(dtype=np.float64))
    if not square:
        return SpectrumMatch(float("nan"), float("nan"))
    contrast = float((before * after).sum(dtype=np.float64)) / square
    left = float(np.linalg.norm(after - contrast * before))
    return SpectrumMatch(contrast, left / (contrast * square**0.5) if contrast else float("nan"))


def _within_range(copy: Levels, amplitudes: Levels) -> NDArray[np.uint8]:
    """The copy with as much contrast as its spectrum allows: (height, width, 3)."""
    mean = copy.mean((0, 1), dtype=np.float64)
    amplitudes[0, 0] = 0
    wanted = _both_halves(amplitudes, copy.shape[1])
    allowed = SPECTRUM_TOLERANCE * float(np.linalg.norm(wanted))

    def at(contrast: float) -> tuple[NDArray[np.uint8], bool]:
        levels = _clipped(copy, mean, contrast)
        error = float(np.linalg.norm(_amplitudes(levels) - contrast * wanted))
        return levels, error <= allowed * contrast

    best, fits = at(1.0)
    if fits or not allowed:
        return best
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        contrast = (low + high) / 2
        levels, fits = at(contrast)
        if fits:
            low, best = contrast, levels
        else:
            high = contrast
    return best


def _clipped(copy: Levels, mean: NDArray[np.float64], contrast: float) -> NDArray[np.uint8]:
    """Levels of the copy at a contrast, moved so that clipping leaves each channel's mean."""
    wanted = (mean + contrast * (copy - mean)).astype(np.float32)
    for _ in range(_ROUNDS):
        missing = mean - np.clip(wanted, 0, 255).mean((0, 1), dtype=np.float64)
        if np.abs(missing).max() < _MEAN_TOLERANCE:
            break
        wanted += missing.astype(np.float32)
    return np.rint(np.clip(wanted, 0, 255)).astype(np.uint8)


def _amplitudes(levels: NDArray[np.uint8]) -> Levels:
    """Amplitudes of every frequency but the mean, each as often as in the full spectrum."""
    from scipy import fft

    found: Levels = np.abs(fft.rfft2(levels.astype(np.float32), axes=(0, 1)))
    found[0, 0] = 0
    return _both_halves(found, levels.shape[1])


def _both_halves(amplitudes: Levels, width: int) -> Levels:
    """Weighted for the frequencies that a real transform leaves out, since they are mirrored."""
    weights = np.full(amplitudes.shape[1], 2**0.5, dtype=np.float32)
    weights[0] = 1
    if width % 2 == 0:
        weights[-1] = 1
    return amplitudes * weights[None, :, None]


def _unit(values: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Numbers of length one and the same phase; 1 where there is none."""
    length = np.abs(values)
    is_there = length > 0
    found = np.where(is_there, values, 1) / np.where(is_there, length, 1)
    return found.astype(np.complex64, copy=False)
