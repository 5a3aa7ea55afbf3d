"""`emo probe plot`: a store's geometry as numbers, one page and drawings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.cli.layers import layers_of
from emo_harness.errors import UserError, quoted

if TYPE_CHECKING:
    from emo_harness.activations.store import Activations
    from emo_harness.axes import Axis
    from emo_harness.probe.corpus.norms import Norms
    from emo_harness.probe.geometry.geometry import GeometryPlan

NAME = "plot"
EXAMPLE = (
    "Example: emo probe plot activations/ --axes axes.safetensors --evaluation evaluation/ "
    "--out geometry/"
)
NUMBERS = "geometry.json"
DIMENSIONS = ("valence", "arousal")
N_TEXTS = 6


def command(
    store: Path = typer.Argument(..., help="Activations, as emo probe capture writes them."),
    out: Path = typer.Option(..., "--out", help="Folder for the page, drawings and numbers."),
    axes: list[Path] = typer.Option(
        [], "--axes", help="Axes, as emo probe fit writes them; may be repeated."
    ),
    evaluation: list[Path] = typer.Option(
        [], "--evaluation", help="Folders that emo probe evaluate wrote; may be repeated."
    ),
    norms: Path | None = typer.Option(None, "--norms", help="A file of human norms."),
    other: list[Path] = typer.Option(
        [], "--other", help="Another model's activations, to be compared by words; repeatable."
    ),
    run: Path | None = typer.Option(
        None, "--run", help="A run folder whose report shall show this (posthoc/geometry.json)."
    ),
    site: str | None = typer.Option(None, "--site", help="Site; the axes', else value."),
    layers: str | None = typer.Option(
        None, "--layers", help="Layers, e.g. 6-11; the axes', else all."
    ),
    templates: int = typer.Option(
        4, "--templates", min=0, help="Templates that get principal components of their own."
    ),
    trajectory_model: str | None = typer.Option(
        None, "--trajectory-model", help="Follow the axes while this model writes."
    ),
    steps: int = typer.Option(16, "--steps", min=1, help="Tokens to write."),
    prompts: int = typer.Option(300, "--prompts", min=6, help="Prompts to write from, in all."),
    sampled: bool = typer.Option(False, "--sampled", help="Sample tokens; else the likeliest."),
    seed: int = typer.Option(0, "--seed", help="Of resamples, exchanges and sampled tokens."),
    as_json: bool = typer.Option(False, "--json", help="Print all numbers as JSON."),
) -> None:
    """Where words lie inside a model: components, the valence-arousal plane, layers, other models.

    Writes geometry.html (one page), value_space_3d.html (to turn), an SVG per figure, and
    geometry.json.
    """
    from emo_harness.activations.store import open_activations
    from emo_harness.axes import load_axes
    from emo_harness.probe.geometry.geometry import GeometryPlan, geometry, with_others
    from emo_harness.probe.geometry.layer_curves import layer_curves, read_results, read_verdicts
    from emo_harness.report.geometry import GeometryNumbers, geometry_writers
    from emo_harness.whole_file import text_writer, write_folder, write_whole

    if run is not None and not run.is_dir():
        raise UserError(
            "choosing the run that shall show this",
            found=f"no folder {run}",
            expected="a run folder",
            fix="name the folder that lm-eval wrote (--output_path)",
        )
    opened = open_activations(store)
    plan = GeometryPlan(
        site=site,
        layers=tuple(layers_of(layers) or ()) or None,
        axes=tuple(axis for path in axes for axis in load_axes(path)),
        norms=_norms(norms),
        others=tuple(open_activations(path) for path in other),
        n_templates=templates,
        seed=seed,
    )
    # Read before anything long is computed: a misnamed folder shows at once.
    curves = [entry for path in evaluation for entry in layer_curves(read_results(path))]
    verdicts = [one for path in evaluation for one in read_verdicts(path)]
    followed = _followed(trajectory_model, plan)
    numbers = geometry(opened, plan)
    trajectory = (
        _trajectory(opened, followed, str(trajectory_model), steps, prompts, sampled, seed)
        if followed
        else None
    )
    numbers = with_others(numbers, curves, verdicts, trajectory)
    text = json.dumps(numbers, allow_nan=False)
    made = geometry_writers(GeometryNumbers.model_validate(numbers))
    write_folder(out, {NUMBERS: text_writer(text), **made}, "writing the geometry")
    if run is not None:
        posthoc = run / "posthoc"
        posthoc.mkdir(exist_ok=True)
        write_whole(posthoc / NUMBERS, text_writer(text))
    typer.echo(text if as_json else _told(numbers, out, run))


def _norms(path: Path | None) -> dict[str, Norms]:
    """Norms by dimension, as far as the file has them.

    Raises:
        UserError: it has none for any dimension of the plane.
    """
    from emo_harness.probe.corpus.norms import load_norms

    if path is None:
        return {}
    found: dict[str, Norms] = {}
    refused: list[UserError] = []
    for name in DIMENSIONS:
        try:
            found[name] = load_norms(path, name)
        except UserError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return found


def _followed(model: str | None, plan: GeometryPlan) -> list[Axis]:
    """The axes that are followed while a model writes; [] where it shall not write.

    Raises:
        UserError: there is no axis to follow.
    """
    from emo_harness.probe.geometry.geometry import spanning_axes

    if model is None:
        return []
    named = [axis for axis in plan.axes if axis.name in DIMENSIONS]
    found = spanning_axes(plan) or named[:1]
    if not found:
        raise UserError(
            "following trajectories",
            found=f"axes {quoted(axis.name for axis in plan.axes) or 'none'}",
            expected="a valence or arousal axis",
            fix="name axes of this model: --axes axes.safetensors",
        )
    return found


def _trajectory(
    store: Activations,
    followed: list[Axis],
    name: str,
    steps: int,
    most: int,
    sampled: bool,
    seed: int,
) -> list[dict[str, Any]]:
    from dataclasses import asdict

    import numpy as np

    from emo_harness.activations.loading import load_language_model
    from emo_harness.cli.as_json import known
    from emo_harness.probe.geometry.trajectory import prompts_to_follow, trajectories
    from emo_harness.probe.geometry.trajectory_steps import class_trajectories

    loaded = load_language_model(name)
    made = []
    for number, axis in enumerate(followed):
        rng = np.random.default_rng([seed, 20, number])
        table, target = prompts_to_follow(store, axis.name, most, rng)
        scores, written = trajectories(loaded, axis, table, steps, rng if sampled else None)
        found = class_trajectories(
            scores, target, table["word"].to_numpy(), table["template"].to_numpy()
        )
        texts = list(zip(table["text"], written, strict=True))
        made.append(
            {
                "axis": axis.name,
                "site": axis.site,
                "layers": list(axis.layers),
                "model": Path(name).name if Path(name).is_dir() else name,
                "sampled": sampled,
                "n_prompts": len(table),
                "steps": [known(asdict(step)) for step in found],
                "texts": [list(pair) for pair in texts[:: max(1, len(texts) // N_TEXTS)][:N_TEXTS]],
            }
        )
    return made


def _told(numbers: dict[str, Any], out: Path, run: Path | None) -> str:
    """What was found, as the page says it."""
    from emo_harness.report.geometry import GeometryNumbers, sentences
    from emo_harness.report.plain_text import visible

    lines = [visible(line) for line in sentences(GeometryNumbers.model_validate(numbers))]
    lines.append(f"wrote {out / 'geometry.html'} and its drawings, {out / NUMBERS}")
    if run is not None:
        lines.append(f"wrote {run / 'posthoc' / NUMBERS}; emo report shows it")
    return "\n".join(lines)
