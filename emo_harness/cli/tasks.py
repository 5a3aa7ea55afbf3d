"""`emo tasks`: which tasks there are, and where they lie."""

from __future__ import annotations

import json

import typer

app = typer.Typer(no_args_is_help=True, help="List our tasks and find their folder.")


@app.command("list", epilog="Example: emo tasks list --json")
def list_tasks(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List every group (or single task), with how many subtasks it has."""
    from emo_harness.lm_tasks.expand import DECODED, groups

    listed = groups()
    if as_json:
        typer.echo(json.dumps(listed))
        return
    for name, members in listed.items():
        needs = "needs a set of `emo decode`" if name.endswith(f"_{DECODED}") else ""
        if "_visual_" in name:
            needs = "needs a model that is shown images"
        size = f"{len(members)} subtasks" if members else "one task"
        typer.echo(f"{name:33} {size:12} {needs}".rstrip())
    typer.echo(
        f"The {DECODED} ones: `emo decode prompt attack --model MODEL --out DIR`, then "
        """--metadata '{"emo": {"stimuli": "DIR/meta.yaml"}}'."""
    )


@app.command("path", epilog='Example: lm_eval --include_path "$(emo tasks path)" --tasks ...')
def path() -> None:
    """Print the folder of task files in lm-eval's own tree."""
    from emo_harness.errors import UserError
    from emo_harness.lm_tasks.host import installed_overlay

    overlay = installed_overlay()
    if overlay is None:
        raise UserError(
            "looking for our tasks in lm-eval's task tree",
            found="none: lm-eval lies in another site folder than emo-harness",
            expected="both installed in one environment",
            fix="use `emo run`, which needs no installed task files",
        )
    typer.echo(str(overlay))
