"""Tables at the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod

# Where output goes to a file, tables are as wide as they need.
WIDTH_OF_A_FILE = 132
WIDTH_OF_A_TEXT = 24


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
    least: Sequence[str] = (),
) -> None:
    """One table and its notes.

    Args:
        columns: headings.
        rows: cells, and whether the row is set bold.
        n_left: so many first columns are set to the left, the others to the right.
        least: headings of what a narrow terminal does without, the first of them first. Where they
            are named, the first column and numbers are broken last.
    """
    from rich.table import Table
    from rich.text import Text

    from emo_harness.report.plain_text import visible

    lines = [([Text(visible(cell)) for cell in cells], bold) for cells, bold in rows]
    headings = [Text(column) for column in columns]
    wide = [
        min(
            max(text.cell_len for text in (heading, *(cells[number] for cells, _ in lines))),
            # Texts beside the first can be broken.
            WIDTH_OF_A_TEXT if 0 < number < n_left else where.width,
        )
        for number, heading in enumerate(headings)
    ]
    left_out = _left_out(dict(zip(columns, wide, strict=True)), least, where.width)
    kept = [number for number, column in enumerate(columns) if column not in left_out]
    table = Table(title=Text(visible(title)), title_justify="left", header_style="bold")
    for number in kept:
        is_left = number < n_left
        whole = bool(least) and (number == 0 or not is_left)
        justify: JustifyMethod = "left" if is_left else "right"
        table.add_column(headings[number], justify=justify, no_wrap=whole)
    for cells, bold in lines:
        table.add_row(*(cells[number] for number in kept), style="bold" if bold else "")
    where.print(table)
    if left_out:
        where.print(f"no room here for: {', '.join(left_out)}", markup=False)
    for note in notes:
        where.print(visible(note), markup=False)


def _left_out(wide: dict[str, int], least: Sequence[str], width: int) -> list[str]:
    """Headings of `least` that must go for the others to fit into `width` characters."""
    left_out: list[str] = []
    for name in least:
        # Each column has a rule and a space on either side; one more rule ends the line.
        if sum(wide.values()) + 3 * len(wide) + 1 <= width:
            break
        del wide[name]
        left_out.append(name)
    return left_out
