"""`emo probe apply`: where every arm's prompt lies along the axes, set beside the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.cli.layers import layers_of
from emo_harness.cli.run_model_options import (
    ComputedIn,
    Device,
    Dtype,
    Force,
    ModelPlace,
    OwnModel,
    OwnRevision,
    RemoteCode,
)

if TYPE_CHECKING:
    from emo_harness.axes import Axis

NAME = "apply"
EXAMPLE = "Example: emo probe apply runs/ --axes axes.safetensors && emo report runs/ --out report/"
NAME_OF_RESULT = "axis_shift"


def command(
    run: Path = typer.Argument(..., help="A run folder with samples (--log_samples)."),
    axes: Path = typer.Option(..., help="Axes, as emo probe fit writes them."),
    axis: list[str] = typer.Option([], help="Names of axes; all by default."),
    site: str | None = typer.Option(None, help="Site, where the file has axes at several."),
    layers: str | None = typer.Option(None, help="Layers, e.g. 6-11; all of the axes' by default."),
    questions: int | None = typer.Option(
        None, min=1, help="Draw so many, evenly from the subtasks; all by default."
    ),
    model: OwnModel = None,
    revision: OwnRevision = None,
    force: Force = False,
    dtype: ComputedIn = Dtype.float32,
    device: Device = None,
    remote_code: RemoteCode = False,
    n_random: int = typer.Option(
        200, "--random", min=0, help="Random directions that the axes are compared with."
    ),
    seed: int = typer.Option(0, help="Of drawn questions, resamples and permutations."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Read every arm's prompt at valence and arousal axes: does the shift predict the gain?

    Writes posthoc/axis_shift.json (which emo report shows) and axis_shift.parquet, a row per
    question and arm, into the run folder.
    """
    import numpy as np
    import pandas as pd
    from tqdm import tqdm

    from emo_harness.axes import load_axes
    from emo_harness.probe.prompt_coordinates import coordinate_reader
    from emo_harness.probe.shift import (
        SCHEMA,
        asked_groups,
        coordinates,
        group_summary,
        shift_table,
    )
    from emo_harness.run_model import (
        is_steered,
        read_model_runs,
        sampled_questions,
        unsteered,
        write_posthoc,
    )

    chosen = _chosen(load_axes(axes), axis, site, layers)
    every = read_model_runs(run)
    scores = unsteered(every)
    drawn = sampled_questions(scores, questions, seed)
    some = [one.at(rows) for one, rows in zip(scores, drawn, strict=True) if len(rows)]
    groups = asked_groups(some)
    steered = {(one.task, one.settings.get("steer")) for one in every if is_steered(one)}
    if steered:
        typer.echo(
            f"left out: {len(steered)} tasks asked of a steered model, whose prompts would be read "
            "in a model that was not asked",
            err=True,
        )
    read_in = ModelPlace(model, revision, dtype, device, remote_code, force).of_run(scores)
    rng = np.random.default_rng([seed, 5])
    summaries, tables = [], []
    total = sum(int((~np.isnan(group.scores)).sum()) for group in groups)
    with tqdm(total=total, desc="reading prompts", unit="prompt", disable=None) as bar:
        read = coordinate_reader(read_in.loaded, chosen, n_random, rng, bar.update)
        for group in groups:
            found = coordinates(group, read, len(chosen) + n_random)
            summaries.append(group_summary(group, found, chosen, rng))
            tables.append(shift_table(group, found, chosen))
    result = {
        "schema_version": SCHEMA,
        "axes_file": str(axes.name),
        "site": chosen[0].site,
        "layers": list(chosen[0].layers),
        "position": "last",
        "read_in": read_in.name,
        "is_same_model": read_in.is_same,
        "forced": read_in.forced,
        "n_drawn": questions,
        "seed": seed,
        "groups": summaries,
    }
    table = pd.concat(tables, ignore_index=True)
    file = write_posthoc(
        run, NAME_OF_RESULT, result, {f"{NAME_OF_RESULT}.parquet": table}, "writing shifts"
    )
    if as_json:
        typer.echo(json.dumps(result))
        return
    _print(result, run, file)


def _chosen(
    known: list[Axis], names: list[str], site: str | None, layers: str | None
) -> list[Axis]:
    from emo_harness.axes import named_axis

    at_site = [one for one in known if site in (None, one.site)]
    # Valence before arousal, as everywhere.
    wanted = names or sorted(
        {one.name for one in at_site}, key=lambda name: (name != "valence", name)
    )
    found = [named_axis(known, name, site) for name in wanted]
    wanted_layers = layers_of(layers)
    return [one.only(wanted_layers) for one in found] if wanted_layers else found


def _print(result: dict[str, Any], run: Path, file: Path) -> None:
    from emo_harness.cli.tables import console, print_table
    from emo_harness.report.sections.axis_shift import AxisShift, sentence

    where = console()
    read = AxisShift.model_validate(result)
    for group in read.groups:
        if group.n_cut:
            typer.echo(
                f"left out, since they did not fit the model's context: {group.n_cut} prompts"
            )
        for axis in group.axes:
            rows = [
                (
                    (s.id, s.family, str(s.n), _triple(s.shift, 2), _triple(s.gain_pp, 1)),
                    False,
                )
                for s in axis.stimuli
            ]
            print_table(
                where,
                f"{group.model}: {group.benchmark}, {group.asked}, {group.placement}: {axis.axis}",
                ("stimulus", "family", "questions", "shift", "gain pp"),
                rows,
                [sentence(axis)],
            )
    typer.echo(f"written: {file}; emo report {run} shows it")


def _triple(values: list[float | None], decimals: int) -> str:
    value, low, high = values
    if value is None:
        return "unknown"
    if low is None or high is None:
        return f"{value:+.{decimals}f}"
    return f"{value:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]"
