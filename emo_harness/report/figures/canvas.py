"""The canvas: matplotlib figures as small SVG that takes the page's colours and font.

One unit is one CSS pixel. No pyplot, no global state: a report can be drawn in any thread.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures.palette import ink, with_variables
from emo_harness.report.plain_text import visible

PX_PER_INCH = 72
FONT_PX = 11
SMALL_PX = 10
# Read when an artist is made or when it is drawn, as matplotlib's version will have it.
HATCH_PX = 0.7
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_DEFAULTS: Any = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith("backend")}
_TAG = re.compile(r"<[^>]+>")
_GROUP = re.compile(r"<g\b[^>]*>|</g>")
_LONG_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_PATH = re.compile(r' d="[^"]*"')
_NO_TURN = re.compile(r' transform="rotate\(-0 [^)]*\)"')
_FONT_FAMILY = re.compile(r"font-family:[^;\"]*;?")


@contextmanager
def own_style() -> Iterator[None]:
    """Draw by matplotlib's own defaults, whatever the user's settings file says."""
    with mpl.rc_context(_DEFAULTS):
        yield


def canvas(width_px: float, height_px: float) -> Figure:
    """An empty figure without background."""
    figure = Figure(figsize=(width_px / PX_PER_INCH, height_px / PX_PER_INCH), frameon=False)
    FigureCanvasSVG(figure)
    return figure


def axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in pixels from the figure's upper left corner."""
    total_width, total_height = figure.get_size_inches() * PX_PER_INCH
    made = figure.add_axes(
        (
            left / total_width,
            1 - (top + height) / total_height,
            width / total_width,
            height / total_height,
        )
    )
    made.patch.set_visible(False)
    for side in made.spines.values():
        side.set_color(ink("line"))
    made.tick_params(
        which="both",
        color=ink("line"),
        labelcolor=ink("quiet"),
        labelsize=SMALL_PX,
        length=3,
        width=0.8,
    )
    return made


def only_bottom(made: Axes) -> None:
    """Leave the lower spine alone, as plots with labelled rows need no frame."""
    for name in ("left", "right", "top"):
        made.spines[name].set_visible(False)


def write(
    made: Axes,
    x: float,
    y: float,
    text: str,
    colour: str = "ink",
    size: float = FONT_PX,
    weight: str = "normal",
    ha: str = "left",
    va: str = "center",
    rotation: float = 0,
    own_scale: bool = True,
) -> None:
    """Write plain text at a place in the axes' own scale, or in its pixels.

    Args:
        own_scale: False measures x and y in pixels from the axes' lower left corner.
    """
    made.annotate(
        visible(text).replace("\n", " "),
        (x, y),
        xycoords="data" if own_scale else "axes pixels",
        color=ink(colour),
        fontsize=size,
        fontweight=weight,
        ha=ha,
        va=va,
        rotation=rotation,
        rotation_mode="anchor",
        parse_math=False,
        annotation_clip=False,
    )


def fitted(text: str, width_px: float, size: float = FONT_PX) -> str:
    """The text, its middle left out where it would be wider: names often differ at their ends."""
    most = max(int(width_px / (0.56 * size)), 4)
    tail = most // 2 - 1
    return text if len(text) <= most else f"{text[: most - tail - 1]}…{text[-tail:]}"


def fitted_apart(texts: Sequence[str], width_px: float, size: float = FONT_PX) -> list[str]:
    """Texts as `fitted`; where that makes two alike, without the beginning all long ones share."""
    cut = [fitted(text, width_px, size) for text in texts]
    long = sorted({text for text, short in zip(texts, cut, strict=True) if text != short})
    if len(set(cut)) == len(set(texts)) or len(long) < 2:
        return cut
    shared = os.path.commonprefix(long)  # noqa: RUF071, character by character is meant
    start = max((shared.rfind(mark) for mark in "/-_ ["), default=0) + 1
    most = max(int(width_px / (0.56 * size)), 4) - 2
    return [
        short if text not in long else f"…{text[start : start + most]}"
        for text, short in zip(texts, cut, strict=True)
    ]


def text_width(texts: list[str], size: float = FONT_PX) -> float:
    """About how many pixels the longest text takes."""
    return max((len(text) for text in texts), default=0) * 0.56 * size


def drawing(figure: Figure, name: str, title: str, alt: str) -> Drawing:
    """The figure as SVG, once for the page and once for a file.

    Args:
        name: different for every figure of a page, so that no two share an element id.
    """
    written = io.BytesIO()
    with (
        mpl.rc_context(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": name,
                "path.simplify": False,
                "hatch.linewidth": HATCH_PX,
            }
        ),
        warnings.catch_warnings(),
    ):
        # A glyph that matplotlib's font lacks is drawn by the browser's.
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(written, format="svg", metadata=_NO_METADATA)
    body = _compact(written.getvalue().decode("utf-8"))
    width, height = (round(v) for v in figure.get_size_inches() * PX_PER_INCH)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    spaces = (
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'font-family="sans-serif" stroke-linejoin="round"'
    )
    alt = visible(alt)
    return Drawing(
        inline=f'<svg role="img" aria-label={quoteattr(alt)} {size}>'
        f"{with_variables(body).replace('xlink:href', 'href')}</svg>",
        file=f"<svg {spaces} {size}><title>{escape(visible(title))}</title>"
        f"<desc>{escape(alt)}</desc>"
        f'<rect width="{width}" height="{height}" fill="{ink("paper")}"/>{body}</svg>',
        width_px=width,
    )


def _compact(markup: str) -> str:
    """What is between the svg tags, without metadata, group names and needless digits."""
    start = markup.index(">", markup.index("<svg")) + 1
    body = markup[start : markup.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = _TAG.sub(lambda m: _compact_tag(m[0]), body)
    body = re.sub(r">\s+<", "><", body).strip()
    return _without_plain_groups(body)


def _compact_tag(tag: str) -> str:
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)
    tag = _FONT_FAMILY.sub("", tag)
    tag = _NO_TURN.sub("", tag)
    tag = _LONG_NUMBER.sub(lambda m: f"{round(float(m[0]), 1):g}", tag)
    tag = _PATH.sub(lambda m: re.sub(r"\s*([MLQCz])\s*", r"\1", m[0]), tag)
    tag = re.sub(r"([:;]) ", r"\1", tag)
    return re.sub(r"\s+", " ", tag).replace("; ", ";").replace(' style=""', "").replace(';"', '"')


def _without_plain_groups(body: str) -> str:
    """The markup without groups that have no attribute: they only named matplotlib's artists."""
    plain: list[bool] = []

    def kept(match: re.Match[str]) -> str:
        tag = match[0]
        if tag == "</g>":
            return "" if plain.pop() else tag
        if tag.endswith("/>"):
            return ""
        plain.append(tag in ("<g>", "<g >"))
        return "" if plain[-1] else tag

    return _GROUP.sub(kept, body)
