"""Tables at the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Where output goes to a file, tables are as wide as they need.
WIDTH_OF_A_FILE = 132


def console() -> Console:
    """Where tables go: the terminal at its width, a file at one that does not break cells."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=WIDTH_OF_A_FILE)


def print_table(
    where: Console,
    title: str,
    columns: Sequence[str],
    rows: Iterable[tuple[Sequence[str], bool]],
    notes: Iterable[str],
    *,
    n_left: int = 1,
) -> None:
    """One table and its notes.

    Args:
        columns: headings.
        rows: cells, and whether the row is set bold.
        n_left: so many first columns are set to the left, the others to the right.
    """
    from rich.table import Table
    from rich.text import Text

    from emo_harness.report.plain_text import visible

    table = Table(title=Text(visible(title)), title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if number < n_left else "right")
    for cells, bold in rows:
        table.add_row(*(Text(visible(cell)) for cell in cells), style="bold" if bold else "")
    where.print(table)
    for note in notes:
        where.print(visible(note), markup=False)
