"""`emo compare`: two runs, question by question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emo_harness.cli.as_json import known

if TYPE_CHECKING:
    from emo_harness.report.comparison import ComparisonRow

EXAMPLE = "Example: emo compare runs/base/ runs/instruct/"
READING = (
    "Gain: family mean (or stimulus) minus control within a run, percentage points. Difference: "
    "gain of the first minus gain of the second, paired by question, with its 95% interval. A "
    "difference is shown where the interval leaves zero out and, for families, p is at most 0.05 "
    "after Holm's correction. Accuracies are in per cent; runs that differ in their steering show "
    "them for every arm, paired by question."
)


def compare(
    first: Path = typer.Argument(..., help="A run folder or results file."),
    second: Path = typer.Argument(..., help="Another, of the same tasks."),
    out: Path | None = typer.Option(None, "--out", help="Also write comparison.csv and .md there."),
    as_json: bool = typer.Option(False, "--json", help="Print every row as JSON, no table."),
) -> None:
    """Compare two runs (models, temperatures, revisions): difference of gains, paired by question.

    Both must have asked the same questions of the same tasks under at least one common stimulus.
    """
    from emo_harness.report.comparison import compare as compared
    from emo_harness.report.comparison_text import write_comparison
    from emo_harness.report.groups import groups_of
    from emo_harness.runs import read_runs

    sides = [read_runs([folder]) for folder in (first, second)]
    for read in sides:
        for remark in read.remarks:
            typer.echo(f"note: {remark}", err=True)
    rows = compared(groups_of(sides[0].scores), groups_of(sides[1].scores))
    files = write_comparison(rows, out) if out else []
    if as_json:
        typer.echo(json.dumps([known(vars(row)) for row in rows]))
        return
    _print(rows)
    typer.echo("\n".join(f"wrote {path}" for path in files))


def _print(rows: list[ComparisonRow]) -> None:
    from emo_harness.cli.tables import console, print_table
    from emo_harness.report.comparison_text import COLUMNS, cells, comparison_tables, notes

    where = console()
    for title, shown in comparison_tables(rows):
        lines = [(cells(row), row.kind == "family") for row in shown]
        print_table(where, title, COLUMNS, lines, notes(shown))
    where.print(READING, markup=False)
