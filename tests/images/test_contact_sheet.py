"""Contact sheets hold every image, upright and unstretched, with its caption."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from emo_harness.images import load_image_set
from emo_harness.images.contact_sheet import TWIN, contact_sheet, set_rows

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
    sheet = contact_sheet(rows, "title", columns=2, tile=40)
    boxes = [where(sheet, colour) for colour in COLOURS]
    assert {box[2:] for box in boxes} == {(40, 40)}
    # Two in a line: the third begins the next, and the other row follows below.
    assert boxes[0][1] == boxes[1][1] < boxes[2][1] < boxes[3][1] == boxes[4][1]
    assert boxes[0][0] == boxes[2][0] == boxes[3][0] < boxes[1][0] == boxes[4][0]
    # Even margins.
    assert sheet.width - (boxes[1][0] + 40) == boxes[0][0]


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


def test_empty_sheet_has_its_title() -> None:
    sheet = contact_sheet([], "nothing here")
    assert (np.asarray(sheet) < 100).any()


def test_twins_stand_beside_their_images() -> None:
    emoji = load_image_set("emoji")
    rows = set_rows(emoji.entries, emoji.open, {"fear-1": "probability 0.9"})
    assert sum(len(images) for _, images in rows) == len(emoji.entries)
    for heading, images in rows:
        assert [caption == TWIN for _, caption in images] == [False, True] * (len(images) // 2)
        assert "(attack)" in heading or "(prompt, " in heading
    captions = dict(rows)["fear, low arousal (attack)"]
    assert captions[0][1] == "probability 0.9"
