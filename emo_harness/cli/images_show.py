"""`emo images show`: what is in an image set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emo_harness.images import ImageEntry, ImageSet

NAME = "show"
EXAMPLE = "Examples: emo images show; emo images show my_images/ --each; emo images show --json"


def command(
    image_set: str = typer.Argument("emoji", help="A set's folder, or the name of a shipped one."),
    each: bool = typer.Option(False, "--each", help="A row per image, with what it shows."),
    as_json: bool = typer.Option(False, "--json", help="Print every image's facts as JSON."),
) -> None:
    """Show an image set: concepts, variants, neutral twins, and how its images were made."""
    from emo_harness.cli.tables import console, print_table
    from emo_harness.images import load_image_set

    found = load_image_set(image_set)
    if as_json:
        entries = [entry.model_dump(mode="json", exclude_none=True) for entry in found.entries]
        told = {"name": found.name, "folder": str(found.folder), "images": entries}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    columns, rows = _by_image(found.entries) if each else _by_concept(found.entries)
    print_table(
        console(),
        f"{found.name}: {found.folder}",
        columns,
        [(row, False) for row in rows],
        _notes(found),
        n_left=len(columns) if each else 5,
        least=("made", "pixels", "arousal") if each else ("theory", "made", "pixels", "rated"),
    )


def _by_concept(entries: Sequence[ImageEntry]) -> tuple[Sequence[str], list[Sequence[str]]]:
    twinned = {entry.twin_of for entry in entries}
    groups: dict[tuple[str, ...], list[ImageEntry]] = {}
    for entry in entries:
        if entry.twin_of is None:
            key = (
                entry.concept,
                entry.arousal or "",
                entry.family,
                entry.theory or "",
                entry.level or "",
            )
            groups.setdefault(key, []).append(entry)
    rows: list[Sequence[str]] = [
        (
            *key,
            str(len(group)),
            str(sum(entry.id in twinned for entry in group)),
            str(sum(entry.norms is not None for entry in group)),
            ", ".join(sorted({entry.made.how for entry in group})),
            ", ".join(sorted({f"{entry.width} x {entry.height}" for entry in group})[:2]),
        )
        for key, group in groups.items()
    ]
    columns = (
        *("concept", "arousal", "family", "theory", "level"),
        *("images", "twins", "rated", "made", "pixels"),
    )
    return columns, rows


def _by_image(entries: Sequence[ImageEntry]) -> tuple[Sequence[str], list[Sequence[str]]]:
    rows: list[Sequence[str]] = [
        (
            entry.id,
            f"twin of {entry.twin_of}" if entry.twin_of else entry.family,
            entry.arousal or "",
            entry.made.how,
            f"{entry.width} x {entry.height}",
            entry.caption or "",
        )
        for entry in entries
    ]
    return ("id", "family", "arousal", "made", "pixels", "shows"), rows


def _notes(image_set: ImageSet) -> list[str]:
    n_twins = sum(entry.twin_of is not None for entry in image_set.entries)
    n_checked = sum(entry.checks is not None for entry in image_set.entries)
    n_referenced = sum(entry.referenced is not None for entry in image_set.entries)
    notes = [
        f"{len(image_set.entries) - n_twins} images and {n_twins} neutral twins; "
        f"{n_checked} checked; as arms: img:{image_set.entries[0].id} and so on"
    ]
    if n_referenced:
        notes.append(f"{n_referenced} images lie elsewhere and are referenced, not copied")
    if not n_checked:
        notes.append(f"check them: emo images check {image_set.folder}")
    return notes
