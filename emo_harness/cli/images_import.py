"""`emo images import`: rated photographs as an image set."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from emo_harness.errors import UserError, quoted

NAME = "import"
EXAMPLE = (
    "Examples: emo images import BASS_images.zip --ratings BASS_data.csv --raters us "
    "--licence 'CC BY 4.0' --out bass/; "
    "emo images import iaps/ --ratings AllSubjects.csv --scale 1,9 --reference --out iaps-set/"
)


def command(
    folder: Path = typer.Argument(..., help="Folder of images, or a ZIP archive of one."),
    ratings: Path = typer.Option(..., help="Table of ratings (CSV), one row for each image."),
    out: Path = typer.Option(..., help="Folder for the set."),
    file_column: str = typer.Option(None, help="Names the image; guessed from the cells."),
    valence_column: str = typer.Option(None, help="Mean valence; guessed from the headings."),
    arousal_column: str = typer.Option(None, help="Mean arousal; guessed likewise."),
    valence_sd_column: str = typer.Option(None, help="Standard deviation; guessed likewise."),
    arousal_sd_column: str = typer.Option(None, help="Standard deviation; guessed likewise."),
    n_column: str = typer.Option(None, help="Number of raters; guessed likewise."),
    concept_column: str = typer.Option(
        None, help="What an image shows (of keywords the first); guessed, else the file's name."
    ),
    raters: str = typer.Option(
        None, help="Group of raters, as the headings have it: us for val_mean_us."
    ),
    scale: str = typer.Option(
        None, help="LOWEST,HIGHEST possible rating; 1,7 or 1,9 is guessed from the means."
    ),
    family: str = typer.Option("rated", help="The images are stimuli of this family."),
    reference: bool = typer.Option(
        False, "--reference", help="Copy nothing: for images that may not be redistributed."
    ),
    licence: str = typer.Option(None, help="Of the images; goes into the manifest."),
    source: str = typer.Option(None, help="Where they come from; the folder's name by default."),
    as_json: bool = typer.Option(False, "--json", help="Print what was imported as JSON."),
) -> None:
    """Bring rated photographs in (OASIS, BASS, IAPS, ...), their norms in the manifest.

    Columns and scale that are not named are guessed, and what was guessed is told.
    """
    from emo_harness.images.image_source import open_source
    from emo_harness.images.importing import import_set
    from emo_harness.images.norms import decimal_commas, read_table, scale_of, unknown_dimensions
    from emo_harness.images.norms import ratings as ratings_of
    from emo_harness.images.rating_columns import columns_of

    given = _scale(scale)
    images = open_source(folder)
    table = read_table(ratings)
    columns = columns_of(
        table,
        images.find,
        file=file_column,
        valence=valence_column,
        arousal=arousal_column,
        valence_sd=valence_sd_column,
        arousal_sd=arousal_sd_column,
        n=n_column,
        concept=concept_column,
        raters=raters,
    )
    rated = ratings_of(table, columns)
    found_scale = scale_of(rated, given, f"reading ratings from {ratings}")
    guessed = dict(columns.guessed)
    if given is None:
        guessed["scale"] = f"{found_scale[0]:g} to {found_scale[1]:g}"
    if commas := decimal_commas(table, columns):
        guessed["decimal commas"] = quoted(commas)
    result = import_set(
        images,
        table,
        columns,
        rated,
        found_scale,
        out,
        family=family,
        reference=reference,
        origin=source,
        licence=licence,
    )
    unknown = unknown_dimensions(rated)
    for dimension in unknown:
        typer.echo(f"no {dimension} is known of any image: no column, or nothing in it", err=True)
    if as_json:
        told = {
            "folder": str(out),
            "n_images": len(result.entries),
            "scale": list(found_scale),
            "guessed": guessed,
            "without_image": result.without_image,
            "without_rating": result.without_rating,
            "unreadable": result.unreadable,
            "unknown": unknown,
            "n_replaced": result.n_replaced,
            "removed": result.removed,
        }
        typer.echo(json.dumps(told))
        return
    for what, how in guessed.items():
        typer.echo(f"guessed: {what.replace('_', ' ')}: {how}")
    for names, what in (
        (result.without_image, "in the table, but no image"),
        (result.without_rating, "images without a rating, left out"),
        ([f"{name} ({why})" for name, why in result.unreadable.items()], "not taken"),
    ):
        if names:
            typer.echo(f"{what}: {len(names)} ({quoted(names, 5)})")
    if licence is None:
        typer.echo("no --licence given: the manifest does not tell what may be done with them")
    if result.n_replaced:
        gone = f"; removed: {quoted(result.removed, 5)}" if result.removed else ""
        typer.echo(f"replaced: the set of {result.n_replaced} images that was there{gone}")
    how = "referenced where they are" if reference else "copied as PNG"
    typer.echo(f"imported: {len(result.entries)} images, {how}: {out}")


def _scale(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise UserError(
            "reading --scale",
            found=repr(text),
            expected="the lowest and the highest rating, as 1,9",
            fix="correct it",
        )
    return low, high
