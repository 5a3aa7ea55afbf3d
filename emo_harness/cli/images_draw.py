"""`emo images draw`: an image set of emoji compositions."""

from __future__ import annotations

import json
from pathlib import Path

import typer

NAME = "draw"
EXAMPLE = (
    "Examples: emo images draw --out emoji/; "
    "emo images draw templates/images/emoji.yaml --size 224 --out emoji-224/"
)


def command(
    plan: str = typer.Argument("emoji", help="A plan (YAML), or the name of a shipped one."),
    out: Path = typer.Option(..., help="Folder for the images, the manifest, the contact sheet."),
    font: Path | None = typer.Option(
        None, help="The font's file; the Noto Color Emoji of this machine by default."
    ),
    size: int | None = typer.Option(
        None, min=16, max=2048, help="Side of the images in pixels; the plan's by default."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print what was drawn as JSON."),
) -> None:
    """Draw an image set from a plan: emoji compositions, each with its neutral twin.

    The same plan, font and size give the same files. Works offline and without a model.
    """
    from emo_harness.images.drawn_set import SHEET, draw_set
    from emo_harness.images.emoji import EmojiFont, find_font
    from emo_harness.images.emoji_plan import load_emoji_plan

    read = load_emoji_plan(plan)
    drawn = draw_set(read, EmojiFont(font or find_font()), out, size=size)
    images = [entry for entry in drawn.entries if entry.twin_of is None]
    n_bytes = sum(drawn.path(entry).stat().st_size for entry in drawn.entries)
    if as_json:
        told = {
            "folder": str(out),
            "n_images": len(drawn.entries),
            "n_twins": len(drawn.entries) - len(images),
            "concepts": list(dict.fromkeys(entry.concept for entry in images)),
            "size": drawn.entries[0].width,
            "bytes": n_bytes,
            "equal": drawn.equal(),
        }
        typer.echo(json.dumps(told))
        return
    typer.echo(
        f"drawn: {len(images)} images of {len({entry.concept for entry in images})} concepts "
        f"and {len(drawn.entries) - len(images)} neutral twins, {n_bytes / 1e6:.1f} MB"
    )
    for group in drawn.equal():
        typer.echo(f"the same image to the pixel: {' = '.join(group)}")
    typer.echo(f"look at them: {out / SHEET}; as a table: emo images show {out}")
