"""Thumbnails by concept, twins beside, checks below."""

from __future__ import annotations

from emo_harness.report.blocks import ImageGrid, ImageGroup, ImageTile, Raw
from emo_harness.report.images.numbers import CheckedConcept, CheckedImage, ImageCheckNumbers
from emo_harness.report.images.verdicts import chance_told, percent_with_bounds
from emo_harness.report.numerals import counted, pp


def image_grid(one: ImageCheckNumbers, name: str) -> ImageGrid | None:
    """The grid; None where no image has a thumbnail."""
    twins = {image.twin_of: image for image in reversed(one.images) if image.twin_of}
    shown: dict[tuple[str, str], list[CheckedImage]] = {}
    for image in one.images:
        if image.twin_of is None and image.thumbnail:
            shown.setdefault((image.family, image.concept), []).append(image)
    groups = [
        ImageGroup(
            f"{part.concept} ({part.family})",
            _about(part, len(images)),
            [_tile(image, twins.get(image.id)) for image in images],
        )
        for part in one.concepts
        if (images := shown.get((part.family, part.concept or "")))
    ]
    return ImageGrid(name, "Images by concept, neutral twins beside", groups) if groups else None


def _about(part: CheckedConcept, n_shown: int) -> str:
    told = [counted(part.n, "image")]
    if n_shown < part.n:
        told.append(f"the {n_shown} with the least probability of their own concept are shown")
    if part.accuracy[0] is not None:
        told.append(
            f"own concept found in {percent_with_bounds(part.accuracy)}, guessing "
            f"{chance_told(part.chance)}"
        )
    if part.level:
        told.append(f"need: {part.level}")
    return " · ".join(told)


def _tile(image: CheckedImage, twin: CheckedImage | None) -> ImageTile:
    facts = []
    if image.probability_concept is not None:
        facts.append(("own probability", f"{image.probability_concept:.2f}"))
    if image.emotion_predicted is not None:
        facts.append(("emotion", image.emotion_predicted))
    if image.twin_contrast is not None:
        facts.append(("against twin", pp(image.twin_contrast)))
    if image.arousal:
        facts.append(("arousal", image.arousal))
    return ImageTile(
        title=image.id,
        address=image.thumbnail or "",
        alt=f"{image.id}, an image of {image.concept}",
        facts=facts,
        marks=_marks(image),
        numbers=_numbers(image),
        twin=_twin(twin),
    )


def _marks(image: CheckedImage) -> list[str]:
    marks = []
    if image.predicted is not None and image.predicted != image.concept:
        marks.append(f"read as {image.predicted}")
    if image.twin_contrast is not None and image.twin_contrast <= 0:
        marks.append("no more of it than its twin")
    if image.duplicate_of:
        marks.append(f"looks like {image.duplicate_of}")
    return marks


def _twin(twin: CheckedImage | None) -> ImageTile | None:
    if twin is None or not twin.thumbnail:
        return None
    alt = f"its neutral twin {twin.id}"
    return ImageTile(twin.id, twin.thumbnail, alt, (), (), _numbers(twin))


def _numbers(image: CheckedImage) -> dict[str, Raw]:
    return image.model_dump(exclude={"thumbnail"})
