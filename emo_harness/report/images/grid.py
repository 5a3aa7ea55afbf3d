"""Thumbnails by concept, twins beside, checks below."""

from __future__ import annotations

from emo_harness.report.blocks import ImageGrid, ImageGroup, ImageTile, Raw
from emo_harness.report.images.numbers import CheckedConcept, CheckedImage, ImageCheckNumbers
from emo_harness.report.images.verdicts import chance_told, percent_with_bounds
from emo_harness.report.numerals import count, counted, pp


def image_grid(one: ImageCheckNumbers, name: str) -> ImageGrid | None:
    """The grid; None where no image is shown."""
    twins = {image.twin_of: image for image in reversed(one.images) if image.twin_of}
    shown: dict[tuple[str, str], list[CheckedImage]] = {}
    for image in one.images:
        if image.twin_of is None and _is_shown(image):
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
    if not groups:
        return None
    n_shown = sum(map(len, shown.values()))
    return ImageGrid(name, f"Images by concept: {_how_many(one, n_shown)}", groups)


def _how_many(one: ImageCheckNumbers, n_shown: int) -> str:
    beside = ", neutral twins beside" if one.n_twins else ""
    if n_shown == one.n_images:
        return f"all {count(n_shown)} shown{beside}" if n_shown > 1 else f"the one image{beside}"
    which = "the most doubtful of each concept" if one.encoders else "the first of each concept"
    return f"{count(n_shown)} of {counted(one.n_images, 'image')} shown, {which}{beside}"


def _is_shown(image: CheckedImage) -> bool:
    return image.thumbnail is not None or image.referenced == "withheld"


def _about(part: CheckedConcept, n_shown: int) -> str:
    told = [counted(part.n, "image")]
    if n_shown < part.n:
        which = "first" if part.probability is None else "most doubtful"
        told.append(f"the {which} {n_shown} shown" if n_shown > 1 else f"the {which} one shown")
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
    if twin is None or not _is_shown(twin):
        return None
    alt = f"its neutral twin {twin.id}"
    return ImageTile(twin.id, twin.thumbnail or "", alt, (), (), _numbers(twin))


def _numbers(image: CheckedImage) -> dict[str, Raw]:
    return image.model_dump(exclude={"thumbnail"})
