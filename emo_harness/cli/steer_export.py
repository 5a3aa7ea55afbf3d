"""`emo steer export`: an axis for lm-eval's own `steered` model."""

from __future__ import annotations

from pathlib import Path

import typer

from emo_harness.errors import UserError

NAME = "export"
EXAMPLE = (
    "Example: emo steer export axes.safetensors --axis valence --dose 1 --out steer.pt && lm_eval "
    "--model steered --model_args pretrained=ORG/MODEL,steer_path=steer.pt --tasks hellaswag"
)


def command(
    axes: Path = typer.Argument(..., help="Axes that `emo probe fit` wrote."),
    axis: str = typer.Option("valence", "--axis", help="Which of them."),
    site: str = typer.Option(None, "--site", help="Its site, where it is there at several."),
    layers: str = typer.Option(None, "--layers", help="E.g. 6-11 or 3,6-8; all by default."),
    dose: float = typer.Option(1.0, "--dose", help="In class-mean distances."),
    model: str = typer.Option(None, "--model", help="The model, if it is not where it was fitted."),
    revision: str = typer.Option(None, "--revision", help="Of the model on the hub."),
    out: Path = typer.Option(..., "--out", help="A file that ends in .pt."),
) -> None:
    """Write an axis as lm-eval's `steered` model reads it (steer_path=FILE.pt).

    The model is loaded to find which of its modules give out the site, and to prove that both ways
    give equal logits. lm-eval steers all positions.
    """
    from emo_harness.activations.loading import load_language_model
    from emo_harness.axes import load_axes, named_axis
    from emo_harness.steer.export import hooks_for, write_steered
    from emo_harness.steer.spec import read_layers
    from emo_harness.steer.steering import Steering, require_same_model

    chosen = named_axis(load_axes(axes), axis, site)
    fitted = chosen.facts.get("model") or {}
    name = model or fitted.get("name")
    if not name:
        raise UserError(
            f"writing the axis {axis!r} for lm-eval",
            found="no model among the facts of the axis",
            expected="the model whose modules are to be named",
            fix="add --model",
        )
    steering = Steering(chosen, dose, layers=read_layers(layers) if layers else None)
    loaded = load_language_model(name, revision=revision or fitted.get("revision"))
    require_same_model(chosen, loaded.layout, identity=loaded.facts.identity, name=name)
    hooks = hooks_for(loaded, steering)
    path = write_steered(out, hooks, dose)
    typer.echo(f"hooks: {', '.join(hook.hookpoint for hook in hooks)}")
    typer.echo(f"wrote {path}")
