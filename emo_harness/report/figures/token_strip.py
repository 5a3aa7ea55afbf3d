"""Token strip: the words of each layer as chips, one line and more per layer, under headings."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from emo_harness.report.blocks import Drawing
from emo_harness.report.figures import canvas
from emo_harness.report.figures.palette import ink
from emo_harness.report.plain_text import visible

WIDEST_PX, LEAST_PX = 880, 480
LABEL_PX, NOTE_PX = 34, 108
LINE_PX, CHIP_PX, ROW_GAP_PX, HEAD_PX, KEY_PX = 21, 17, 3, 30, 26
TEXT_PX = 11
PAD_PX, BETWEEN_PX = 5, 4
MOST_CHIP_PX = 190
MOST_CHIPS = 48
_NARROW, _BROAD = set("iljtfrI.,:;'|!()[] \"`"), set("mwMW@%—")
# Before a token that is written on to another, where their boxes cannot touch.
JOINED = "·"
LOST = "*"


@dataclass(frozen=True)
class Chip:
    """One token.

    Attributes:
        text: as `shown_token` gives it.
        is_shared: the placebos' line of that layer has it too: set back.
        is_lost: the tokenizer does not give it back: dashed, with an asterisk.
        is_left_out: shown, though it is no part of the text: in brackets.
        is_joined: written on to the token before it, without a space: the boxes touch.
    """

    text: str
    is_shared: bool = False
    is_lost: bool = False
    is_left_out: bool = False
    is_joined: bool = False


@dataclass(frozen=True)
class StripRow:
    """One layer: its label, its tokens, and what stands at the right."""

    label: str
    chips: Sequence[Chip]
    note: str = ""


@dataclass(frozen=True)
class StripPanel:
    """Rows under a heading; `notes_are` stands above their notes."""

    heading: str
    rows: Sequence[StripRow]
    notes_are: str = ""


def shown_token(token: str) -> str:
    """A token as a reader can see it: control characters as the terminal writes them, space a sign.

    The one space that words begin with is left out.

    >>> shown_token(" joy") + shown_token("  ") + shown_token("")
    'joy␣∅'
    >>> print(shown_token("\\n"))
    \\n
    """
    text = visible(escaped(token[1:] if token[:1] == " " and len(token) > 1 else token))
    text = text if text.strip() else text.replace(" ", "␣")
    if text.endswith(" "):
        text = f"{text.rstrip(' ')}␣"
    if not text:
        return "∅"
    if not any(_width(c) for c in text):
        # Marks that have no place of their own.
        text = f"◌{text}" if unicodedata.combining(text[0]) else _code(text)
    return text


def escaped(text: str) -> str:
    """The text with control characters as Python writes them; fonts have no signs for them."""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" else c for c in text)


@canvas.own_style()
def token_strip(panels: Sequence[StripPanel], name: str, title: str, alt: str) -> Drawing:
    """Draw panels below each other; rows break into several lines where they are long."""
    chips = [chip for panel in panels for row in panel.rows for chip in row.chips]
    key = [(own, told) for own, told in _KEY if any(_dress(own[-1]) <= _dress(c) for c in chips)]
    placed = [[_lines(_few(row.chips)) for row in panel.rows] for panel in panels]
    height = sum(
        HEAD_PX + sum(len(lines) * LINE_PX + ROW_GAP_PX for lines in rows) for rows in placed
    ) + (KEY_PX if key else 0)
    ends = [x + w for rows in placed for lines in rows for line in lines for x, w, _ in line[-1:]]
    width = max([LEAST_PX, *(end + NOTE_PX for end in ends)])
    figure = canvas.canvas(width, height + 6)
    plot = canvas.axes(figure, 0, 0, width, height + 6)
    plot.set_xlim(0, width)
    plot.set_ylim(height + 6, 0)
    plot.set_axis_off()
    drawn = _Chips(plot)
    y = 0.0
    if key:
        _draw_key(drawn, key)
        y += KEY_PX
    for panel, rows in zip(panels, placed, strict=True):
        canvas.write(plot, 0, y + 13, panel.heading, weight="bold")
        canvas.write(plot, width, y + 13, panel.notes_are, "quiet", canvas.SMALL_PX, ha="right")
        y += HEAD_PX - 4
        for row, lines in zip(panel.rows, rows, strict=True):
            top = y + LINE_PX / 2
            canvas.write(plot, LABEL_PX - 8, top, row.label, "quiet", canvas.SMALL_PX, ha="right")
            canvas.write(plot, width, top, row.note, "quiet", canvas.SMALL_PX, ha="right")
            for line in lines:
                for x, chip_px, chip in line:
                    drawn.add(x, y + LINE_PX / 2, chip_px, chip)
                y += LINE_PX
            y += ROW_GAP_PX
        y += 4
    drawn.finish()
    return canvas.drawing(figure, name, title, alt)


_KEY = (
    ((Chip("word", is_shared=True),), "the placebos' line has it too"),
    ((Chip("word", is_lost=True),), "not given back by the tokenizer"),
    ((Chip("word", is_left_out=True),), "left out of the text"),
    ((Chip("wo"), Chip("rd", is_joined=True)), "written as one word"),
)


def _dress(chip: Chip) -> set[str]:
    flags = ("is_shared", "is_lost", "is_left_out", "is_joined")
    return {flag for flag in flags if getattr(chip, flag)}


def _few(chips: Sequence[Chip]) -> list[Chip]:
    if len(chips) <= MOST_CHIPS:
        return list(chips)
    more = len(chips) - MOST_CHIPS
    return [*chips[:MOST_CHIPS], Chip(f"… {more} more in the table", is_shared=True)]


def _lines(chips: Iterable[Chip]) -> list[list[tuple[float, float, Chip]]]:
    """Left end and width of each chip, line by line; words stay whole where a line holds them."""
    lines: list[list[tuple[float, float, Chip]]] = [[]]
    start, right = float(LABEL_PX), WIDEST_PX - NOTE_PX
    x = start
    for word in _written_together(chips):
        if lines[-1] and x + sum(map(chip_width, word)) > right:
            lines.append([])
            x = start
        for place, own in enumerate(word):
            chip, width = own, chip_width(own)
            if lines[-1] and x + width > right:
                chip = _apart(own)
                width = chip_width(chip)
                lines.append([])
                x = start
            lines[-1].append((x, width, chip))
            x += width + (BETWEEN_PX if place + 1 == len(word) else 0)
    return lines


def _written_together(chips: Iterable[Chip]) -> list[list[Chip]]:
    """Chips whose boxes touch; what is written on to another, but stands apart, has a sign."""
    words: list[list[Chip]] = []
    for chip in chips:
        if chip.is_joined and words and not words[-1][-1].is_left_out:
            words[-1].append(chip)
        else:
            words.append([_apart(chip) if chip.is_joined else chip])
    return words


def _apart(chip: Chip) -> Chip:
    return replace(chip, text=f"{JOINED}{chip.text}")


def chip_width(chip: Chip) -> float:
    """Pixels that a chip takes, its text being cut where it is long."""
    return min(TEXT_PX * sum(map(_width, _worded(chip))) + 2 * PAD_PX, MOST_CHIP_PX)


def _worded(chip: Chip) -> str:
    text = chip.text
    while len(text) > 4 and TEXT_PX * sum(map(_width, text)) > MOST_CHIP_PX - 3 * PAD_PX:
        text = f"{text[:-2]}…"
    text = f"{text}{LOST}" if chip.is_lost else text
    return f"[{text}]" if chip.is_left_out else text


def _width(character: str) -> float:
    """About how wide a character is set, in ems."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    if character in _NARROW:
        return 0.36
    if character in _BROAD:
        return 0.9
    return 0.7 if character.isupper() or not character.isascii() else 0.58


def _code(text: str) -> str:
    return " ".join(f"U+{ord(c):04X}" for c in text[:4])


class _Chips:
    """Chips of one dress are one path, so that a strip of hundreds stays small."""

    def __init__(self, plot: Axes) -> None:
        self._plot = plot
        self._boxes: dict[tuple[bool, bool], list[tuple[float, float, float, float]]] = {}

    def add(self, x: float, y: float, width: float, chip: Chip) -> None:
        is_back = chip.is_shared or chip.is_left_out
        box = (x, y - CHIP_PX / 2, x + width, y + CHIP_PX / 2)
        self._boxes.setdefault((is_back, chip.is_lost), []).append(box)
        colour = "quiet" if is_back else "ink"
        canvas.write(self._plot, x + width / 2, y, _worded(chip), colour, TEXT_PX, ha="center")

    def finish(self) -> None:
        for (is_back, is_lost), boxes in self._boxes.items():
            points = [
                point
                for left, top, right, bottom in boxes
                for point in (
                    (left, top),
                    (right, top),
                    (right, bottom),
                    (left, bottom),
                    (left, top),
                )
            ]
            codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
            self._plot.add_artist(
                PathPatch(
                    Path(points, codes * len(boxes)),
                    facecolor="none" if is_back else ink("up1"),
                    edgecolor=ink("quiet") if is_lost else ink("line") if is_back else ink("up2"),
                    linestyle=(0, (3, 2)) if is_lost else "solid",
                    linewidth=1.1 if is_lost else 0.8,
                    zorder=0,
                    clip_on=False,
                )
            )


def _draw_key(drawn: _Chips, key: Sequence[tuple[Sequence[Chip], str]]) -> None:
    x = float(LABEL_PX)
    for chips, told in key:
        for chip in chips:
            drawn.add(x, 11, chip_width(chip), chip)
            x += chip_width(chip)
        canvas.write(drawn._plot, x + 6, 11, told, "quiet", canvas.SMALL_PX)
        x += 6 + canvas.text_width([told], canvas.SMALL_PX) + 18
