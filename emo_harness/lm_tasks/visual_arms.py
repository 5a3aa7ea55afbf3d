"""Arms of visual tasks: images, images with a sentence, and the controls of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, cast

from emo_harness.errors import UserError, quoted
from emo_harness.images import ARM_PREFIX
from emo_harness.images.selection import (
    DEFAULT_SET,
    PER_CONCEPT,
    SCRAMBLED,
    Scrambled,
    VisualStimuli,
    is_image,
    visual_stimuli,
)
from emo_harness.lm_tasks.arms import Arm, assembled, named_placebos, refuse_emotional
from emo_harness.lm_tasks.expand import SHIPPED_FAMILIES, VISUAL, VISUAL_FAMILIES
from emo_harness.lm_tasks.options import ControlImage, EmoOptions
from emo_harness.stimuli import Stimulus, select
from emo_harness.stimuli.visual import GREY

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

TWINS = "twins"
NO_IMAGE: Literal["no-image"] = "no-image"
KINDS = (GREY, TWINS, *SCRAMBLED)


@dataclass(frozen=True)
class VisualArms:
    """The arms of a visual task, and what each of them shows.

    Attributes:
        arms: control, placebos, stimuli.
        control_image: what control shows.
        image_set: name of the set.
        images: arm id to its image; an arm without one shows none.
    """

    arms: tuple[Arm, ...]
    control_image: ControlImage
    image_set: str
    images: dict[str, PILImage]


def visual_arms(
    family: str, options: EmoOptions, task: str, control_image: ControlImage
) -> VisualArms:
    """Choose a visual task's arms.

    A sentence alone is shown with what control shows, so that it differs from control by itself.
    Unless `placebos` says otherwise, one image of each concept, of low and of high arousal in turn
    from concept to concept, has beside it its neutral twin, its pixel-scrambled and its
    phase-scrambled copy; there is a grey image where control shows none.

    Args:
        family: "visual-attack", "visual-prompt", or "all" for both side by side.
        options: what the user selected. A list of `placebos` may name "twins", "pixel-scrambled",
            "phase-scrambled" (of every image), "grey", "no-image", single images, and
            sentences as other tasks take them.
        task: the task's name, for messages.
        control_image: where `options` leaves it open.

    Raises:
        UserError: an unknown name, a family that does not belong here, or no arm but control.
    """
    control_image = options.control_image or control_image
    stimuli = visual_stimuli(options.images or DEFAULT_SET)
    per_concept = options.images_per_concept or PER_CONCEPT
    chosen = _chosen(family, options, stimuli, per_concept)
    emotional = tuple(s for s in chosen if s.placebo is None)
    _check_families(family, emotional, task)
    # An empty list asks control and the family's placebos alone.
    beside = emotional if chosen else _of_family(family, stimuli, per_concept)
    placebos = _placebos(options.placebos, beside, stimuli, control_image)
    placebos += tuple(s for s in chosen if s.placebo is not None and s not in placebos)
    if control_image == GREY:
        placebos = tuple(s for s in placebos if s.id != f"{ARM_PREFIX}{GREY}")
    arms = assembled(placebos, emotional, task)
    images: dict[str, PILImage] = {}
    of_control = stimuli.grey().image if control_image == GREY else None
    for arm in arms:
        image = arm.stimulus.image if arm.stimulus else None
        if image is None and not (arm.stimulus and arm.stimulus.placebo == NO_IMAGE):
            image = of_control
        if image is not None:
            images[arm.id] = stimuli.image(image)
    return VisualArms(arms, control_image, stimuli.image_set.name, images)


def _chosen(
    family: str, options: EmoOptions, stimuli: VisualStimuli, per_concept: int
) -> tuple[Stimulus, ...]:
    if options.stimuli is None:
        return _of_family(family, stimuli, per_concept)
    names = [options.stimuli] if isinstance(options.stimuli, str) else options.stimuli
    shown = [name for name in names if is_image(name)]
    sentences = select([name for name in names if name not in shown])
    return (*stimuli.named(shown, per_concept, also_known=sentences), *sentences)


def _of_family(family: str, stimuli: VisualStimuli, per_concept: int) -> tuple[Stimulus, ...]:
    families = VISUAL_FAMILIES if family == "all" else (family,)
    members = [stimuli.of_family(name.removeprefix(VISUAL), per_concept) for name in families]
    return tuple(stimulus for own in members for stimulus in own)


def _placebos(
    wanted: int | str | list[str] | None,
    emotional: Sequence[Stimulus],
    stimuli: VisualStimuli,
    control_image: ControlImage,
) -> tuple[Stimulus, ...]:
    if wanted is None or isinstance(wanted, int):
        per_concept = 1 if wanted is None else wanted
        if per_concept < 0:
            raise UserError(
                "choosing placebos",
                found=f"placebos = {wanted}",
                expected="how many images of each concept have controls, 0 for no placebo",
                fix="give a number from 0 on, or a list of names",
            )
        kinds = KINDS if per_concept else ()
        return tuple(s for kind in kinds for s in _of_kind(kind, emotional, stimuli, per_concept))
    names = [name.strip() for name in ([wanted] if isinstance(wanted, str) else wanted)]
    chosen = {
        stimulus.id: stimulus
        for kind in names
        if kind in KINDS
        for stimulus in _of_kind(kind, emotional, stimuli, len(emotional))
    }
    if NO_IMAGE in names:
        chosen[NO_IMAGE] = _no_image(control_image)
    said = [name for name in names if name not in (*KINDS, NO_IMAGE) and not is_image(name)]
    _refuse_misspelt(said)
    shown = [name for name in names if is_image(name)]
    chosen |= {s.id: s for s in stimuli.named(shown, len(emotional) or 1)}
    chosen |= {s.id: s for s in (named_placebos(said, emotional) if said else ())}
    refuse_emotional(chosen.values())
    return tuple(chosen.values())


def _refuse_misspelt(names: Iterable[str]) -> None:
    """What is looked up as a sentence, but is nearly the name of a kind of image."""
    for name in names:
        meant = get_close_matches(name, (*KINDS, NO_IMAGE), n=1, cutoff=0.75)
        if meant:
            raise UserError(
                "choosing placebos",
                found=f"{name!r} (nearest: {meant[0]!r})",
                expected=f"{quoted((*KINDS, NO_IMAGE))}, or ids of placebos",
                fix=f"write {meant[0]}",
            )


def _of_kind(
    kind: str, emotional: Sequence[Stimulus], stimuli: VisualStimuli, per_concept: int
) -> tuple[Stimulus, ...]:
    if kind == GREY:
        return (stimuli.grey(),)
    if kind == TWINS:
        return stimuli.twins(emotional, per_concept)
    return stimuli.scrambled(emotional, cast(Scrambled, kind), per_concept)


def _no_image(control_image: ControlImage) -> Stimulus:
    if control_image == "none":
        raise UserError(
            "choosing placebos",
            found=f"{NO_IMAGE} beside a control without an image, which is the same prompt",
            expected=f"{NO_IMAGE} where control shows a grey image",
            fix=f'leave {NO_IMAGE} out, or set "control_image": "grey"',
        )
    return Stimulus(id=NO_IMAGE, family="placebo", placebo=NO_IMAGE, source="emo-harness")


def _check_families(family: str, emotional: Sequence[Stimulus], task: str) -> None:
    """Refuse shipped stimuli of another family under this one's name; `all` takes any."""
    if family == "all":
        return
    shipped = (*SHIPPED_FAMILIES, *VISUAL_FAMILIES)
    own = (family, family.removeprefix(VISUAL))
    for stimulus in emotional:
        foreign = [p for p in stimulus.lineage.split("+") if p in shipped and p not in own]
        if foreign:
            raise UserError(
                f"choosing the stimuli of {task}",
                found=f"{stimulus.id} of family {stimulus.lineage}",
                expected=f"images or sentences of {quoted(own)}, or of families of your own",
                fix=f"use {task.replace(f'_{own[1]}', '_all', 1)}, which reports each family on "
                "its own",
            )
