"""Blocks: what a page is made of, before it is HTML.

All text is plain and is escaped when the page is rendered; `Figure.svg` alone is markup, and comes
from our own drawing code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

Raw = float | int | str | bool | tuple[float, ...] | None


@dataclass(frozen=True)
class Cell:
    """One value of a table.

    Attributes:
        value: as it goes to `report.json` and to a figure's CSV; NaN and None are unknown.
        text: as it is shown.
        sort: what a sort by this column compares, where that is not `text`'s first number.
        tone: "" or how it is set: `strong`, `quiet`, `up`, `down`, `same`, `open`, `code`,
            `whole` (never broken), `wraps` (broken though numeric), `full` (never shortened).
    """

    value: Raw
    text: str
    sort: float | str | None = None
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        name: its heading, and its name in a figure's CSV.
        explanation: one phrase, shown when the heading is pointed at.
        numeric: set to the right, sorted by number.
        filtered: offer the column's values as a filter.
    """

    name: str
    explanation: str = ""
    numeric: bool = False
    filtered: bool = False


@dataclass(frozen=True)
class Table:
    """A table that can be sorted, and filtered and searched where it says so.

    Attributes:
        collapsed: shown folded, under its caption.
        breaks: rows (by number) before which a thicker line is drawn: another group begins.
    """

    id: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    search: bool = False
    collapsed: bool = False
    breaks: frozenset[int] = frozenset()
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.id}: a row has not {len(self.columns)} cells")


def without_same(table: Table, *names: str) -> Table:
    """The table without those of the named columns in which all rows are alike."""
    alike = {
        place
        for place, column in enumerate(table.columns)
        if column.name in names and len({row[place].text for row in table.rows}) < 2
    }
    return replace(
        table,
        columns=[c for place, c in enumerate(table.columns) if place not in alike],
        rows=[[c for place, c in enumerate(row) if place not in alike] for row in table.rows],
    )


@dataclass(frozen=True)
class Figure:
    """A drawing with its alternative text and the table of what it shows.

    Attributes:
        caption: what is shown and how to read it.
        alt: what a reader who cannot see it should know.
        svg: markup made by `report.figures`.
        folded: shown folded, under this heading; "" is shown open.
    """

    id: str
    caption: str
    alt: str
    svg: Drawing
    table: Table
    folded: str = ""
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Drawing:
    """One drawing in two dresses: `inline` takes the page's colours, `file` has its own."""

    inline: str
    file: str
    width_px: int


@dataclass(frozen=True)
class Prose:
    """A paragraph. `tone` is `text`, `note` or `warning`; `items` follow it as a list."""

    text: str
    tone: str = "text"
    items: Sequence[str] = ()
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Verdict:
    """What may be said of one model and family, in one sentence.

    Attributes:
        about: the model, and the family.
        word: the verdict word; `tone` its kind: `up`, `down`, `same`, `open`.
        sentence: gain, interval, n, margin, placebo contrast.
        beyond: whether it holds for stimuli like these.
        numbers: what the sentence tells, for `report.json`.
    """

    about: str
    word: str
    tone: str
    sentence: str
    beyond: str
    numbers: dict[str, Raw]


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of one board, under its heading ("" where the page has but one board)."""

    id: str
    heading: str
    verdicts: Sequence[Verdict]
    kind: ClassVar[str] = "verdicts"


@dataclass(frozen=True)
class Passage:
    """A stretch of text; `mark` is "" or why it stands out: `stimulus`, `left-out`."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Side:
    """One half of a flip: the prompt and what was answered to it.

    Attributes:
        read: what `parsed` is, e.g. "first response read as".
        score: "" where `parsed` tells it, e.g. "1 of 3 right".
    """

    prompt: Sequence[Passage]
    answer: str
    parsed: str
    read: str = "read as"
    score: str = ""


@dataclass(frozen=True)
class FlipItem:
    """One question under control and under a stimulus, side by side."""

    title: str
    tone: str
    about: str
    stimulus: str
    target: str
    control: Side
    arm: Side
    numbers: dict[str, Raw]


@dataclass(frozen=True)
class FlipGroup:
    """Flips whose prompts begin alike; `shared` is that beginning, "" where it is short."""

    heading: str
    shared: str
    items: Sequence[FlipItem]


@dataclass(frozen=True)
class FlipList:
    """Flips, searchable."""

    id: str
    groups: Sequence[FlipGroup]
    kind: ClassVar[str] = "flips"


@dataclass(frozen=True)
class ShadedWord:
    """A word, or what stands between words.

    Attributes:
        shade: "" or its class of colour: `d4` to `d1` lowers, `u1` to `u4` raises, `s1` to `s4`
            of what has no sign.
        value: what is told when it is pointed at; "" is nothing.
        stops: whether the keyboard stops at it.
    """

    text: str
    shade: str = ""
    value: str = ""
    stops: bool = False


@dataclass(frozen=True)
class ShadedRun:
    """Words in a row. `mark` is "" or why they stand out: `stimulus`, `left-out`."""

    words: Sequence[ShadedWord]
    mark: str = ""


@dataclass(frozen=True)
class ShadedText:
    """One text, under its heading."""

    heading: str
    runs: Sequence[ShadedRun]


@dataclass(frozen=True)
class ShadedPicture:
    """Texts shaded by one method.

    Attributes:
        remarks: how far to trust it, one phrase each; `warnings` why not to.
        key: shades and their bounds, in order.
        unit: what the bounds are in.
    """

    heading: str
    remarks: Sequence[str]
    warnings: Sequence[str]
    key: Sequence[tuple[str, str]]
    unit: str
    texts: Sequence[ShadedText]


@dataclass(frozen=True)
class ShadedSide:
    """What was asked or answered beside a text: a sentence, and the answer in full."""

    heading: str
    sentence: str
    answer: str | None


@dataclass(frozen=True)
class ShadedItem:
    """Texts shaded by each method in turn, and their numbers.

    Attributes:
        tone: `up`, `down`, or "" where nothing turned.
        notes: label and what it says, e.g. target and stimulus.
        table: every word with its raw values, for `report.json` and CSV.
        strongest: those rows of it that are shown.
    """

    id: str
    title: str
    tone: str
    about: str
    notes: Sequence[tuple[str, str]]
    sides: Sequence[ShadedSide]
    pictures: Sequence[ShadedPicture]
    table: Table
    strongest: Table
    numbers: dict[str, Raw]


@dataclass(frozen=True)
class ShadedTexts:
    """Texts whose words are shaded by what they contribute.

    Attributes:
        heading: shown above.
        beside: whether the texts of a picture stand side by side.
    """

    id: str
    heading: str
    items: Sequence[ShadedItem]
    beside: bool
    kind: ClassVar[str] = "shades"


@dataclass(frozen=True)
class ImageTile:
    """A small image and what is said of it.

    Attributes:
        address: `data:` address of its pixels, checked by who made it; "" where they must not be
            copied, which the page says in their place.
        alt: what a reader who cannot see it should know.
        facts: label and value, shown below it.
        marks: why it stands out, one phrase each.
        twin: shown beside it.
        numbers: what it shows, for `report.json`, which has no pixels.
    """

    title: str
    address: str
    alt: str
    facts: Sequence[tuple[str, str]]
    marks: Sequence[str]
    numbers: dict[str, Raw]
    twin: ImageTile | None = None


@dataclass(frozen=True)
class ImageGroup:
    """Images under one heading; `about` sums them up."""

    heading: str
    about: str
    tiles: Sequence[ImageTile]


@dataclass(frozen=True)
class ImageGrid:
    """Images by group, a group to be folded."""

    id: str
    heading: str
    groups: Sequence[ImageGroup]
    kind: ClassVar[str] = "images"


Block = Prose | Verdicts | Table | Figure | FlipList | ShadedTexts | ImageGrid


@dataclass(frozen=True)
class Section:
    """A part of the page: `id` is its anchor, `intro` says in plain words how to read it."""

    id: str
    title: str
    intro: str
    blocks: Sequence[Block] = field(default_factory=tuple)
