"""`emo images check`: what image encoders see in a set's images, and what else they differ in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from emo_harness.images import ImageSet
    from emo_harness.images.clip_encoder import ClipEncoder
    from emo_harness.report.images import ImageCheckNumbers

NAME = "check"
EXAMPLE = (
    "Examples: emo images check my_images/ --second-encoder ViT-L-14:datacomp_xl_s13b_b90k; "
    "emo images check my_images/ --encoder local-dir:clip/ --run runs/ && emo report runs/ "
    "--out report/"
)
TABLE, PAGE, SHEET, NUMBERS = "checks.parquet", "checks.html", "checks_sheet.png", "images"
NO_ENCODER = "none"
# Concepts beyond these are told by family alone.
MOST_CONCEPTS = 40


def command(
    folder: str = typer.Argument(..., metavar="DIR", help="A set's folder, or a shipped set."),
    encoder: str | None = typer.Option(
        None,
        "--encoder",
        help="ARCHITECTURE:WEIGHTS of open_clip, hf-hub:ORG/MODEL, local-dir:FOLDER, emo-demo-clip "
        "(knows drawn emoji alone), or none. By default ViT-B-32:laion2b_s34b_b79k; for sets drawn "
        "of emoji emo-demo-clip.",
    ),
    second_encoder: str | None = typer.Option(
        None, "--second-encoder", help="One that was not used to choose the images."
    ),
    words: Path | None = typer.Option(
        None, "--words", help="Templates, concepts and emotion words of your own (YAML)."
    ),
    batch_size: int = typer.Option(32, "--batch-size", min=1, help="Images at once."),
    device: str | None = typer.Option(
        None, "--device", help="cpu, cuda, ...; what is there by default."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="Write here and leave the set as it is; its own folder by default."
    ),
    run: Path | None = typer.Option(
        None, "--run", help="A run folder whose report shall show this (posthoc/images.json)."
    ),
    show_referenced: bool = typer.Option(
        False,
        "--show-referenced",
        help="Show images that were imported with --reference, too; do not pass the page on then.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print all numbers as JSON."),
) -> None:
    """Check an image set: zero-shot concepts and emotions, neutral twins, look-alikes, facts.

    Writes checks.parquet (a row per image), checks.html, checks_sheet.png (a contact sheet), and
    what was found into the manifest.
    """
    from emo_harness.images import load_image_set
    from emo_harness.images.check import check_images
    from emo_harness.images.check_words import load_check_words
    from emo_harness.images.checks_file import checks_numbers
    from emo_harness.images.checks_sheet import checks_sheet
    from emo_harness.report.images import ImageCheckNumbers

    _require_run(run)
    read = load_check_words(words)
    images = load_image_set(folder)
    encoders = _encoders(images, encoder, second_encoder, device)
    checks = check_images(images, encoders, read, batch_size)
    numbers = checks_numbers(checks, encoders, show_referenced=show_referenced)
    told = ImageCheckNumbers.model_validate(numbers)
    sheet = checks_sheet(checks, show_referenced=show_referenced)
    written = _write(checks, told, numbers, sheet, Path(folder).expanduser(), out, run)
    if as_json:
        for image in numbers["images"]:
            del image["thumbnail"]
        typer.echo(json.dumps(numbers, allow_nan=False))
        return
    _show(told, written)


def _require_run(run: Path | None) -> None:
    if run is not None and not run.exists():
        raise UserError(
            "choosing the run that shall show this",
            found=f"no folder {run}",
            expected="a run folder",
            fix="name the folder that lm-eval wrote (--output_path)",
        )


def _encoders(
    images: ImageSet, first: str | None, second: str | None, device: str | None
) -> list[ClipEncoder]:
    """Raises UserError where the second is the first again."""
    from emo_harness.images.clip_encoder import load_clip_encoder
    from emo_harness.images.clip_files import DEMO, USUAL

    drawn = all(entry.made.how == "drawn" for entry in images.entries)
    names = [first or (DEMO if drawn else USUAL), *([second] if second else [])]
    found = [load_clip_encoder(name, device) for name in names if name != NO_ENCODER]
    if len(found) == 2 and (
        names[0] == names[1]
        or (found[0].identity is not None and found[0].identity == found[1].identity)
    ):
        raise UserError(
            "choosing a second encoder",
            found=f"the first one again, {names[1]}",
            expected="one that was trained apart from it",
            fix="name another, or leave --second-encoder out",
        )
    return found


def _write(
    checks: Any,
    told: ImageCheckNumbers,
    numbers: dict[str, Any],
    sheet: PILImage,
    folder: Path,
    out: Path | None,
    run: Path | None,
) -> list[Path]:
    """Files of the set's folder (or of `out`), and of the run."""
    from emo_harness.images import MANIFEST, manifest_line
    from emo_harness.images.checks_file import checked_entries, checks_table
    from emo_harness.images.contact_sheet import save_sheet
    from emo_harness.report.images import checks_page
    from emo_harness.run_model import write_posthoc
    from emo_harness.whole_file import text_writer, write_folder

    written: list[Path] = []
    place = out or (folder if folder.is_dir() else None)
    if place is not None:
        table = checks_table(checks)
        writers = {
            TABLE: lambda path: table.to_parquet(path, index=False),
            SHEET: lambda path: save_sheet(sheet, path),
            PAGE: text_writer(checks_page(told)),
        }
        if out is None or out.resolve() == folder.resolve():
            lines = "".join(f"{manifest_line(entry)}\n" for entry in checked_entries(checks))
            writers[MANIFEST] = text_writer(lines)
        written += write_folder(place, writers, "writing the checks")
    if run is not None:
        written.append(write_posthoc(run, NUMBERS, numbers, {}, "writing the checks"))
    return written


def _show(told: ImageCheckNumbers, written: list[Path]) -> None:
    from emo_harness.cli.images_check_tables import print_checks

    print_checks(told, written, MOST_CONCEPTS)
