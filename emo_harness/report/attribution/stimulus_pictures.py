"""Stimuli as pictures: their words shaded by the mean contribution over questions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from emo_harness.report.attribution.methods import METHODS, bounds, in_order
from emo_harness.report.attribution.numbers import (
    AttributedGroup,
    Method,
    StimulusWord,
)
from emo_harness.report.attribution.scale import ShadeScale, scale_of
from emo_harness.report.attribution.words_shaded import STOPS
from emo_harness.report.blocks import (
    Cell,
    Column,
    ShadedItem,
    ShadedPicture,
    ShadedRun,
    ShadedText,
    ShadedTexts,
    ShadedWord,
    Table,
)
from emo_harness.report.groups import ALL_SUBTASKS
from emo_harness.report.numerals import count, count_cell, counted, text_cell
from emo_harness.report.plain_text import shortened, slug

MOST_ARMS, WORD_CHARS, N_STRONGEST = 40, 60, 40
REMARKS = (
    "mean over questions; words whose 95% interval holds zero are left unshaded",
    "each interval stands on its own: by chance alone about one word in 20 is shaded",
)
UNSIGNED_REMARKS = ("mean over questions; every word has some, so compare words with each other",)
COLUMNS = (
    Column("stimulus", filtered=True),
    Column("place", "of the word in its stimulus", numeric=True),
    Column("word"),
    Column("method", filtered=True),
    Column("n", "questions", numeric=True),
    Column("contribution", "with 95% interval", numeric=True),
)


def stimulus_pictures(group: AttributedGroup, about: str, prefix: str) -> ShadedTexts | None:
    """Each family's stimuli, word by word; None where no word was averaged."""
    rows = [word for word in group.words if word.subtask == ALL_SUBTASKS]
    if not rows:
        return None
    scales = {
        method: scale_of(_sizes(rows, method), METHODS[method].signed)
        for method in in_order(word.method for word in rows)
    }
    families = dict.fromkeys(word.family for word in rows)
    items = [
        _item(family, [word for word in rows if word.family == family], scales, prefix)
        for family in families
    ]
    heading = f"Stimuli word by word, {about}"
    return ShadedTexts(f"{prefix}-stimuli", heading, items, beside=False)


def _sizes(rows: Sequence[StimulusWord], method: Method) -> Iterator[float]:
    return (bounds(word.contribution)[0] for word in rows if word.method == method)


def _item(
    family: str, rows: Sequence[StimulusWord], scales: dict[Method, ShadeScale], prefix: str
) -> ShadedItem:
    name = f"{prefix}-stimuli-{slug(family)}"
    ordered = sorted(
        rows, key=lambda word: (word.arm, list(METHODS).index(word.method), word.position)
    )
    arms = list(dict.fromkeys(word.arm for word in ordered))
    shown = set(arms[:MOST_ARMS])
    pictures = [
        ShadedPicture(
            METHODS[method].name,
            _remarks([w for w in ordered if w.method == method], scale),
            (),
            scale.key(),
            METHODS[method].unit,
            [
                _text(arm, list(words), scale)
                for arm, words in itertools.groupby(
                    (w for w in ordered if w.method == method and w.arm in shown),
                    key=lambda word: word.arm,
                )
            ],
        )
        for method, scale in scales.items()
        if any(word.method == method for word in ordered)
    ]
    cells = [_row(word, scales[word.method]) for word in ordered]
    table = Table(f"{name}-words", f"Words of the stimuli, {family}", COLUMNS, cells)
    first = next(iter(scales))
    strongest = sorted(
        (number for number, word in enumerate(ordered) if word.method == first),
        key=lambda number: -_known_size(ordered[number]),
    )
    return ShadedItem(
        name,
        family,
        "",
        _count_told(len(arms), len(shown)),
        (),
        (),
        pictures,
        table,
        Table(
            f"{name}-strongest",
            "Words that contribute most",
            COLUMNS,
            [cells[number] for number in sorted(strongest[:N_STRONGEST])],
        ),
        {"family": family},
    )


def _remarks(words: Sequence[StimulusWord], scale: ShadeScale) -> Sequence[str]:
    if not scale.signed:
        return UNSIGNED_REMARKS
    known = [(word, *bounds(word.contribution)) for word in words]
    without = [w for w, value, low, _ in known if math.isnan(low) and not math.isnan(value)]
    if not without:
        return REMARKS
    n = max(word.n for word in without)
    few = "one question" if n < 2 else f"{counted(n, 'question')} at most"
    told = (
        f"{counted(len(without), 'word')} of {count(len(words))} stood in {few}, so that there is "
        "no interval and no shade: attribute more questions (--questions) to see them"
    )
    return (told, *REMARKS)


def _count_told(n: int, shown: int) -> str:
    told = "one stimulus" if n == 1 else f"{count(n)} stimuli"
    return told if shown == n else f"{count(shown)} of {told}; all are in the CSV file"


def _text(arm: str, words: Sequence[StimulusWord], scale: ShadeScale) -> ShadedText:
    shaded: list[ShadedWord] = []
    for word in words:
        value, low, high = bounds(word.contribution)
        clear = not scale.signed or low > 0 or high < 0
        shade = scale.shade(value) if clear else ""
        told = "" if math.isnan(value) else scale.told_bounds(value, low, high)
        shaded += [
            ShadedWord(shortened(word.word, WORD_CHARS), shade, told, shade.endswith(STOPS)),
            ShadedWord(" "),
        ]
    return ShadedText(arm, [ShadedRun(shaded[:-1])])


def _row(word: StimulusWord, scale: ShadeScale) -> list[Cell]:
    value, low, high = bounds(word.contribution)
    return [
        text_cell(word.arm, "code"),
        Cell(word.position, str(word.position), sort=word.position),
        text_cell(shortened(word.word, WORD_CHARS)),
        text_cell(METHODS[word.method].name),
        count_cell(word.n),
        Cell((value, low, high), scale.told_bounds(value, low, high), sort=value),
    ]


def _known_size(word: StimulusWord) -> float:
    value, _, _ = bounds(word.contribution)
    return -1.0 if math.isnan(value) else abs(value)
