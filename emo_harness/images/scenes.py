"""Scenes: an image and its neutral twin, made with one seed, so that what they show matches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emo_harness.errors import UserError, nearest, quoted

if TYPE_CHECKING:
    from emo_harness.images.failures import Failure
    from emo_harness.images.recipe import PlannedImage


@dataclass(frozen=True)
class Scene:
    """What is made with one seed, and made anew together where one of it fails.

    Attributes:
        images: an image and, behind it, its twins.
    """

    images: tuple[PlannedImage, ...]

    @property
    def id(self) -> str:
        """Of its image."""
        return self.images[0].id

    @property
    def concept(self) -> str:
        """What its image shows."""
        return self.images[0].concept

    def seed(self, attempt: int) -> int:
        """Of an attempt: the recipe's at first, afterwards one derived from it.

        (seed, attempt) go through numpy's `SeedSequence` (O'Neill 2014's mixing), so attempts of
        neighbouring seeds do not meet.
        """
        first = self.images[0].seed
        if attempt == 0:
            return first
        return int(np.random.SeedSequence([first, attempt]).generate_state(1)[0] >> 1)

    def next_attempt(self, failures: Iterable[Failure]) -> int:
        """The first attempt at which nothing of this scene has failed."""
        ids = {one.id for one in self.images}
        failed = {one.attempt for one in failures if one.id in ids}
        return next(attempt for attempt in range(len(failed) + 1) if attempt not in failed)


def scenes_of(planned: Sequence[PlannedImage]) -> list[Scene]:
    """All scenes of a recipe, in its order."""
    known = {one.id for one in planned}
    grouped: dict[str, list[PlannedImage]] = {}
    for one in planned:
        is_twin = one.twin_of in known
        members = grouped.setdefault(str(one.twin_of) if is_twin else one.id, [])
        members.insert(len(members) if is_twin else 0, one)
    return [Scene(tuple(members)) for members in grouped.values()]


def part_of(
    scenes: Sequence[Scene], *, concepts: Sequence[str] = (), limit: int | None = None
) -> list[Scene]:
    """The scenes of some concepts, and of these the first of each concept in turn.

    Args:
        concepts: all where empty.
        limit: how many; every concept, and every variant of it, has its first scene before one has
            its second.

    Raises:
        UserError: a concept that the recipe does not have.
    """
    known = list(dict.fromkeys(scene.concept for scene in scenes))
    for concept in concepts:
        if concept not in known:
            raise UserError(
                "choosing what to make of the recipe",
                found=f"the concept {concept!r}{nearest(concept, known)}",
                expected=f"among {quoted(known, 20)}",
                fix="correct --concepts",
            )
    chosen = [scene for scene in scenes if not concepts or scene.concept in concepts]
    if limit is None:
        return chosen
    seen: Counter[tuple[str, str | None]] = Counter()
    rank = []
    for scene in chosen:
        variant = (scene.concept, scene.images[0].arousal)
        rank.append(seen[variant])
        seen[variant] += 1
    first = sorted(range(len(chosen)), key=lambda index: (rank[index], index))[:limit]
    return [chosen[index] for index in sorted(first)]
