"""Selecting images of a set: from what a user named to stimuli, and to what a model is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from emo_harness.errors import UserError, nearest, quoted
from emo_harness.image_file import pixels_sha256
from emo_harness.images.controls import (
    grey,
    phase_scrambled,
    pixel_scrambled,
    rng_of,
    spectrum_match,
)
from emo_harness.images.image_entry import PLACEBO, ImageEntry
from emo_harness.images.image_set import (
    ARM_PREFIX,
    MANIFEST,
    ImageSet,
    load_image_set,
    shipped_sets,
)
from emo_harness.images.shared_image import SharedImage
from emo_harness.stimuli import Stimulus, StimulusImage, combine, select
from emo_harness.stimuli.visual import GREY

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

DEFAULT_SET = "emoji"
PER_CONCEPT = 2
Scrambled = Literal["pixel-scrambled", "phase-scrambled"]
SCRAMBLED: tuple[Scrambled, ...] = get_args(Scrambled)
_SCRAMBLE = {"pixel-scrambled": pixel_scrambled, "phase-scrambled": phase_scrambled}


class VisualStimuli:
    """A set's images and their controls as stimuli; each image is opened once and shared.

    Args:
        image_set: where the images are.
    """

    def __init__(self, image_set: ImageSet) -> None:
        self.image_set = image_set
        self._opened: dict[tuple[str, str | None], PILImage] = {}

    def of_family(self, family: str, per_concept: int = PER_CONCEPT) -> tuple[Stimulus, ...]:
        """Images of a family ("attack"), at most so many of each concept, in the set's order.

        Variants of a concept (low and high arousal) take turns.

        Raises:
            UserError: the set has no image of that family that is an arm.
        """
        members = [e for e in self._images() if e.family == family and e.default]
        if not members:
            families = dict.fromkeys(e.family for e in self._images())
            raise UserError(
                f"choosing images of family {family}",
                found=f"none in the image set {self.image_set.name}, which has {quoted(families)}",
                expected="images of that family",
                fix="name another set with the option `images`, or images of this one, e.g. "
                f"{ARM_PREFIX}{self.image_set.entries[0].id}",
            )
        return tuple(self.image_set.stimulus(e) for e in _some_of_each(members, per_concept))

    def named(
        self,
        names: Iterable[str],
        per_concept: int = PER_CONCEPT,
        also_known: Sequence[Stimulus] = (),
    ) -> tuple[Stimulus, ...]:
        """What names that begin with "img:" mean, in order and without repeats.

        Args:
            names: "img:fear-2" (an image), "img:fear" (a concept) or "img:attack" (a family), of
                which at most `per_concept` images are taken for each concept, or
                "img:concept:love" where an image is called that too; "img:grey",
                "img:pixel-scrambled:fear-2" and "img:phase-scrambled:fear-2" (controls); each of
                them with sentences, "img:fear-2+ea01".
            also_known: sentences that may be named by id beside the shipped ones.

        Raises:
            UserError: no such image or sentence, or two images in one name.
        """
        chosen: dict[str, Stimulus] = {}
        for name in names:
            chosen |= {s.id: s for s in self._named(name.strip(), per_concept, also_known)}
        return tuple(chosen.values())

    def twins(self, stimuli: Iterable[Stimulus], per_concept: int) -> tuple[Stimulus, ...]:
        """Neutral twins of `per_concept` images of each concept that have one.

        Here and in `scrambled`, concepts take turns in whether an image of low or of high arousal
        comes first, so that one image of each concept gives controls of both.
        """
        twins = [self.image_set.twin(e.id) for e in self._controlled_in(stimuli)]
        there = [twin for twin in twins if twin is not None]
        chosen = _some_of_each(there, per_concept, alternating=True)
        return tuple(self.image_set.stimulus(e) for e in chosen)

    def scrambled(
        self, stimuli: Iterable[Stimulus], how: Scrambled, per_concept: int
    ) -> tuple[Stimulus, ...]:
        """Scrambled copies of `per_concept` images of each concept."""
        entries = _some_of_each(self._controlled_in(stimuli), per_concept, alternating=True)
        return tuple(self._derived(entry, how) for entry in entries)

    def grey(self) -> Stimulus:
        """A plain grey image of the size of the set's first one."""
        image = self._made(GREY, GREY)
        return Stimulus(
            id=f"{ARM_PREFIX}{GREY}",
            family=PLACEBO,
            placebo=GREY,
            source="emo-harness",
            image=StimulusImage(
                set=self.image_set.name,
                id=GREY,
                sha256=pixels_sha256(image),
                concept=GREY,
                derived=GREY,
                width=image.width,
                height=image.height,
            ),
        )

    def image(self, image: StimulusImage) -> PILImage:
        """What a model is shown, RGB; the same object for the same image.

        Raises:
            UserError: the image is not in the set, or another one than it was.
        """
        return self._made(image.id, image.derived)

    def _made(self, image_id: str, derived: str | None) -> PILImage:
        key = (image_id, derived)
        if key not in self._opened:
            self._opened[key] = SharedImage.of(self._make(image_id, derived))
        return self._opened[key]

    def _make(self, image_id: str, derived: str | None) -> PILImage:
        if derived == GREY:
            # Of the image itself: a manifest can say anything of its size.
            return grey(self._made(self.image_set.entries[0].id, None).size)
        if derived is None:
            return self.image_set.open(self.image_set.entry(image_id))
        image = self._made(image_id, None)
        return _SCRAMBLE[derived](image, rng_of(image))

    def _images(self) -> list[ImageEntry]:
        return [entry for entry in self.image_set.entries if entry.twin_of is None]

    def _named(
        self, name: str, per_concept: int, also_known: Sequence[Stimulus]
    ) -> tuple[Stimulus, ...]:
        parts = name.split("+")
        shown = [part for part in parts if is_image(part)]
        if len(shown) > 1:
            raise UserError(
                f"looking up the stimulus {name[:80]!r}",
                found="two images",
                expected="one image, alone or with sentences, such as img:fear-2+ea01",
                fix="name each image as a stimulus of its own",
            )
        images = self._images_named(shown[0].lower().removeprefix(ARM_PREFIX), per_concept)
        said = "+".join(part for part in parts if part not in shown)
        if not said:
            return images
        sentences = select(said, also_known)
        return tuple(combine([image, one]) for image in images for one in sentences)

    def _images_named(self, name: str, per_concept: int) -> tuple[Stimulus, ...]:
        entries = {entry.id: entry for entry in self.image_set.entries}
        if name == GREY:
            return (self.grey(),)
        for how in SCRAMBLED:
            if name.startswith(f"{how}:"):
                return (self._derived(self.image_set.entry(name.removeprefix(f"{how}:")), how),)
        members = self._meant(name)
        if not members:
            known = [*entries, *(e.concept for e in entries.values()), GREY]
            raise UserError(
                f"looking up the image {ARM_PREFIX}{name[:80]}",
                found=f"no image, concept or family of that name in the image set "
                f"{self.image_set.name}{nearest(name, known)}",
                expected=f"an image such as {ARM_PREFIX}{self.image_set.entries[0].id}, or a "
                f"concept such as {ARM_PREFIX}{self.image_set.entries[0].concept}",
                fix=f"see `emo images show {self.image_set.name}`, or name another set with the "
                "option `images`",
            )
        return tuple(self.image_set.stimulus(e) for e in _some_of_each(members, per_concept))

    def _meant(self, name: str) -> list[ImageEntry]:
        """The entries that a name stands for; "concept:love" where an image has that id too."""
        asked, _, plain = name.rpartition(":")
        arms = [entry for entry in self._images() if entry.default]
        meanings = {
            "image": [e for e in self.image_set.entries if e.id == plain],
            "concept": [e for e in arms if e.concept.lower() == plain],
            "family": [e for e in arms if e.family == plain],
        }
        if asked:
            return meanings.get(asked, [])
        found = {kind: members for kind, members in meanings.items() if members}
        if len({tuple(e.id for e in members) for members in found.values()}) > 1:
            raise UserError(
                f"looking up the image {ARM_PREFIX}{plain[:80]}",
                found=f"several meanings in the image set {self.image_set.name}, "
                f"{quoted(found)}, of different images",
                expected="one of them",
                fix=f"write {' or '.join(f'{ARM_PREFIX}{kind}:{plain}' for kind in found)}",
            )
        return next(iter(found.values()), [])

    def _controlled_in(self, stimuli: Iterable[Stimulus]) -> list[ImageEntry]:
        """The set's own images among the stimuli that may have controls, each once.

        A control shows no sentence, so images that are shown alone go before those beside one.
        """
        shown = [s for s in stimuli if s.image is not None and s.image.derived is None]
        alone = [s for s in shown if not s.text] or shown
        ids = dict.fromkeys(s.image.id for s in alone if s.image is not None)
        return [self.image_set.entry(image_id) for image_id in ids]

    def _derived(self, entry: ImageEntry, how: Scrambled) -> Stimulus:
        original = self.image_set.stimulus(entry)
        assert original.image is not None  # noqa: S101
        copy = self._made(entry.id, how)
        facts: dict[str, float] = {}
        if how == "phase-scrambled":
            match = spectrum_match(self._made(entry.id, None), copy)
            if not isnan(match.error):
                facts = {"contrast_kept": match.contrast, "spectrum_error": match.error}
        return Stimulus(
            id=f"{ARM_PREFIX}{how}:{entry.id}",
            family=PLACEBO,
            placebo=how,
            theory=f"{how} copy of {entry.id}",
            source="emo-harness",
            image=original.image.model_copy(
                update={
                    "sha256": pixels_sha256(copy),
                    "derived": how,
                    "norm_valence": None,
                    "norm_arousal": None,
                    "norm_scale": None,
                    **facts,
                }
            ),
        )


def is_image(name: str) -> bool:
    """Whether a name of a stimulus is that of an image, or of one with a sentence."""
    return not any(c.isspace() for c in name.strip()) and ARM_PREFIX in name.lower()


def visual_stimuli(place: str | Path = DEFAULT_SET) -> VisualStimuli:
    """The stimuli of an image set, read once as long as its manifest stays as it is.

    Args:
        place: a folder, or the name of a set that comes with the package.

    Raises:
        UserError: no such set, or a broken one.
    """
    folder = Path(place).expanduser()
    if not folder.exists():
        folder = shipped_sets().get(str(place), folder)
    manifest = folder / MANIFEST
    changed_ns = manifest.stat().st_mtime_ns if manifest.is_file() else None
    return _kept(str(folder), folder.resolve(), changed_ns)


@lru_cache(maxsize=4)  # Every subtask of a run shows the same images.
def _kept(folder: str, _resolved: Path, _changed_ns: int | None) -> VisualStimuli:
    return VisualStimuli(load_image_set(folder))


def _some_of_each(
    entries: Sequence[ImageEntry], per_concept: int, alternating: bool = False
) -> list[ImageEntry]:
    """At most so many of each concept; its low- and high-arousal images take turns.

    Args:
        alternating: of concepts with several variants, low arousal is first in the first, high in
            the second, and so on.
    """
    concepts: dict[str, dict[str | None, list[ImageEntry]]] = {}
    for entry in entries:
        concepts.setdefault(entry.concept, {}).setdefault(entry.arousal, []).append(entry)
    chosen: set[str] = set()
    n_varied = 0
    for variants in concepts.values():
        in_order = list(variants.values())
        if alternating and len(variants) > 1:
            names = sorted(variants, key=str, reverse=n_varied % 2 == 0)
            in_order = [variants[name] for name in names]
            n_varied += 1
        longest = max(map(len, in_order))
        in_turn = [v[i].id for i in range(longest) for v in in_order if i < len(v)]
        chosen.update(in_turn[:per_concept])
    return [entry for entry in entries if entry.id in chosen]
