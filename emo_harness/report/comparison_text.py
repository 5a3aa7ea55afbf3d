"""A comparison as text: what the terminal and `comparison.md` show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emo_harness.report.board_table import interval
from emo_harness.report.comparison import LEVELS, ComparisonRow
from emo_harness.report.plain_text import visible
from emo_harness.whole_file import Writer, text_writer, write_folder

COLUMNS = ("stimulus", "n", "first", "second", "difference pp [95% interval]", "p", "p Holm")


def comparison_tables(rows: Sequence[ComparisonRow]) -> list[tuple[str, list[ComparisonRow]]]:
    """(title, rows) per benchmark, mode and family asked."""
    tables: dict[str, list[ComparisonRow]] = {}
    for row in rows:
        title = (
            f"{row.benchmark} {row.mode} {row.asked}: {row.first} against {row.second}, which "
            f"differ in {row.differs}"
        )
        tables.setdefault(title, []).append(row)
    return list(tables.items())


def cells(row: ComparisonRow) -> list[str]:
    """A row's cells, in the order of `COLUMNS`."""
    sign = "" if row.kind in LEVELS else "+"
    return [
        f"{row.family}: mean of {row.n_stimuli}" if row.kind == "family" else row.stimulus,
        str(row.n_questions),
        f"{row.first_gain_pp:{sign}.1f}",
        f"{row.second_gain_pp:{sign}.1f}",
        interval(row.difference_pp, row.low_pp, row.high_pp),
        _p(row.p),
        _p(row.p_holm),
    ]


def notes(rows: Sequence[ComparisonRow]) -> list[str]:
    """What a reader of these rows must know."""
    told = [
        f"Differences of {row.mde_pp:.1f} pp in the mean of {row.family} show with 80% power."
        for row in rows
        if row.kind == "family" and row.mde_pp == row.mde_pp
    ]
    lost = rows[0].n_only_first, rows[0].n_only_second
    if any(lost):
        told.append(
            f"{lost[0]} questions were asked in the first run alone and {lost[1]} in the second "
            "alone; they are left out."
        )
    if all(row.difference_pp == 0 and row.n_differing == 0 for row in rows):
        told.append("Every score is the same in both: are they one run?")
    if any(row.limited for row in rows):
        told.append("A part of the questions was asked (--limit or --samples): not for reporting.")
    return told


def comparison_markdown(rows: Sequence[ComparisonRow]) -> str:
    """Every table in markdown."""
    lines = ["# Comparison", ""]
    for title, shown in comparison_tables(rows):
        lines += [f"## {title}", ""]
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in shown]
        lines += ["", *notes(shown), ""]
    return "\n".join(lines)


def write_comparison(rows: Sequence[ComparisonRow], folder: Path) -> list[Path]:
    """Write `comparison.csv` and `comparison.md` into `folder`, made if missing.

    Raises:
        UserError: the folder cannot be written.
    """
    table = pd.DataFrame([vars(row) for row in rows])
    writers: dict[str, Writer] = {
        "comparison.csv": lambda path: table.to_csv(path, index=False),
        "comparison.md": text_writer(visible(comparison_markdown(rows))),
    }
    return write_folder(folder, writers, "writing the comparison")


def _p(value: float) -> str:
    if value != value:
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
