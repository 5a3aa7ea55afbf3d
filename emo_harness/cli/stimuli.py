"""`emo stimuli`: list, show and validate stimulus sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from emo_harness.stimuli import Stimulus

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
    typer.echo(f"{'decoded':10} none is shipped: `emo decode` writes one for a model, meta.yaml")


@app.command("show", epilog="Examples: emo stimuli show ep02+ep07; emo stimuli show dec/meta.yaml")
def show(
    names: list[str] = typer.Argument(..., help="Sets, files, ids, combinations or sentences."),
    as_json: bool = AS_JSON,
    as_yaml: bool = typer.Option(False, "--yaml", help="Print a set's file, to start your own."),
) -> None:
    """Show stimuli with their sources; decoded ones with what was decoded, and where."""
    from emo_harness.stimuli import select

    if as_yaml:
        typer.echo("\n".join(_file_of(name).read_text("utf-8") for name in names), nl=False)
        return
    chosen = select(names)
    if as_json:
        typer.echo(json.dumps([s.model_dump() for s in chosen]))
        return
    from rich.table import Table
    from rich.text import Text

    from emo_harness.cli.tables import console
    from emo_harness.report.plain_text import visible

    table = Table(show_lines=False)
    columns, rows = _decoded_table(chosen) if any(s.decoded for s in chosen) else _table(chosen)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console().print(table)


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
            "n_placebos": sum(x.placebo is not None for x in s.stimuli),
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
            f"{t['n_placebos']} of them placebos, sha256 {t['sha256'][:12]}"
        )


def _table(chosen: Sequence[Stimulus]) -> tuple[Sequence[str], list[Sequence[str]]]:
    demand = {True: "yes", False: "no", None: "unknown"}
    return ("id", "text", "theory", "demand", "source"), [
        (s.id, s.text, s.theory or "", demand[s.demand], s.source or "unknown") for s in chosen
    ]


def _decoded_table(chosen: Sequence[Stimulus]) -> tuple[Sequence[str], list[Sequence[str]]]:
    rows: list[Sequence[str]] = []
    for s in chosen:
        made = s.decoded
        if made is None:
            rows.append((s.id, s.placebo or "stimulus", s.family, "", "", "", "", s.text))
            continue
        overlap = "" if made.overlap is None else f"{made.overlap:.0%}"
        where = f"{made.layer} of {made.n_layers}"
        lost = str(len(made.lost) or "")
        of = made.control_of or made.source
        rows.append((s.id, made.kind, of, made.vector, where, overlap, lost, s.text))
    columns = ("id", "kind", "source", "vector", "layer", "like placebo", "tokens lost", "text")
    return columns, rows


def _file_of(name: str) -> Path:
    from emo_harness.resources import resource
    from emo_harness.stimuli import SHIPPED_SETS, load_set

    load_set(name)
    return resource(f"templates/stimuli/{name}.yaml") if name in SHIPPED_SETS else Path(name)
