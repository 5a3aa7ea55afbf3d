"""Making images in batches: a queue of what is due, failed scenes queued anew, files written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from emo_harness.errors import UserError
from emo_harness.images.failures import (
    PIPELINE_FAILED,
    PIPELINE_REFUSED,
    Failure,
    record_failure,
)
from emo_harness.images.generated_set import entry_of
from emo_harness.images.pipeline import Made, TextToImage, Wanted
from emo_harness.images.png_facts import png_bytes
from emo_harness.images.resume import file_name, finished
from emo_harness.images.scenes import Scene
from emo_harness.whole_file import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from emo_harness.images.recipe import PlannedImage

# Failures of the pipeline itself, from the first image on, after which it is given up.
HOPELESS = 4


@dataclass(frozen=True)
class Due:
    """An image that is to be made, at this attempt of its scene."""

    scene: Scene
    planned: PlannedImage
    attempt: int

    @property
    def seed(self) -> int:
        return self.scene.seed(self.attempt)

    def wanted(self) -> Wanted:
        """What the pipeline is asked for."""
        return Wanted(self.planned.prompt, self.planned.negative_prompt, self.seed)


class Maker:
    """One process's share of a folder's images.

    Args:
        failures: that are known of before.
        begin: makes the folder ready; called once the pipeline has accepted what it is asked.

    Attributes:
        made: ids of images that were made.
        n_failed: attempts that failed.
        slowest_s: that a batch took.
        remarks: what the user should know.
    """

    def __init__(
        self,
        folder: Path,
        scenes: Iterable[Scene],
        *,
        batch_size: int,
        retries: int,
        failures: Iterable[Failure] = (),
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self.n_failed = 0
        self.made: set[str] = set()
        self.slowest_s = 0.0
        self.remarks: list[str] = []
        self._folder = folder
        self._batch_size = batch_size
        self._retries = retries
        self._failures = list(failures)
        self._begin = begin
        # With and without a negative prompt are different calls, so never in one batch.
        self._queues: dict[bool, deque[Due]] = {True: deque(), False: deque()}
        for scene in scenes:
            self._queue(scene)

    @property
    def n_due(self) -> int:
        """How many images are missing."""
        return sum(map(len, self._queues.values()))

    def run(self, pipeline: TextToImage, *, progress: bool = True) -> None:
        """Make everything that is missing; each file is written while the next batch is computed.

        Args:
            progress: show a bar, where there is a terminal.

        Raises:
            UserError: memory for not even one image, a pipeline that fails whatever it is asked,
                a folder that cannot be written.
        """
        shows = None if progress else True
        bar = tqdm(total=self.n_due, desc="generating", unit="image", disable=shows)
        with bar, ThreadPoolExecutor(1) as writer:
            writing: list[Future[None]] = []
            while self.n_due:
                begun = time.perf_counter()
                batch, made = self._next(pipeline)
                self._wait(writing)
                pairs = list(zip(batch, made, strict=True))
                good = [(due, one.image) for due, one in pairs if one.image is not None]
                bad = [(due, one.failure) for due, one in pairs if one.failure is not None]
                if not good:
                    self._require_accepted(bad[-1][1])
                self._begin()
                writing = [writer.submit(self._write, due, image, pipeline) for due, image in good]
                self.made |= {due.planned.id for due, _ in good}
                if bad:
                    # A scene that is given up takes back what it has written.
                    self._wait(writing)
                    self._retry(bad)
                bar.total = bar.n + len(good) + self.n_due
                bar.update(len(good))
                self.slowest_s = max(self.slowest_s, time.perf_counter() - begun)
            self._wait(writing)
        self.remarks += pipeline.remarks

    def _queue(self, scene: Scene) -> None:
        """Queue what is missing of a scene, or give it up."""
        attempt = scene.next_attempt(self._failures)
        missing = [
            one for one in scene.images if not finished(self._folder, one, attempt, pixels=True)
        ]
        if missing and attempt > self._retries:
            for one in scene.images:
                (self._folder / file_name(one)).unlink(missing_ok=True)
            return
        for one in missing:
            self._queues[one.negative_prompt is not None].append(Due(scene, one, attempt))

    def _next(self, pipeline: TextToImage) -> tuple[list[Due], list[Made]]:
        """Take a batch from a queue and make it; a smaller one where memory does not suffice."""
        import torch

        queue = next(filter(None, self._queues.values()))
        while True:
            batch = [queue.popleft() for _ in range(min(self._batch_size, len(queue)))]
            try:
                return batch, pipeline.make([due.wanted() for due in batch])
            except (torch.OutOfMemoryError, MemoryError) as error:
                torch.cuda.empty_cache()
                if len(batch) == 1:
                    raise _no_memory(batch[0]) from error
                queue.extendleft(reversed(batch))
                self._batch_size = len(batch) // 2
                self.remarks.append(f"memory was short: batches of {self._batch_size} were made")

    def _write(self, due: Due, image: PILImage, pipeline: TextToImage) -> None:
        entry = entry_of(due.planned, image, pipeline, seed=due.seed, attempt=due.attempt)
        content = png_bytes(image, entry)
        write_whole(self._folder / file_name(due.planned), lambda path: path.write_bytes(content))

    def _wait(self, writing: Sequence[Future[None]]) -> None:
        try:
            for one in writing:
                one.result()
        except OSError as error:
            raise UserError(
                f"writing images into {self._folder}",
                found=f"{error.strerror or error}",
                expected="a folder that can be written, and room on its disk",
                fix="make room; the same command goes on with what is missing",
            ) from error

    def _nothing_works(self) -> bool:
        # Whoever made it: another process or an earlier call says as much of the settings.
        return not self.made and not any(self._folder.glob("[!.]*.png"))

    def _require_accepted(self, failure: str) -> None:
        """Refuse settings that the pipeline refuses, where nothing was made yet.

        Raises:
            UserError: it is so.
        """
        if failure.startswith(PIPELINE_REFUSED) and self._nothing_works():
            raise UserError(
                f"generating images into {self._folder}",
                found=failure,
                expected="settings that fit the pipeline",
                fix="see --size, --steps, --guidance and --set",
            )

    def _retry(self, bad: Sequence[tuple[Due, str]]) -> None:
        """Record failures; their scenes are queued anew, or given up.

        Raises:
            UserError: nothing was made yet, and the pipeline has failed too often.
        """
        reason = bad[-1][1]
        nothing_works = self._nothing_works()
        for due, reason in bad:
            failure = Failure(id=due.planned.id, attempt=due.attempt, seed=due.seed, reason=reason)
            record_failure(self._folder, failure)
            self._failures.append(failure)
        self.n_failed += len(bad)
        if nothing_works and self.n_failed >= HOPELESS and reason.startswith(PIPELINE_FAILED):
            raise UserError(
                f"generating images into {self._folder}",
                found=f"no image, after {self.n_failed} attempts: {reason}",
                expected="a pipeline that works with these settings",
                fix="see --dtype, --device, --size and --steps",
            )
        for name, scene in {due.scene.id: due.scene for due, _ in bad}.items():
            for queue in self._queues.values():
                others = [due for due in queue if due.scene.id != name]
                queue.clear()
                queue.extend(others)
            ids = {one.id for one in scene.images}
            self.made -= ids
            self._queue(scene)


def _no_memory(due: Due) -> UserError:
    return UserError(
        f"making {due.planned.id}",
        found="not enough memory for one image",
        expected="memory for the pipeline and one image",
        fix="try --cpu-offload model or sequential, --attention-slicing, --dtype bfloat16 or a "
        "smaller --size; finished images stay",
    )
