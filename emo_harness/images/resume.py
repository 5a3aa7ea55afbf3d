"""What belongs into a folder of generated images, and which of it is there already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emo_harness.errors import UserError
from emo_harness.image_file import open_image, pixels_sha256
from emo_harness.images.failures import FAILURES
from emo_harness.images.image_entry import ImageEntry
from emo_harness.images.image_set import MANIFEST
from emo_harness.images.png_facts import read_facts
from emo_harness.validation import Strict, read_json, validated
from emo_harness.whole_file import require_folder, text_writer, write_whole

if TYPE_CHECKING:
    from emo_harness.images.pipeline import CallSettings
    from emo_harness.images.pipeline_files import PipelineIdentity
    from emo_harness.images.recipe import PlannedImage

PLAN = "plan.json"


class Plan(Strict):
    """What makes the images of a folder.

    What only changes how fast they come is not part of it: device, batch size, offloading; nor is
    which part of the recipe is made first.

    Attributes:
        recipe: its name.
        images_sha256: of all that the recipe says of its images.
        n_images: twins included.
        model: repository or folder's own name.
        commit, weights_sha256, parts_sha256: see `PipelineIdentity`.
        variant: of the files of weights.
        dtype: computed in.
        scheduler, steps, guidance: as asked for; None for the pipeline's own.
        width, height: in pixels; None for the pipeline's own.
        arguments: further ones of the pipeline's call.
    """

    schema_version: Literal[1] = 1
    recipe: str
    images_sha256: str
    n_images: int
    model: str
    commit: str | None
    weights_sha256: str | None
    parts_sha256: str | None
    variant: str | None
    dtype: str
    scheduler: str | None
    steps: int | None
    guidance: float | None
    width: int | None
    height: int | None
    arguments: dict[str, float | int | str | bool | None]


def plan_of(
    recipe: str,
    planned: Sequence[PlannedImage],
    identity: PipelineIdentity,
    settings: CallSettings,
    *,
    dtype: str,
    scheduler: str | None = None,
    variant: str | None = None,
) -> Plan:
    """The plan of a recipe's images by a pipeline; see `Plan`."""
    return Plan(
        recipe=recipe,
        images_sha256=images_sha256(planned),
        n_images=len(planned),
        **asdict(identity),
        variant=variant,
        dtype=dtype,
        scheduler=scheduler,
        steps=settings.steps,
        guidance=settings.guidance,
        width=settings.size[0] if settings.size else None,
        height=settings.size[1] if settings.size else None,
        arguments=dict(settings.arguments),
    )


def images_sha256(planned: Sequence[PlannedImage]) -> str:
    """SHA-256 (hex) of everything a recipe says of its images, in their order."""
    said = [{key: str(value) for key, value in asdict(one).items()} for one in planned]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def has_begun(plan: Plan, folder: Path) -> bool:
    """Whether this plan has begun to fill the folder; nothing is written.

    Raises:
        UserError: the folder is filled by another plan, holds another set, or cannot be written.
    """
    doing = f"generating images into {folder}"
    require_folder(folder, doing)
    path = folder / PLAN
    strange = [p.name for p in (*folder.glob("*.png"), *folder.glob(MANIFEST))]
    if path.exists():
        there = _read(path)
        if there == plan:
            return True
        if strange:
            raise _other(doing, plan, there)
    elif strange:
        raise UserError(
            doing,
            found=f"{min(strange)}, but no {PLAN}",
            expected="an empty folder, or one that the same plan has begun to fill",
            fix="choose another --out",
        )
    return False


def begin(plan: Plan, folder: Path) -> None:
    """Put a plan into its folder, where `has_begun` does not find it there.

    Raises:
        UserError: as `has_begun`.
    """
    if has_begun(plan, folder):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Nothing is lost with a plan of which nothing was made; its failures are not this one's.
        (folder / FAILURES).unlink(missing_ok=True)
        write_whole(folder / PLAN, text_writer(plan.model_dump_json(indent=1) + "\n"))
    except OSError as error:
        raise UserError(
            f"generating images into {folder}",
            found=f"{error.strerror or error}",
            expected="a folder that can be written",
            fix="choose another --out",
        ) from error


def finished(
    folder: Path, planned: PlannedImage, attempt: int, *, pixels: bool
) -> ImageEntry | None:
    """The entry of an image that is there, made at this attempt; None where it is missing.

    An image carries its entry in its own file, so that one rename makes both appear.

    Args:
        pixels: whether they are compared with the entry's hash too; the image is decoded for
            nothing else.
    """
    path = folder / file_name(planned)
    facts = read_facts(path)
    if facts is None:
        return None
    try:
        entry = validated(ImageEntry, {**facts, "file": path.name}, f"reading {path}", "")
        if entry.id != planned.id or entry.made.how != "generated":
            return None
        if entry.made.attempt != attempt:
            return None
        if pixels and pixels_sha256(open_image(path)) != entry.sha256:
            return None
    except UserError:
        # Damaged since: to be made again.
        return None
    return entry


def file_name(planned: PlannedImage) -> str:
    """Of an image, in its folder."""
    return f"{planned.id}.png"


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Delete what a killed process has left of files that it was writing under these names."""
    known = set(names)
    for partial in folder.glob(".*-*"):
        if partial.name[1:].rsplit("-", 1)[0] in known:
            partial.unlink(missing_ok=True)


def _other(doing: str, plan: Plan, there: Plan) -> UserError:
    names = [n for n in Plan.model_fields if getattr(plan, n) != getattr(there, n)]
    told = [f"{name}: {_short(there, name)}, not {_short(plan, name)}" for name in names]
    return UserError(
        doing,
        found=f"images of another plan ({'; '.join(told)})",
        expected="an empty folder, or one that the same plan has begun to fill",
        fix="choose another --out, or delete that folder",
    )


def _read(path: Path) -> Plan:
    fix = "delete the folder, or choose another --out"
    return read_json(Plan, path, "the plan of these images", fix)


def _short(plan: Plan, name: str) -> str:
    text = str(getattr(plan, name))
    return text if len(text) <= 40 else f"{text[:12]}..."
