"""`emo report`: from run folders to a page and its tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emo_harness.cli.as_json import known
from emo_harness.errors import UserError

if TYPE_CHECKING:
    from emo_harness.report.effect_table import EffectRow

MOST_MARGIN_PP = 50
EXAMPLE = "Example: emo report runs/ --out report/"


def report(
    runs: list[Path] = typer.Argument(..., help="Run folders that lm-eval wrote (--output_path)."),
    out: Path = typer.Option(Path("report"), "--out", help="Where the report goes."),
    margin: float = typer.Option(
        1.0, "--margin", help="The largest gain still called no difference, percentage points."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print every row as JSON, no table."),
) -> None:
    """Compare every arm with control and placebos: report.html, and its tables beside it.

    Several runs (models, temperatures, placements, modes, seeds) go into one report; runs that
    cannot be compared are refused. The page opens from disk and needs no network.
    """
    if not 0 < margin < MOST_MARGIN_PP:
        raise UserError(
            "reading --margin",
            found=f"{margin:g}",
            expected=f"percentage points above 0 and below {MOST_MARGIN_PP}",
            fix="name the largest gain that you would still call no difference, e.g. 1",
        )
    from emo_harness.report.exports import rows_of
    from emo_harness.report.freshness import digest_of, made_before

    digest = digest_of(runs, margin, out) if all(folder.exists() for folder in runs) else ""
    made = None if as_json else made_before(out, digest)
    if made is None:
        _make(runs, out, margin, digest, as_json)
        return
    for remark in made.remarks:
        typer.echo(f"note: {remark}", err=True)
    _print_tables(rows_of(out), made.verdicts)
    typer.echo(f"nothing new: {out} is made of these runs already")


def _make(runs: list[Path], out: Path, margin: float, digest: str, as_json: bool) -> None:
    from emo_harness.command_line import command_line
    from emo_harness.report import build, write_report
    from emo_harness.report.freshness import remember
    from emo_harness.report.placed import placed
    from emo_harness.runs import read_runs

    read = read_runs(runs)
    made = build(read, runs, margin, command_line())
    for remark in made.contents.remarks:
        typer.echo(f"note: {remark}", err=True)
    files = write_report(made, out)
    verdicts = [
        f"{claim.label}, {claim.benchmark} {claim.mode} {placed([claim])}, "
        + (
            f"{claim.family} (asked as {claim.asked})"
            if claim.asked != claim.family
            else claim.family
        )
        + f": {claim.verdict}; stimuli like these: {claim.like_verdict}"
        for claim in made.contents.claims
    ]
    remember(out, digest, files, verdicts, made.contents.remarks)
    if as_json:
        typer.echo(json.dumps([known(vars(row)) for row in made.contents.rows]))
        return
    _print_tables(made.contents.rows, verdicts)
    typer.echo("\n".join(f"wrote {path}" for path in files))


def _print_tables(rows: Iterable[EffectRow], verdicts: Iterable[str]) -> None:
    from emo_harness.cli.tables import console, print_table
    from emo_harness.report.effect_text import COLUMNS, READING, cells, notes, reported_tables
    from emo_harness.report.plain_text import visible

    where = console()
    for title, shown in reported_tables(rows):
        lines = [(cells(row), row.kind == "family") for row in shown]
        print_table(where, title, COLUMNS, lines, notes(shown))
    where.print(READING, markup=False)
    for line in verdicts:
        where.print(visible(line), style="bold", markup=False, highlight=False)
