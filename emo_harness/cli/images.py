"""`emo images`: image sets, made, brought in, checked and rated; one module per command."""

from __future__ import annotations

import typer

from emo_harness.cli import (
    images_check,
    images_draw,
    images_generate,
    images_import,
    images_rate,
    images_recipe,
    images_show,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Image sets: draw, generate, import, check, rate, show.",
    epilog="Example: emo images draw --out emoji/ && emo images show emoji/",
)
for module in (
    images_draw,
    images_recipe,
    images_generate,
    images_import,
    images_check,
    images_rate,
    images_show,
):
    app.command(module.NAME, epilog=module.EXAMPLE)(module.command)
