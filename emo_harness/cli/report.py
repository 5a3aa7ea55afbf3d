"""`emo report`: from run folders to the effect table."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from emo_harness.report import EffectRow

EXAMPLE = "Example: emo report runs/ --out report/"


def report(
    runs: list[Path] = typer.Argument(..., help="Run folders that lm-eval wrote (--output_path)."),
    out: Path = typer.Option(Path("report"), "--out", help="Where the report goes."),
    as_json: bool = typer.Option(False, "--json", help="Print every row as JSON, no table."),
) -> None:
    """Compare every arm with control and placebo: effects.csv, effects.parquet, effects.md."""
    from tqdm import tqdm

    from emo_harness.report import effect_rows, write_exports
    from emo_harness.runs import find_with_repeats, read_scores

    found, repeats = find_with_repeats(runs)
    for repeat in repeats:
        typer.echo(
            f"left out: {repeat.task} of {repeat.date} ({repeat.n_questions} questions), "
            "asked again with the same model, settings and stimuli",
            err=True,
        )
    bar = tqdm(found, desc="reading samples", unit="task", disable=None)
    scores = [item for task in bar for item in read_scores(task)]
    rows = effect_rows(scores)
    files = write_exports(rows, out)
    if as_json:
        typer.echo(json.dumps([_jsonable(row) for row in rows]))
        return
    _print_tables(rows)
    typer.echo("\n".join(f"wrote {path}" for path in files))


def _print_tables(rows: list[EffectRow]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from emo_harness.report.exports import COLUMNS, READING, cells, notes, reported_tables

    console = Console()
    if not console.is_terminal:
        console = Console(width=132)
    for title, shown in reported_tables(rows):
        table = Table(title=Text(title), title_justify="left", header_style="bold")
        for column in COLUMNS:
            table.add_column(Text(column), justify="left" if column == "stimulus" else "right")
        for row in shown:
            table.add_row(*map(Text, cells(row)), style="bold" if row.kind == "family" else "")
        console.print(table)
        for note in notes(shown):
            console.print(note, markup=False)
    console.print(READING, markup=False)


def _jsonable(row: EffectRow) -> dict[str, object]:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in asdict(row).items()
    }
