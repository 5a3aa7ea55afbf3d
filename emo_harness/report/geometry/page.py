"""The geometry's own page, its drawings as files, and what of it a report shows."""

from __future__ import annotations

from collections.abc import Mapping

from emo_harness.report.blocks import Block, Figure, Prose, Section
from emo_harness.report.geometry.curve_blocks import curve_blocks, curve_sentences
from emo_harness.report.geometry.likeness_blocks import (
    cosine_blocks,
    likeness_blocks,
    likeness_sentences,
)
from emo_harness.report.geometry.numbers import GeometryNumbers
from emo_harness.report.geometry.plane_blocks import plane_blocks, plane_sentences
from emo_harness.report.geometry.space_blocks import space_blocks, space_sentences
from emo_harness.report.geometry.trajectory_blocks import (
    trajectory_blocks,
    trajectory_sentences,
)
from emo_harness.report.geometry.turning import turning_page
from emo_harness.report.page import PageFrame, render
from emo_harness.whole_file import Writer, text_writer

PAGE_NAME, TURNING_NAME = "geometry.html", "value_space_3d.html"
PREFIX = "geometry"


def geometry_writers(numbers: GeometryNumbers) -> Mapping[str, Writer]:
    """What writes the page, the turning page, and every drawing as an SVG file."""
    made = page_sections(numbers)
    heading = (
        f"{numbers.store.model} · {numbers.store.site} · {numbers.store.n_words} words in "
        f"{numbers.store.n_templates} templates"
    )
    frame = PageFrame(
        "emo-harness geometry",
        "Made by emo-harness. A dash means unknown. Every number of this page is in geometry.json.",
        {TURNING_NAME: "Value space in three dimensions, to turn (own page, about 5 MB)"},
    )
    drawings = {
        f"{block.id}.svg": text_writer(block.svg.file)
        for section in made
        for block in section.blocks
        if isinstance(block, Figure)
    }
    return {
        PAGE_NAME: text_writer(render(made, heading, frame=frame)),
        TURNING_NAME: text_writer(turning_page(numbers)),
        **drawings,
    }


def page_sections(numbers: GeometryNumbers) -> list[Section]:
    """Sections of the geometry's own page; those without anything to show are left out."""
    parts: list[tuple[str, str, str, list[str], list[Block]]] = [
        (
            "plane",
            "The valence-arousal plane",
            "Where words lie along the two axes. Words held out are the honest image: their axes "
            "come from other words, read in other templates. Axes that were fitted on these very "
            "words put them where they belong, whatever the model knows.",
            plane_sentences(numbers),
            plane_blocks(numbers, PREFIX),
        ),
        (
            "curves",
            "Where in the model it can be read",
            "Accuracy of probes by layer, beside controls that know no emotion. A probe that does "
            "not beat its informative controls has not read emotion.",
            curve_sentences(numbers),
            curve_blocks(numbers.evaluations, PREFIX),
        ),
        (
            "space",
            "Principal components",
            "What varies most, without regard to any label. If the template makes up the first "
            "components, emotion is there beside it, not instead of it.",
            space_sentences(numbers),
            space_blocks(numbers, PREFIX),
        ),
        (
            "cosines",
            "Axes beside each other",
            "Cosine 1: one direction; 0: unrelated. Keys and values are compared within a layer, "
            "the residual stream also between layers and sites.",
            [],
            cosine_blocks(numbers, PREFIX),
        ),
        (
            "likeness",
            "Across models and people",
            "Representational similarity: are two words that are unlike in one space unlike in the "
            "other? No likeness can be much higher than the reliabilities of the two allow.",
            likeness_sentences(numbers),
            likeness_blocks(numbers, PREFIX),
        ),
        (
            "trajectory",
            "Over generated tokens",
            "The axis score at every token the model writes, by what the prompt said.",
            trajectory_sentences(numbers),
            trajectory_blocks(numbers, PREFIX),
        ),
    ]
    return [
        Section(f"{PREFIX}-{name}", title, intro, [*_prose(told), *blocks])
        for name, title, intro, told, blocks in parts
        if blocks
    ]


def sentences(numbers: GeometryNumbers) -> list[str]:
    """Everything that the page says in words."""
    return [
        *plane_sentences(numbers),
        *curve_sentences(numbers),
        *space_sentences(numbers),
        *likeness_sentences(numbers),
        *trajectory_sentences(numbers),
    ]


def section_blocks(numbers: GeometryNumbers, prefix: str) -> list[Block]:
    """What a report of runs shows: the plane, layer curves, head maps, trajectories."""
    store = numbers.store
    where = f"layers {store.layers[0]} to {store.layers[-1]}" if store.layers else "no layer"
    told = [
        *plane_sentences(numbers, most=1),
        *curve_sentences(numbers),
        *trajectory_sentences(numbers),
    ]
    about = (
        f"{store.model}: {store.n_words} words in {store.n_templates} templates, read at "
        f"{store.site}, {where}. {store.corpus}"
    )
    return [
        Prose(about.strip(), items=told),
        *plane_blocks(numbers, prefix, most=1),
        *curve_blocks(numbers.evaluations, prefix),
        *trajectory_blocks(numbers, prefix),
    ]


def _prose(told: list[str]) -> list[Block]:
    return [Prose("What it shows:", items=told)] if told else []
