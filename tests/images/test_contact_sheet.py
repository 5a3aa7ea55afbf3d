"""Contact sheets hold every image, upright and unstretched, with its caption."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emo_harness.images import ImageEntry, load_image_set
from emo_harness.images.contact_sheet import (
    COLUMNS,
    TILE,
    contact_sheet,
    font_of,
    save_sheet,
    shelves,
    wrapped,
)
from emo_harness.images.sheet_rows import MOST_LINES, TWIN, set_rows

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 0, 250), (0, 250, 250)]


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (50, 50)) -> Image.Image:
    return Image.new("RGB", size, colour)


def where(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The box of a colour: left, top, width, height."""
    ys, xs = np.nonzero((np.asarray(sheet) == colour).all(-1))
    return int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1


def test_every_image_is_there_in_order() -> None:
    rows = [
        ("one", [(plain(c), str(c)) for c in COLOURS[:3]]),
        ("two", [(plain(c), str(c)) for c in COLOURS[3:]]),
    ]
    sheet = contact_sheet(rows, "title", columns=2, tile=240)
    boxes = [where(sheet, colour) for colour in COLOURS]
    assert {box[2:] for box in boxes} == {(240, 240)}
    # Two in a line: the third begins the next, and the other row follows below.
    assert boxes[0][1] == boxes[1][1] < boxes[2][1] < boxes[3][1] == boxes[4][1]
    assert boxes[0][0] == boxes[2][0] == boxes[3][0] < boxes[1][0] == boxes[4][0]
    # Even margins.
    assert sheet.width - (boxes[1][0] + 240) == boxes[0][0]


def test_image_keeps_its_shape() -> None:
    sheet = contact_sheet([("row", [(plain(COLOURS[0], (200, 50)), "wide")])], "title", tile=80)
    assert where(sheet, COLOURS[0])[2:] == (80, 20)


@pytest.mark.parametrize("caption", ["short", "a caption that is far too long for its image" * 3])
def test_caption_stays_below_its_own_image(caption: str) -> None:
    images = [(plain(COLOURS[0]), caption), (plain(COLOURS[1]), "")]
    sheet = contact_sheet([("row", images)], "t", tile=60)
    left, top, width, height = where(sheet, COLOURS[0])
    band = np.asarray(sheet)[top + height + 3 : top + height + 16]
    inked = np.nonzero((band < 200).any((0, 2)))[0]
    assert inked.min() >= left
    assert inked.max() <= left + width


def test_rows_of_few_images_stand_side_by_side() -> None:
    rows = [(f"row {n}", [(plain(colour), "name")]) for n, colour in enumerate(COLOURS)]
    boxes = [where(contact_sheet(rows, "title", tile=60), colour) for colour in COLOURS]
    assert len({top for _, top, _, _ in boxes}) == 1
    assert [left for left, _, _, _ in boxes] == sorted({left for left, _, _, _ in boxes})


@pytest.mark.parametrize("sizes", [[1] * 30, [2, 3, 4, 8, 9, 1, 1], [40, 1], [0, 1], []])
def test_no_shelf_is_wider_than_the_sheet_and_none_has_room_for_the_next_row(
    sizes: list[int],
) -> None:
    found = shelves(sizes)
    assert [place for shelf in found for place in shelf] == list(range(len(sizes)))
    widths = [[max(1, min(COLUMNS, sizes[place])) for place in shelf] for shelf in found]
    assert all(sum(width) <= COLUMNS for width in widths)
    for one, following in pairwise(widths):
        assert sum(one) + following[0] > COLUMNS


@pytest.mark.parametrize("n_images", [1, 2, 8])
def test_sheet_is_wide_enough_for_its_title(n_images: int) -> None:
    title = "Six emotions for EmotionAttack, each with its neutral twin, from a small model"
    images = [(plain(COLOURS[0]), "fear-1")] * n_images
    sheet = contact_sheet([("fear, high arousal (attack)", images)], title)
    assert " ".join(wrapped(title, font_of(22), sheet.width - 40, 3)) == title


@pytest.mark.parametrize("room", [40, 96, 300])
@pytest.mark.parametrize(
    "text",
    ["attractive-woman-12", "its neutral twin", "supercalifragilistic", "a-b c_d", " x ", ""],
)
def test_words_are_wrapped_behind_spaces_and_dashes_and_none_is_lost(text: str, room: int) -> None:
    font = font_of(11)
    lines = wrapped(text, font, room, 9)
    assert all(font.getlength(line) <= room for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    if room > 90 and "super" not in text:
        assert all(line[-1] in "-_" or text.strip()[len(line)] == " " for line in lines[:-1])


def test_what_has_no_room_is_cut_at_its_end() -> None:
    lines = wrapped("one two three four five six", font_of(11), 60, 2)
    assert len(lines) == 2 and lines[0] == "one two" and lines[1].endswith("…")
    assert all(font_of(11).getlength(line) <= 60 for line in lines)


def test_a_set_of_one_family_does_not_repeat_it() -> None:
    made = set_rows(entries(3, 1, twins=False), lambda entry: plain(COLOURS[0]))
    assert [heading.split(",")[0] for heading, _ in made.rows] == ["c0", "c1", "c2"]
    assert not any("(" in heading for heading, _ in made.rows)


def test_empty_sheet_has_its_title() -> None:
    sheet = contact_sheet([], "nothing here")
    assert (np.asarray(sheet) < 100).any()


def test_twins_stand_beside_their_images() -> None:
    emoji = load_image_set("emoji")
    made = set_rows(emoji.entries, emoji.open, {"fear-1": "probability 0.9"})
    rows = made.rows
    assert made.shown == "" and made.subtitle == "every image beside its neutral twin"
    assert sum(len(images) for _, images in rows) == len(emoji.entries)
    for heading, images in rows:
        assert [caption == TWIN for _, caption in images] == [False, True] * (len(images) // 2)
        assert "(attack)" in heading or "(prompt, " in heading
    captions = dict(rows)["fear, low arousal (attack)"]
    assert captions[0][1] == "probability 0.9"


def entries(n_concepts: int, n_each: int, *, twins: bool) -> list[ImageEntry]:
    """Of a set that lies nowhere."""
    likeness = load_image_set("emoji").entries[0]
    return [
        likeness.model_copy(update={"id": f"c{c}-{n}{end}", "concept": f"c{c}", "twin_of": own})
        for c in range(n_concepts)
        for n in range(n_each)
        for end, own in (("", None), *((("-twin", f"c{c}-{n}"),) if twins else ()))
    ]


@pytest.mark.parametrize("twins", [True, False])
@pytest.mark.parametrize(("n_concepts", "n_each"), [(1, 5_000), (30, 40), (90, 3), (900, 2)])
def test_large_set_is_shown_in_part_and_its_sheet_can_be_opened(
    n_concepts: int, n_each: int, twins: bool
) -> None:
    opened = []

    def open_one(entry: ImageEntry) -> Image.Image:
        opened.append(entry.id)
        return plain(COLOURS[0], (2, 2))

    made = set_rows(entries(n_concepts, n_each, twins=twins), open_one)
    sheet = contact_sheet(made.rows, "large", subtitle=made.subtitle, tile=TILE)
    sizes = [len(tiles) for _, tiles in made.rows]
    assert sheet.height < 20_000
    # No concept is left out for another's sake while a line could hold several.
    assert len(made.rows) == n_concepts or max(sizes) == (2 if twins else 1)
    assert len(made.rows) == n_concepts or len(shelves(sizes)) == MOST_LINES
    shown = [name for name in opened if "twin" not in name]
    whole = len(shown) == n_concepts * n_each
    assert (made.shown == "") == whole
    assert whole or made.subtitle.startswith(f"{len(shown):,} of {n_concepts * n_each:,} images")
    if twins:
        assert opened == [name + end for name in shown for end in ("", "-twin")]
    for heading, tiles in made.rows:
        n_shown = len(tiles) // 2 if twins else len(tiles)
        assert (f"{n_shown} of {n_each}" in heading) == (n_shown < n_each)


@pytest.mark.parametrize("n_colours", [3, 60_000])
def test_sheet_is_saved_as_it_looks(tmp_path: Path, n_colours: int) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (n_colours, 3), dtype=np.uint8)
    noise = Image.fromarray(colours[rng.integers(0, n_colours, (90, 90))])
    sheet = contact_sheet([("row", [(noise, "noise")] * 8)], "title", tile=90)
    save_sheet(sheet, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as found:
        off = np.abs(np.asarray(found.convert("RGB"), int) - np.asarray(sheet, int))
        assert (found.mode == "P") == (n_colours == 3)
    assert off.mean() < 2 and off[0, 0].max() == 0
