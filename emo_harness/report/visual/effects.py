"""Effects of images: by concept, level and arousal, against control and against each control
image, and of an image with a sentence against either alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from emo_harness.effects import MARGIN_PP, UNKNOWN, Gain, benjamini_hochberg, paired_gain
from emo_harness.report.board_key import BoardKey
from emo_harness.report.groups import Group
from emo_harness.runs import RunArm
from emo_harness.stimuli import StimulusImage

Facet = Literal["all", "concept", "level", "arousal", "image"]
# The control images that an image is held against, by kind of placebo.
CONTROLS = ("neutral", "pixel-scrambled", "phase-scrambled", "grey", "no-image")
NAN = float("nan")


@dataclass(frozen=True)
class VisualRow:
    """The mean over some images of a family.

    Attributes:
        facet: what the images have in common; `name` which of its values.
        arms: ids.
        gain: over control.
        against: over the control images of the same concepts, by kind of placebo; `UNKNOWN`
            where a run has none.
        q: Benjamini-Hochberg over the rows of a facet, against control; `q_scrambled` against the
            pixel-scrambled copies. NaN for the mean over all.
    """

    facet: Facet
    name: str
    arms: tuple[str, ...]
    gain: Gain
    against: dict[str, Gain]
    q: float = NAN
    q_scrambled: float = NAN


@dataclass(frozen=True)
class CombinedRow:
    """An image together with a sentence, over control and over either alone."""

    arm: str
    gain: Gain
    over_image: Gain
    over_sentence: Gain


@dataclass(frozen=True, eq=False)
class VisualEffects:
    """One visual family asked of one model on one board, all subtasks together.

    Attributes:
        label: the model, as in the claims.
        control: "no image" or "grey image": what the control arm showed.
        sets: names of the image sets that its images are from.
        rows: the mean over all first, then facet by facet, at last every image.
        high_over_low: images of high minus those of low arousal; `UNKNOWN` without both.
        combined: of families of images with sentences.
    """

    label: str
    board: BoardKey
    family: str
    limited: bool
    control: str
    sets: tuple[str, ...]
    rows: tuple[VisualRow, ...]
    high_over_low: Gain
    combined: tuple[CombinedRow, ...]
    margin_pp: float

    def of(self, facet: Facet) -> list[VisualRow]:
        return [row for row in self.rows if row.facet == facet]


def visual_effects(
    groups: Iterable[Group], margin_pp: float = MARGIN_PP
) -> tuple[VisualEffects, ...]:
    """Every family with images, by the metric and filter that its benchmark reports."""
    return tuple(
        _effects(group, family, members, margin_pp)
        for group in groups
        if group.head.primary
        for family, members in group.families.items()
        if all(group.arms[i].image is not None for i in members)
    )


def _effects(group: Group, family: str, members: Sequence[int], margin_pp: float) -> VisualEffects:
    by_arousal = _grouped(group, members, lambda image: image.arousal)
    high, low = by_arousal.get("high"), by_arousal.get("low")
    images = [_image(group.arms[i]) for i in members]
    return VisualEffects(
        label=group.label,
        board=group.board,
        family=family,
        limited=group.limited,
        control="no image" if group.arms[0].image is None else "grey image",
        sets=tuple(dict.fromkeys(image.set for image in images)),
        rows=tuple(_rows(group, members)),
        high_over_low=_over(group, high, low) if high and low else UNKNOWN,
        combined=tuple(_combined(group, members)),
        margin_pp=margin_pp,
    )


def _rows(group: Group, members: Sequence[int]) -> list[VisualRow]:
    facets: list[tuple[Facet, dict[str, list[int]]]] = [
        ("concept", _grouped(group, members, lambda image: image.concept)),
        ("level", _grouped(group, members, lambda image: image.level)),
        ("arousal", _grouped(group, members, lambda image: image.arousal)),
        ("image", {group.arms[i].id: [i] for i in members}),
    ]
    rows = [_row(group, "all", "all images", list(members))]
    for facet, found in facets:
        own = [_row(group, facet, name, columns) for name, columns in found.items()]
        q = benjamini_hochberg([row.gain.p for row in own])
        scrambled = benjamini_hochberg([row.against["pixel-scrambled"].p for row in own])
        rows += [
            replace(row, q=float(q[i]), q_scrambled=float(scrambled[i]))
            for i, row in enumerate(own)
        ]
    return rows


def _row(group: Group, facet: Facet, name: str, columns: list[int]) -> VisualRow:
    return VisualRow(
        facet=facet,
        name=name,
        arms=tuple(group.arms[i].id for i in columns),
        gain=_over(group, columns, [0]),
        against={kind: _against(group, kind, columns) for kind in CONTROLS},
    )


def _against(group: Group, kind: str, columns: Sequence[int]) -> Gain:
    """Over the controls of a kind: those of the same images, else of their concepts, else all."""
    controls = [
        i
        for i, arm in enumerate(group.arms)
        if arm.placebo == kind and (arm.image is not None or kind == "no-image")
    ]
    if kind == "grey" and not controls and _shows_grey(group.arms[0]):
        controls = [0]
    if not controls:
        return UNKNOWN
    shown = [_image(group.arms[i]) for i in columns]
    ids, concepts = {image.id for image in shown}, {image.concept for image in shown}
    own = [i for i in controls if _made_from(group.arms[i]) in ids]
    alike = [i for i in controls if (image := group.arms[i].image) and image.concept in concepts]
    is_single = len(columns) == 1
    return _over(group, columns, (own if is_single and own else alike) or controls)


def _combined(group: Group, members: Sequence[int]) -> list[CombinedRow]:
    images = {arm.image.sha256: i for i, arm in enumerate(group.arms) if arm.image and not arm.text}
    sentences = {arm.text: i for i, arm in enumerate(group.arms) if arm.text and not arm.image}
    rows = []
    for i in members:
        arm = group.arms[i]
        if not arm.text:
            continue
        image = images.get(_image(arm).sha256)
        sentence = sentences.get(arm.text)
        rows.append(
            CombinedRow(
                arm.id,
                _over(group, [i], [0]),
                UNKNOWN if image is None else _over(group, [i], [image]),
                UNKNOWN if sentence is None else _over(group, [i], [sentence]),
            )
        )
    return rows


def _grouped(
    group: Group, members: Sequence[int], value: Callable[[StimulusImage], str | None]
) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i in members:
        name = value(_image(group.arms[i]))
        if name:
            found.setdefault(name, []).append(i)
    return found


def _over(group: Group, arms: Sequence[int], base: Sequence[int]) -> Gain:
    """Paired difference of two means of columns."""
    scores = group.scores
    return paired_gain(scores[:, list(arms)], scores[:, list(base)], group.strata)


def _image(arm: RunArm) -> StimulusImage:
    if arm.image is None:
        raise ValueError(f"{arm.id} shows no image")
    return arm.image


def _made_from(arm: RunArm) -> str | None:
    """The image that a control image belongs to."""
    if arm.image is None:
        return None
    return arm.image.id if arm.image.derived else arm.image.twin_of


def _shows_grey(arm: RunArm) -> bool:
    return arm.image is not None and arm.image.derived == "grey"
