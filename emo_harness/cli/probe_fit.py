"""`emo probe fit`: axes on all rows of a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from emo_harness.errors import UserError

NAME = "fit"
EXAMPLE = (
    "Example: emo probe fit store/ --evaluation evaluation/ --out axes.safetensors; then "
    "emo steer --help, emo probe apply --help"
)


def command(
    store: Path = typer.Argument(..., help="Activations that `emo probe capture` wrote."),
    out: Path = typer.Option(Path("axes.safetensors"), "--out", help="The file of axes."),
    dimension: list[str] = typer.Option(
        [], "--dimension", help="valence, arousal, ...; may be repeated. All by default."
    ),
    site: str = typer.Option("value", "--site", help="Where activations were read."),
    layers: str = typer.Option("", "--layers", help="Layers, e.g. 0,4,8 or 0-11. All by default."),
    method: str = typer.Option(
        "mean-difference", "--method", help="mean-difference, ridge, lda or logistic."
    ),
    features: str = typer.Option(
        "centred", "--features", help="centred: template offsets are taken out first; or raw."
    ),
    evaluation: Path | None = typer.Option(
        None, "--evaluation", help="Folder of `emo probe evaluate`, to go into the axes' facts."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print what was fitted as JSON."),
) -> None:
    """Fit an axis per dimension, in raw units: as long as its classes' means lie apart.

    All dimensions of the corpus go into one file. Every layer is fitted by itself.
    """
    from safetensors import SafetensorError
    from tqdm import tqdm

    from emo_harness.activations.store import open_activations
    from emo_harness.axes import save_axes
    from emo_harness.cli.layers import layers_of
    from emo_harness.probe.strict.fitting import evaluation_facts, fit_axis
    from emo_harness.probe.targets import dimensions_of

    _check_out(out)
    opened = open_activations(store)
    opened.verify()
    chosen = layers_of(layers)
    names = dimensions_of(opened, dimension or None)
    known: dict[str, dict[str, Any] | None] = {
        name: evaluation_facts(evaluation, opened, name, site, method, features)
        if evaluation is not None
        else None
        for name in names
    }
    n_layers = len(opened.manifest.layers if chosen is None else chosen)
    axes = []
    with tqdm(total=len(names) * n_layers, unit="layer") as bar:
        for name in names:
            bar.set_description(name)
            axes.append(
                fit_axis(
                    opened,
                    name,
                    site=site,
                    layers=chosen,
                    method=method,
                    features=features,
                    evaluation=known[name],
                    tell=lambda layer: bar.update(),
                )
            )
    try:
        save_axes(out, axes)
    # safetensors tells of a full disk in its own way.
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"writing axes to {out}",
            found=f"{error}",
            expected="a folder that can be written",
            fix="choose another --out",
        ) from error
    told = [
        {
            "axis": axis.name,
            "site": axis.site,
            "layers": list(axis.layers),
            "distances": [float(one) for one in axis.distances],
            "method": method,
            "features": features,
            "n_prompts": axis.facts["n_prompts"],
            "converged": axis.facts["converged"],
        }
        for axis in axes
    ]
    if as_json:
        typer.echo(json.dumps({"file": str(out), "axes": told}))
        return
    for one in told:
        lengths = " ".join(f"{length:.3g}" for length in one["distances"])
        typer.echo(
            f"{one['axis']} at {one['site']}: class means lie apart by layer: {lengths} "
            f"({one['n_prompts']:,} prompts)"
        )
        if False in one["converged"]:
            typer.echo(f"note: {one['axis']}: a logistic fit did not converge")
    typer.echo(f"wrote {out}")


def _check_out(out: Path) -> None:
    from emo_harness.probe.evaluation import check_out

    if out.is_dir():
        raise UserError(
            f"looking where to write: {out}",
            found="a folder",
            expected="the name of a file",
            fix=f"write for example --out {out / 'axes.safetensors'}",
        )
    check_out(out.parent)
