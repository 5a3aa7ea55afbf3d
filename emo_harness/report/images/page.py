"""The checks' own page, and what of it a report shows."""

from __future__ import annotations

from emo_harness.report.blocks import Block, Prose, Section
from emo_harness.report.images.grid import image_grid
from emo_harness.report.images.numbers import ImageCheckNumbers
from emo_harness.report.images.tables import checks_tables
from emo_harness.report.images.verdicts import sentences, warnings
from emo_harness.report.numerals import counted
from emo_harness.report.page import PageFrame, render

PREFIX = "images"
INTRO = (
    "Does each image show what it should, as an image encoder that knows words reads it; does it "
    "show more of it than its neutral twin; and do the two differ in anything else? Beside every "
    "accuracy stands what guessing would reach."
)
WITHHELD = (
    "Plain tiles stand for images that are referenced, not copied: the set was imported with "
    "--reference, as one does where a licence forbids passing images on, and this page may be "
    "passed on. emo images check --show-referenced puts them in."
)
LIMITS = Prose(
    "What this does not show:",
    "note",
    (
        "Whether an image moves anyone. An encoder tells what an image shows, and from afar: "
        "that it finds fear in an image of fear is a test of the drawing, not of the feeling. "
        "For that there are human ratings, and for a model under test its own (emo images rate).",
        "A mean cosine of images with their prompts (CLIP score) is no test of emotion: a set in "
        "which every image shows the scene and none the emotion scores as high. Read the "
        "contrast with the twins.",
        "Where the encoder was used to choose the images, its accuracy is that of the choice. "
        "Only a second encoder, one that did not choose, tells.",
        "Encoders of this kind miss counts, negations, who does what to whom, small faces and "
        "irony, and some have hardly seen drawings. What they cannot tell, they cannot vouch for.",
        "Alignments and contrasts are not to be compared between encoders: each has a scale of its "
        "own.",
    ),
)


def section_blocks(one: ImageCheckNumbers, prefix: str) -> list[Block]:
    """Everything a page shows of one set."""
    blocks: list[Block] = [Prose(about(one))]
    warned = warnings(one)
    if warned:
        blocks.append(Prose("Before this set is used:", "warning", warned))
    found = sentences(one)
    if found:
        blocks.append(Prose("What was found:", items=found))
    blocks += checks_tables(one, prefix)
    grid = image_grid(one, f"{prefix}-images")
    if grid is not None:
        withheld = any(image.referenced == "withheld" for image in one.images)
        blocks += [Prose(WITHHELD, "note"), grid] if withheld else [grid]
    return [*blocks, LIMITS]


def about(one: ImageCheckNumbers) -> str:
    """What was checked, with what."""
    names = [encoder.name for encoder in one.encoders]
    by = (
        f"read by {names[0]}" + (f", and again by {names[1]}" if names[1:] else "")
        if names
        else "read by no encoder: facts and look-alikes alone"
    )
    made = ", ".join(one.made)
    return (
        f"Set {one.set}: {counted(one.n_images, 'image')} and "
        f"{counted(one.n_twins, 'neutral twin')} ({made}), {by}."
    )


def checks_page(one: ImageCheckNumbers) -> str:
    """The page of one set, as HTML."""
    frame = PageFrame(
        "emo-harness image checks",
        "Made by emo-harness. A dash means unknown. Every number of this page is in checks.parquet "
        "or images.json.",
    )
    section = Section(PREFIX, "Is this image set any good?", INTRO, section_blocks(one, PREFIX))
    return render([section], f"{one.set} · {counted(one.n_images, 'image')}", frame=frame)
