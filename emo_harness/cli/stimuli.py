"""`emo stimuli`: list, show and validate stimulus sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

app = typer.Typer(no_args_is_help=True, help="List, show and validate stimulus sets.")
AS_JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command("list", epilog="Example: emo stimuli list --json")
def list_sets(as_json: bool = AS_JSON) -> None:
    """List the shipped sets."""
    from emo_harness.stimuli import SHIPPED_SETS, load_set

    sets = [load_set(name) for name in SHIPPED_SETS]
    if as_json:
        typer.echo(json.dumps([s.model_dump() | {"sha256": s.hash} for s in sets]))
        return
    for s in sets:
        typer.echo(f"{s.name:10} {len(s.stimuli):3} stimuli  {s.title}  (sha256 {s.hash[:12]})")
        typer.echo(f"{'':10} {' '.join(x.id for x in s.stimuli)}")


@app.command("show", epilog="Examples: emo stimuli show attack; emo stimuli show ep02+ep07")
def show(
    names: list[str] = typer.Argument(..., help="Sets, files, ids, combinations or sentences."),
    as_json: bool = AS_JSON,
    as_yaml: bool = typer.Option(False, "--yaml", help="Print a set's file, to start your own."),
) -> None:
    """Show stimuli with their sources."""
    from emo_harness.stimuli import select

    if as_yaml:
        typer.echo("\n".join(_file_of(name).read_text("utf-8") for name in names), nl=False)
        return
    chosen = select(names)
    if as_json:
        typer.echo(json.dumps([s.model_dump() for s in chosen]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=False)
    for column in ("id", "text", "theory", "demand", "source"):
        table.add_column(column, overflow="fold")
    for s in chosen:
        demand = {True: "yes", False: "no", None: "unknown"}[s.demand]
        row = (s.id, s.text, s.theory or "", demand, s.source or "unknown")
        table.add_row(*map(Text, row))
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


@app.command("validate", epilog="Example: emo stimuli validate my_set.yaml")
def validate(
    files: list[Path] = typer.Argument(..., help="Stimulus sets (YAML)."),
    as_json: bool = AS_JSON,
) -> None:
    """Check that files are stimulus sets; the first mistake ends with exit code 2."""
    from emo_harness.stimuli import load_set

    sets = [load_set(str(path)) for path in files]
    told: list[dict[str, Any]] = [
        {
            "file": str(path),
            "name": s.name,
            "family": s.family,
            "n_stimuli": len(s.stimuli),
            "sha256": s.hash,
        }
        for path, s in zip(files, sets, strict=True)
    ]
    if as_json:
        typer.echo(json.dumps(told))
        return
    for t in told:
        typer.echo(
            f"{t['file']}: valid; {t['n_stimuli']} stimuli of family {t['family']}, "
            f"sha256 {t['sha256'][:12]}"
        )


def _file_of(name: str) -> Path:
    from emo_harness.resources import resource
    from emo_harness.stimuli import SHIPPED_SETS, load_set

    load_set(name)
    return resource(f"templates/stimuli/{name}.yaml") if name in SHIPPED_SETS else Path(name)
