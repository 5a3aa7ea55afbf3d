"""Effects of images: by concept, level and arousal, against control and against each control
image, and of an image with a sentence against either alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from emo_harness.effects import MARGIN_PP, UNKNOWN, Gain, benjamini_hochberg, paired_gain
from emo_harness.report.board_key import BoardKey
from emo_harness.report.groups import Group
from emo_harness.runs import RunArm
from emo_harness.stimuli import StimulusImage

Facet = Literal["all", "concept", "level", "arousal", "image"]
# The control images that an image is held against, by kind of placebo: its own, then those that
# are the same for all.
OWN_CONTROLS = ("neutral", "pixel-scrambled", "phase-scrambled")
CONTROLS = (*OWN_CONTROLS, "grey", "no-image")
NAN = float("nan")


@dataclass(frozen=True)
class Contrast:
    """Images over their control images of one kind.

    Attributes:
        gain: mean over the images that have such a control minus mean over these controls;
            `UNKNOWN` where none has.
        n_images: how many have one; of controls that are the same for all, every image.
        controls_gain: these controls over control.
    """

    gain: Gain = UNKNOWN
    n_images: int = 0
    controls_gain: Gain = UNKNOWN


@dataclass(frozen=True)
class VisualRow:
    """The mean over some images of a family.

    Attributes:
        facet: what the images have in common; `name` which of its values.
        arms: ids.
        gain: over control.
        against: over their control images, by kind of placebo.
        q: Benjamini-Hochberg over the rows of a facet, against control; `q_scrambled` against the
            pixel-scrambled copies. NaN for the mean over all.
    """

    facet: Facet
    name: str
    arms: tuple[str, ...]
    gain: Gain
    against: dict[str, Contrast]
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
        rows: the mean over all first, then facet by facet, at last every image. Of images with
            sentences the mean over all alone, against nothing but control.
        high_over_low: images of high minus those of low arousal; `UNKNOWN` without both.
        combined: of families of images with sentences, empty for the others.
        unparsed_pct, unparsed_control_pct: answers that the filter could not read.
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
    unparsed_pct: float = NAN
    unparsed_control_pct: float = NAN

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
    is_combined = all(group.arms[i].text for i in members)
    by_arousal = _grouped(group, members, lambda image: image.arousal)
    high, low = by_arousal.get("high"), by_arousal.get("low")
    images = [_image(group.arms[i]) for i in members]
    return VisualEffects(
        label=group.label,
        board=group.board,
        family=family,
        limited=group.limited,
        control="grey image" if _shows_grey(group) else "no image",
        sets=tuple(dict.fromkeys(image.set for image in images)),
        rows=(_whole(group, members),) if is_combined else tuple(_rows(group, members)),
        high_over_low=_over(group, high, low) if high and low and not is_combined else UNKNOWN,
        combined=tuple(_combined(group, members)) if is_combined else (),
        margin_pp=margin_pp,
        unparsed_pct=_unparsed_pct(group, members),
        unparsed_control_pct=_unparsed_pct(group, [0]),
    )


def _whole(group: Group, members: Sequence[int]) -> VisualRow:
    """The mean over images with sentences."""
    ids = tuple(group.arms[i].id for i in members)
    against = {kind: Contrast() for kind in CONTROLS}
    return VisualRow("all", "all images", ids, _over(group, members, [0]), against)


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
        scrambled = benjamini_hochberg([row.against["pixel-scrambled"].gain.p for row in own])
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


def _against(group: Group, kind: str, columns: Sequence[int]) -> Contrast:
    """Over the images' own controls of a kind, or over that which is the same for all."""
    if kind in OWN_CONTROLS:
        own = group.own_controls(columns, kind)
        images, controls = list(own), list(own.values())
    else:
        images = list(columns)
        controls = [i for i, arm in enumerate(group.arms) if arm.placebo == kind][:1]
        if kind == "grey" and _shows_grey(group):
            controls = [0]
    if not images or not controls:
        return Contrast()
    return Contrast(_over(group, images, controls), len(images), _over(group, controls, [0]))


def _combined(group: Group, members: Sequence[int]) -> list[CombinedRow]:
    images = {arm.image.sha256: i for i, arm in enumerate(group.arms) if arm.image and not arm.text}
    sentences = {arm.text: i for i, arm in enumerate(group.arms) if arm.text and not arm.image}
    rows = []
    for i in members:
        arm = group.arms[i]
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


def _shows_grey(group: Group) -> bool:
    """Whether control showed a grey image: it is how the run was asked, and no image of a set."""
    return group.head.settings.get("control_image") == "grey"


def _unparsed_pct(group: Group, columns: Sequence[int]) -> float:
    cells = group.unparsed[:, list(columns)]
    asked = ~np.isnan(group.scores[:, list(columns)])
    return 100 * float(cells[asked].mean()) if asked.any() else NAN
