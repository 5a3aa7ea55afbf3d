"""Generating the images of a recipe: what is missing of them, by one process or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emo_harness.activations.processes import Processes, wait_until
from emo_harness.images.failures import FAILURES, Failure, read_failures, tidy_failures
from emo_harness.images.generated_set import SHEET, write_set
from emo_harness.images.image_entry import ImageEntry
from emo_harness.images.image_set import MANIFEST
from emo_harness.images.making import Maker
from emo_harness.images.pipeline import TextToImage
from emo_harness.images.resume import PLAN, Plan, begin, file_name, finished, has_begun, sweep
from emo_harness.images.scenes import Scene, scenes_of

if TYPE_CHECKING:
    from emo_harness.images.recipe import PlannedImage

RETRIES = 3


@dataclass
class Work:
    """What a generation did.

    Attributes:
        n_made: images that were made, twins included; told by the first process, by all of them.
        n_there: those that were there when this process began, likewise.
        n_failed: attempts that failed, likewise.
        n_processes: that shared the work.
        n_set: images of the set as it is now, whoever made them.
        given_up: of each scene of the part that failed for good, the last failure.
        remarks: what the user should know.
        seconds: in all.
    """

    n_made: int = 0
    n_there: int = 0
    n_failed: int = 0
    n_processes: int = 1
    n_set: int = 0
    given_up: list[Failure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0


def generate(
    planned: Sequence[PlannedImage],
    plan: Plan,
    load: Callable[[], TextToImage],
    folder: Path,
    *,
    part: Sequence[Scene] | None = None,
    batch_size: int = 1,
    retries: int = RETRIES,
    processes: Processes | None = None,
    title: str | None = None,
) -> Work:
    """Make what is missing of a recipe's images; the first process then writes the manifest.

    An image is there when its file is: the file appears whole and carries its own entry. A scene
    of which something fails is made anew with a derived seed; after `retries` times it is given up,
    and neither its image nor its twin is part of the set.

    Args:
        planned: all images of the recipe, in its order.
        plan: what makes them; a folder of another plan is refused.
        load: the pipeline; called only where something is missing.
        folder: where to.
        part: what to make of it now; all of it by default.
        batch_size: images computed together; halved where memory does not suffice.
        retries: how often a scene is made anew.
        processes: those that share the work; None for what the environment says.
        title: of the contact sheet; the recipe's name by default.

    Raises:
        UserError: the folder holds something else or cannot be written, the pipeline refuses its
            settings or fails whatever it is asked, or there is no memory for one image.
    """
    started = time.perf_counter()
    processes = Processes.of_environment() if processes is None else processes
    scenes = scenes_of(planned)
    part = scenes if part is None else part
    own = [scene for number, scene in enumerate(part) if processes.makes(number)]
    told = list(part) if processes.is_first else own
    known = read_failures(folder) if has_begun(plan, folder) else []
    files, attempts = _stamps(folder, told), _attempts(told, known)
    sweep(folder, (file_name(one) for scene in own for one in scene.images))
    maker = Maker(
        folder,
        own,
        batch_size=batch_size,
        retries=retries,
        failures=known,
        begin=lambda: begin(plan, folder),
    )
    if maker.n_due:
        maker.run(load(), progress=processes.is_first)
    settled = _Settled(folder, retries)
    if processes.is_first:
        wait_until(lambda: settled.n_open(part), "images", maker.slowest_s)
        settled.n_open(scenes)
        entries = [settled.entries[one.id] for one in planned if one.id in settled.entries]
        write_set(folder, entries, title or plan.recipe)
        order = {one.id: number for number, one in enumerate(planned)}
        tidy_failures(folder, order, read_failures(folder))
        sweep(folder, (PLAN, MANIFEST, SHEET, FAILURES))
    else:
        settled.n_open(own)
    now = {k: stamp for k, stamp in _stamps(folder, told).items() if k in settled.entries}
    n_there = sum(files.get(name) == stamp for name, stamp in now.items())
    return Work(
        n_made=len(now) - n_there,
        n_there=n_there,
        n_failed=len(_attempts(told, read_failures(folder)) - attempts),
        n_processes=processes.n,
        n_set=len(settled.entries),
        given_up=[settled.given_up[one.id] for one in told if one.id in settled.given_up],
        remarks=maker.remarks,
        seconds=time.perf_counter() - started,
    )


def _stamps(folder: Path, scenes: Sequence[Scene]) -> dict[str, tuple[int, int]]:
    """By an image's id what becomes another when its file is made, by whichever process."""
    found = {}
    for one in (one for scene in scenes for one in scene.images):
        with suppress(FileNotFoundError):
            stat = (folder / file_name(one)).stat()
            found[one.id] = (stat.st_mtime_ns, stat.st_ino)
    return found


def _attempts(scenes: Sequence[Scene], failures: Sequence[Failure]) -> set[tuple[str, int]]:
    ids = {one.id for scene in scenes for one in scene.images}
    return {(one.id, one.attempt) for one in failures if one.id in ids}


class _Settled:
    """Scenes that are finished or given up, as the folder tells.

    Attributes:
        entries: of finished scenes, by the images' ids.
        given_up: the last failure of the others.
    """

    def __init__(self, folder: Path, retries: int) -> None:
        self.entries: dict[str, ImageEntry] = {}
        self.given_up: dict[str, Failure] = {}
        self._folder = folder
        self._retries = retries

    def n_open(self, scenes: Sequence[Scene]) -> int:
        """Look again at those that were not settled; how many are not."""
        failures = read_failures(self._folder)
        return sum(not self._is_settled(scene, failures) for scene in scenes)

    def _is_settled(self, scene: Scene, failures: Sequence[Failure]) -> bool:
        if scene.id in self.entries or scene.id in self.given_up:
            return True
        attempt = scene.next_attempt(failures)
        found = {one.id: finished(self._folder, one, attempt, pixels=False) for one in scene.images}
        entries = {name: entry for name, entry in found.items() if entry is not None}
        if len(entries) == len(found):
            self.entries |= entries
            return True
        if attempt > self._retries:
            of_scene = [one for one in failures if one.id in found]
            self.given_up[scene.id] = max(of_scene, key=lambda one: one.attempt)
            return True
        return False
