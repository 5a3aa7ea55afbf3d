"""Value space as blocks: principal components, and what they are made of."""

from __future__ import annotations

import numpy as np

from emo_harness.report.blocks import Block, Cell, Column, Figure, Table
from emo_harness.report.figures.space_panels import SpacePanel, space_panels
from emo_harness.report.geometry.numbers import GeometryNumbers, SpaceView
from emo_harness.report.geometry.words import kind_of, known, number_cell, told, used_kinds
from emo_harness.report.numerals import count_cell, text_cell

NAMED = 400
POOLED = ("words", "prompts", "prompts-centred")
HEADINGS = {
    "words": "words (means, centred)",
    "prompts": "all prompts, raw",
    "prompts-centred": "all prompts, centred by template",
}
FACTOR_COLUMNS = (
    Column("view", filtered=True),
    Column("component", numeric=True),
    Column("variance", "share explained", numeric=True),
    Column("share between levels of", "eta squared"),
    Column("share", numeric=True),
    Column("n", "rows", numeric=True),
)
POINT_COLUMNS = (
    Column("view", filtered=True),
    Column("word"),
    Column("template", numeric=True),
    Column("target valence", numeric=True),
    Column("target arousal", numeric=True),
    Column("PC1", numeric=True),
    Column("PC2", numeric=True),
    Column("PC3", numeric=True),
)


def space_blocks(numbers: GeometryNumbers, prefix: str) -> list[Block]:
    """Pooled views, views of single templates, and the table of what components are made of."""
    pooled = [view for view in numbers.views if view.view in POOLED]
    single = [view for view in numbers.views if view.view not in POOLED]
    blocks: list[Block] = []
    if pooled:
        blocks.append(
            _figure(
                pooled,
                f"{prefix}-space",
                f"Principal components of {numbers.store.site} space, pooled",
                " ".join(_sentence(view) for view in pooled),
            )
        )
    if single:
        blocks.append(
            _figure(
                single,
                f"{prefix}-space-templates",
                f"Principal components of {numbers.store.site} space within single templates",
                "Each panel is one template.",
            )
        )
    if numbers.views:
        blocks.append(_factor_table(numbers.views, prefix))
    return blocks


def space_sentences(numbers: GeometryNumbers) -> list[str]:
    return [_sentence(view) for view in numbers.views if view.view in POOLED]


def _sentence(view: SpaceView) -> str:
    two = sum(known(v) for v in view.explained[:2])
    parts = []
    for name in ("template", "target valence", "target arousal"):
        shares = view.factors.get(name)
        if shares and max(map(known, shares)) > 1e-6:
            place = int(np.nanargmax([known(v) for v in shares]))
            parts.append(
                f"{name} makes up at most {told(shares[place])} of a component (PC{place + 1})"
            )
    heading = HEADINGS.get(view.view, view.view)
    made = "; ".join(parts) + "." if parts else ""
    heading = heading[0].upper() + heading[1:]
    return (
        f"{heading}: two components explain {told(100 * two, 0)}% of the variance. "
        f"{made[:1].upper()}{made[1:]}"
    )


def _figure(views: list[SpaceView], name: str, title: str, told_of: str) -> Figure:
    kinds, kind = used_kinds([k for view in views for k in _kinds_of(view)])
    panels = []
    for view in views:
        own, kind = kind[: len(view.points.word)], kind[len(view.points.word) :]
        places = np.array([[known(v) for v in place[:2]] for place in view.points.place])
        if places.shape[1] < 2:
            places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
        panels.append(
            SpacePanel(
                HEADINGS.get(view.view, view.title),
                places,
                (_component(view, 0), _component(view, 1)),
                tuple(view.points.word) if len(view.points.word) <= NAMED else (),
                tuple(own),
            )
        )
    alt = f"{title}. {told_of}"
    rows: list[list[Cell]] = [row for view in views for row in _point_rows(view)]
    return Figure(
        name,
        f"{title}. Colour: what the prompt says of valence (a negation turns it round); shape: of "
        "arousal. Each panel has components of its own, both on one scale.",
        alt,
        space_panels(panels, kinds, name, title, alt),
        Table(f"{name}-table", title, POINT_COLUMNS, rows, search=True),
    )


def _kinds_of(view: SpaceView) -> list[int]:
    unknown: list[int | None] = [None] * len(view.points.word)
    targets = (view.points.target.get(name, unknown) for name in ("valence", "arousal"))
    return [kind_of(*both) for both in zip(*targets, strict=True)]


def _component(view: SpaceView, number: int) -> str:
    if number >= len(view.explained):
        return ""
    return f"PC{number + 1}, {told(100 * known(view.explained[number]), 0)}% of variance"


def _point_rows(view: SpaceView) -> list[list[Cell]]:
    points = view.points
    unknown: list[int | None] = [None] * len(points.word)
    heading = HEADINGS.get(view.view, view.title)
    found: list[list[Cell]] = []
    for i, word in enumerate(points.word):
        place = [*points.place[i], None, None, None][:3]
        template = points.template[i]
        found.append(
            [
                text_cell(heading),
                text_cell(word, "strong"),
                Cell(template, "–" if template is None else str(template)),
                *(
                    number_cell(points.target.get(d, unknown)[i], 0, True)
                    for d in ("valence", "arousal")
                ),
                *(number_cell(v, 3, True) for v in place),
            ]
        )
    return found


def _factor_table(views: list[SpaceView], prefix: str) -> Table:
    rows: list[list[Cell]] = [
        [
            text_cell(HEADINGS.get(view.view, view.title)),
            count_cell(number + 1),
            number_cell(view.explained[number], 3),
            text_cell(factor),
            number_cell(share, 3),
            count_cell(view.n),
        ]
        for view in views
        for number in range(min(len(view.explained), 5))
        for factor, shares in view.factors.items()
        if (share := shares[number]) is not None
    ]
    return Table(
        f"{prefix}-factors",
        "What the components are made of",
        FACTOR_COLUMNS,
        rows,
        search=True,
        collapsed=True,
    )
