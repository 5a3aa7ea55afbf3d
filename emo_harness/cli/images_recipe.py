"""`emo images recipe`: what a recipe says, before anything is made of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emo_harness.images.emoji_plan import PlannedDrawing
    from emo_harness.images.recipe import PlannedImage, Recipe

NAME = "recipe"
EXAMPLE = (
    "Examples: emo images recipe; emo images recipe attack; "
    "emo images recipe attack --yaml > my_recipe.yaml && emo images recipe my_recipe.yaml"
)


def command(
    recipe: str | None = typer.Argument(
        None, help="A recipe (YAML), or the name of a shipped one; all shipped ones by default."
    ),
    as_yaml: bool = typer.Option(
        False, "--yaml", help="Print the file, to start your own; also of plans for draw."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print every image it asks for as JSON."),
) -> None:
    """Show a recipe: concepts, prompts, twins, seeds, and how many images; checks your own."""
    from emo_harness.images.plan_file import plan_path, shipped_plans

    if recipe is None:
        if as_yaml:
            raise UserError(
                "printing a recipe",
                found="no recipe",
                expected="one of those that ship, or a file",
                fix="emo images recipe attack --yaml",
            )
        _list(list(shipped_plans()), as_json)
    elif as_yaml:
        typer.echo(plan_path(recipe).read_text("utf-8"), nl=False)
    else:
        _show(recipe, as_json)


def _list(names: Sequence[str], as_json: bool) -> None:
    from emo_harness.cli.tables import console, print_table
    from emo_harness.images.emoji_plan import load_emoji_plan
    from emo_harness.images.plan_file import is_emoji_plan
    from emo_harness.images.recipe import load_recipe

    told: list[dict[str, Any]] = []
    for name in names:
        if is_emoji_plan(name):
            plan = load_emoji_plan(name)
            told.append(_summary(name, "draw", plan.title, plan.drawings()))
        else:
            recipe = load_recipe(name)
            told.append(_summary(name, "generate", recipe.title, recipe.images()))
    if as_json:
        typer.echo(json.dumps(told))
        return
    rows = [([str(value) for value in one.values()], False) for one in told]
    columns = ("name", "made by", "concepts", "images", "title")
    print_table(console(), "what to make images of", columns, rows, [], n_left=2)


def _summary(
    name: str, made_by: str, title: str | None, planned: Sequence[PlannedDrawing | PlannedImage]
) -> dict[str, Any]:
    return {
        "name": name,
        "made_by": f"emo images {made_by}",
        "n_concepts": len({one.id.removesuffix("-twin").rsplit("-", 1)[0] for one in planned}),
        "n_images": len(planned),
        "title": title,
    }


def _show(name: str, as_json: bool) -> None:
    from dataclasses import asdict

    from emo_harness.images.recipe import load_recipe

    read = load_recipe(name)
    planned = read.images()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in planned], ensure_ascii=False))
        return
    _print(read, len(planned))


def _print(read: Recipe, n_images: int) -> None:
    from emo_harness.cli.tables import console, print_table

    rows = [
        ([concept.concept, concept.arousal or "", prompt.prompt, prompt.twin], False)
        for concept in read.concepts
        for prompt in concept.prompts
    ]
    size = f"{read.size} x {read.size} pixels" if read.size else "the model's own size"
    notes = [
        f"{n_images} images, {n_images // 2} of them neutral twins: every prompt with the seeds "
        f"{', '.join(map(str, read.seeds[:8]))}{' ...' if len(read.seeds) > 8 else ''}; {size}",
        f"negative prompt: {read.negative_prompt or 'none'}",
    ]
    columns = ("concept", "arousal", "prompt", "neutral twin")
    print_table(console(), f"{read.name}, family {read.family}", columns, rows, notes, n_left=4)
