"""Heat map over an image: what each patch contributes, in classes of colour on a grey copy."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import ArrayLike, NDArray

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.heat_map import CLASSES
from emo_harness.report.figures.palette import ink
from emo_harness.report.figures.tile_map import tiles

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX, GAP_PX, HEAD_PX, KEY_PX, LEFT_PX = 320, 16, 22, 58, 2
# Of one image as PNG; a page holds two of them twice, to be seen and to be saved.
BUDGET_BYTES = 30_000
SMALLER, LEAST_SIDE, N_COLOURS = 0.8, 24, 64
ALPHA = 0.6
SIZES = ("none", "size1", "size2", "size3", "size4")
# Half the length of a sign's strokes, as a part of its patch.
STROKE = 0.22


@canvas.own_style()
def image_heat_map(
    image: Image | ArrayLike,
    contributions: NDArray[np.float64],
    step: float,
    unit: str,
    name: str,
    title: str,
    alt: str,
    signed: bool = True,
) -> Drawing:
    """Draw the image, and beside it a grey copy under its patches' classes of colour.

    Patches that raise bear a plus and those that lower a minus, so that direction is told without
    colour too; the middle class is left clear. The image is scaled down until it fits its budget.

    Args:
        image: as the model saw it: a PIL image, or an array (height, width) or (height, width, 3 or
            4), whole numbers up to 255, or floating within 0 and 1.
        contributions: (n_rows, n_columns) of patches that cover the image evenly, NaN is unknown.
        step: width of a colour class; the middle one is half a step to either side of zero.
        unit: of contributions, in the key.
        signed: False is for sizes, in classes from zero upwards.

    Raises:
        ValueError: no image or no patches.
    """
    values = np.asarray(contributions, np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"contributions of shape {values.shape}, not (rows, columns)")
    shown = as_image(image)
    scale = SIDE_PX / max(shown.size)
    width, height = (max(side * scale, 1.0) for side in shown.size)
    second = LEFT_PX + max(width, 160) + GAP_PX
    key_width = LEFT_PX + 9 * 34 + 20
    figure = canvas.canvas(max(second + width + 4, key_width), HEAD_PX + height + KEY_PX)
    plot = canvas.axes(figure, second, HEAD_PX, width, height)
    plot.set_axis_off()
    plot.set_xlim(0, values.shape[1])
    plot.set_ylim(values.shape[0], 0)
    for x, heading in ((LEFT_PX - second, "as the model saw it"), (0.0, "its patches, on grey")):
        canvas.write(plot, x, height + 10, heading, "quiet", canvas.SMALL_PX, own_scale=False)
    _patches(plot, values, step, signed)
    _key(figure, step, unit, signed)
    drawn = canvas.drawing(figure, name, title, alt)
    behind = [
        _image(shown, LEFT_PX, width, height),
        _image(shown.convert("L"), second, width, height),
    ]
    return replace(
        drawn,
        inline=_with_images(drawn.inline, ">", behind, "href"),
        file=_with_images(drawn.file, "/>", behind, "xlink:href"),
    )


def as_image(image: Image | ArrayLike) -> Image:
    """The image in RGB, on white where it is transparent.

    Raises:
        ValueError: an array that is no image.
    """
    import PIL.Image

    if not isinstance(image, PIL.Image.Image):
        pixels = np.asarray(image)
        if not pixels.size or pixels.ndim not in (2, 3):
            raise ValueError(f"an array of shape {pixels.shape} is no image")
        if pixels.dtype.kind == "f":
            pixels = np.round(255 * np.clip(np.nan_to_num(pixels), 0, 1))
        pixels = np.clip(pixels, 0, 255).astype(np.uint8)
        image = PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)
    whole = image.convert("RGBA")
    paper = PIL.Image.new("RGBA", whole.size, ink("paper"))
    return PIL.Image.alpha_composite(paper, whole).convert("RGB")


def within_budget(shown: Image) -> bytes:
    """A PNG of the image of at most `BUDGET_BYTES`, in few colours, smaller where it must be."""
    side = min(SIDE_PX, max(shown.size))
    while True:
        copy = shown.copy()
        copy.thumbnail((side, side))
        written = io.BytesIO()
        copy.quantize(N_COLOURS).save(written, format="png", optimize=True)
        if side <= LEAST_SIDE or written.tell() <= BUDGET_BYTES:
            return written.getvalue()
        side = int(side * SMALLER)


def _image(shown: Image, x: float, width: float, height: float) -> str:
    """An SVG image but for its address, which is the last attribute to be written."""
    place = f'x="{x:.1f}" y="{HEAD_PX}" width="{width:.1f}" height="{height:.1f}"'
    address = base64.b64encode(within_budget(shown)).decode("ascii")
    return f'<image {place} preserveAspectRatio="none" HREF="data:image/png;base64,{address}"/>'


def _with_images(svg: str, first: str, images: list[str], attribute: str) -> str:
    """The drawing with images behind everything but the paper."""
    place = svg.index("<rect") if first == "/>" else 0
    place = svg.index(first, place) + len(first)
    behind = "".join(image.replace("HREF=", f"{attribute}=") for image in images)
    return svg[:place] + behind + svg[place:]


def _patches(plot: Axes, values: NDArray[np.float64], step: float, signed: bool) -> None:
    classes = CLASSES if signed else SIZES
    edges = step * (np.arange(8) - 3.5 if signed else np.arange(4) + 0.5)
    class_of = np.digitize(values, edges)
    known = ~np.isnan(values)
    for number, colour in enumerate(classes):
        if colour != "none":
            chosen = known & (class_of == number)
            tiles(plot, chosen, ink(colour), ink("paper"), 0.5, alpha=ALPHA)
    if signed:
        _signs(plot, known & (class_of != 4), known & (class_of > 4))


def _signs(plot: Axes, signed: NDArray[np.bool_], raises: NDArray[np.bool_]) -> None:
    """A stroke across every signed patch, and one down those that raise, on a light edge."""
    strokes = [
        ((column + 0.5 - dx, row + 0.5 - dy), (column + 0.5 + dx, row + 0.5 + dy))
        for chosen, dx, dy in ((signed, STROKE, 0.0), (raises, 0.0, STROKE))
        for row, column in np.argwhere(chosen).tolist()
    ]
    if not strokes:
        return
    path = Path(np.array(strokes).reshape(-1, 2), [Path.MOVETO, Path.LINETO] * len(strokes))
    for colour, width in (("paper", 2.6), ("ink", 1.1)):
        line = {"facecolor": "none", "edgecolor": ink(colour), "linewidth": width}
        plot.add_artist(PathPatch(path, clip_on=False, **line))


def _key(figure: Figure, step: float, unit: str, signed: bool) -> None:
    """The classes with their bounds, as they look on the image."""
    height = figure.get_size_inches()[1] * canvas.PX_PER_INCH
    classes = CLASSES if signed else SIZES
    key = canvas.axes(figure, LEFT_PX, height - KEY_PX + 10, len(classes) * 34, 14)
    key.set_xlim(0, len(classes))
    key.set_ylim(1, 0)
    key.set_axis_off()
    # A value in the middle of each class.
    values = step * (np.arange(len(classes)) - (4 if signed else 0))[None, :].astype(np.float64)
    _patches(key, values, step, signed)
    tiles(key, np.ones_like(values, bool), "none", ink("line"), 0.8)
    for number in range(1, len(classes)):
        bound = step * (number - 4.5 if signed else number - 0.5)
        sign = "" if not signed else "−" if bound < 0 else "+"
        canvas.write(key, number, 1.7, f"{sign}{abs(bound):g}", "quiet", 8, ha="center")
    told = f"{unit}: minus lowers, plus raises" if signed else unit
    canvas.write(key, 0, 2.7, told, "quiet", 9)
