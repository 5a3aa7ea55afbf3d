"""`emo probe apply`: where every arm's prompt lies along the axes, set beside the scores."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emo_harness.cli.layers import layers_of
from emo_harness.errors import UserError, quoted

if TYPE_CHECKING:
    import pandas as pd

    from emo_harness.axes import Axis
    from emo_harness.runs import ArmScores

NAME = "apply"
EXAMPLE = "Example: emo probe apply runs/ --axes axes.safetensors && emo report runs/ --out report/"
FOLDER = "posthoc"


class Dtype(str, Enum):
    """What a model is computed in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    auto = "auto"


def command(
    run: Path = typer.Argument(..., help="A run folder with samples (--log_samples)."),
    axes: Path = typer.Option(..., help="Axes, as emo probe fit writes them."),
    axis: list[str] = typer.Option([], help="Names of axes; all by default."),
    site: str | None = typer.Option(None, help="Site, where the file has axes at several."),
    layers: str | None = typer.Option(None, help="Layers, e.g. 6-11; all of the axes' by default."),
    model: str | None = typer.Option(None, help="Read in this model; the run's own by default."),
    revision: str | None = typer.Option(None, help="Of the model, on the hub."),
    dtype: Dtype = typer.Option(
        Dtype.float32, help="To compute in: float32, bfloat16, float16, auto."
    ),
    device: str | None = typer.Option(None, help="cpu, cuda, ...; what is there by default."),
    remote_code: bool = typer.Option(
        False, "--trust_remote_code", help="Run code that comes with the model."
    ),
    n_random: int = typer.Option(
        200, "--random", min=0, help="Random directions that the axes are compared with."
    ),
    seed: int = typer.Option(0, help="Of resamples and permutations."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Read every arm's prompt at valence and arousal axes: does the shift predict the gain?

    Writes posthoc/axis_shift.json (which emo report shows) and axis_shift.parquet, a row per
    question and arm, into the run folder.
    """
    import numpy as np
    from tqdm import tqdm

    from emo_harness.activations.loading import load_language_model
    from emo_harness.axes import load_axes
    from emo_harness.probe.prompt_coordinates import coordinate_reader
    from emo_harness.probe.shift import (
        SCHEMA,
        asked_groups,
        coordinates,
        group_summary,
        shift_table,
    )
    from emo_harness.runs import read_runs

    chosen = _chosen(load_axes(axes), axis, site, layers)
    scores = read_runs([run]).scores
    groups = asked_groups(scores)
    steered = {(s.task, s.settings["steer"]) for s in scores if s.settings.get("steer")}
    if steered:
        typer.echo(
            f"left out: {len(steered)} tasks asked of a steered model, whose prompts would be read "
            "in a model that was not asked",
            err=True,
        )
    own = _own_model([group.head for group in groups])
    name = model or own
    if name is None:
        raise UserError(
            f"finding the model of {run}",
            found=f"the models {quoted(sorted({g.head.model for g in groups}))}",
            expected="one model, in a folder or on the hub",
            fix="--model ORG/MODEL names the model to read the prompts in",
        )
    loaded = load_language_model(
        name,
        revision=revision,
        dtype=dtype.value,
        device=device,
        trust_remote_code=remote_code,
    )
    rng = np.random.default_rng([seed, 5])
    summaries, tables = [], []
    total = sum(int((~np.isnan(group.scores)).sum()) for group in groups)
    with tqdm(total=total, desc="reading prompts", unit="prompt", disable=None) as bar:
        read = coordinate_reader(loaded, chosen, n_random, rng, bar.update)
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
        "read_in": Path(name).name if Path(name).exists() else name,
        "is_same_model": own is not None and _is_same(name, own),
        "groups": summaries,
    }
    _write(run / FOLDER, result, tables)
    if as_json:
        typer.echo(json.dumps(result))
        return
    _print(result, run)


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


def _own_model(heads: list[ArmScores]) -> str | None:
    """The run's model as it can be loaded, where all of it is of one."""
    from emo_harness.lm_models import WEIGHTS

    settings = [head.settings for head in heads]
    names = {
        str(WEIGHTS) if of.get("backend") == "emo-demo" else of.get("pretrained") for of in settings
    }
    return names.pop() if len(names) == 1 else None


def _is_same(name: str, own: str) -> bool:
    if Path(name).exists() and Path(own).exists():
        return Path(name).resolve() == Path(own).resolve()
    return name == own


def _write(folder: Path, result: dict[str, Any], tables: list[pd.DataFrame]) -> None:
    import pandas as pd

    from emo_harness.whole_file import text_writer, write_folder

    table = pd.concat(tables, ignore_index=True)
    write_folder(
        folder,
        {
            "axis_shift.parquet": lambda path: table.to_parquet(path, index=False),
            "axis_shift.json": text_writer(json.dumps(result, indent=1)),
        },
        "writing shifts",
    )


def _print(result: dict[str, Any], run: Path) -> None:
    from emo_harness.cli.tables import console, print_table
    from emo_harness.report.sections.axis_shift import AxisShift, sentence

    where = console()
    read = AxisShift.model_validate(result)
    for group in read.groups:
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
    typer.echo(f"written: {run / FOLDER / 'axis_shift.json'}; emo report {run} shows it")


def _triple(values: list[float | None], decimals: int) -> str:
    value, low, high = values
    if value is None:
        return "unknown"
    if low is None or high is None:
        return f"{value:+.{decimals}f}"
    return f"{value:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]"
