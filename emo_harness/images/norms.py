"""Human ratings of images, read from a table."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_harness.errors import UserError
from emo_harness.images.rating_columns import Columns
from emo_harness.text_file import read_text

MAX_BYTES = 64 * 1024**2
UNKNOWN = ("", "na", "n/a", "nan", "none", "null", ".", "-")
# The scale of ratings is guessed as the first of these that holds all means.
SCALES = ((1.0, 7.0), (1.0, 9.0))
Scale = tuple[float, float]


@dataclass(frozen=True)
class Rated:
    """One row of a table.

    Attributes:
        line: of the file, from 1.
        name: of the image, as the table has it.
        concept: as the table has it.
        valence, arousal, valence_sd, arousal_sd, n_raters: None where unknown.
    """

    line: int
    name: str
    concept: str | None
    valence: float | None
    arousal: float | None
    valence_sd: float | None
    arousal_sd: float | None
    n_raters: int | None


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        header: names of columns.
        rows: line number, and cells by column.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]


def read_table(path: Path) -> Table:
    """Read a table of ratings: commas, semicolons or tabs between cells, a header above.

    Raises:
        UserError: no such table, a column's name twice, a row with more cells than the header.
    """
    doing = f"reading ratings from {path}"
    lines = read_text(path, doing, MAX_BYTES).splitlines()
    head = lines[0] if lines else ""
    delimiter = max(",;\t", key=head.count)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, [])]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                raise _unreadable(
                    doing, f"line {reader.line_num}: {len(cells)} cells under {len(header)} names"
                )
            rows.append((reader.line_num, dict(zip(header, map(str.strip, cells), strict=False))))
    except csv.Error as error:
        raise _unreadable(doing, str(error)) from error
    repeated = [name for name in header if name and header.count(name) > 1]
    if not rows or repeated:
        raise _unreadable(doing, f"the column {repeated[0]!r} twice" if repeated else "no row")
    return Table(path, tuple(header), tuple(rows))


def ratings(table: Table, columns: Columns) -> list[Rated]:
    """The rows of a table that name an image.

    Where valence and arousal have counts of their own, `n_raters` is the smaller one.

    Raises:
        UserError: a cell that is no number.
    """

    def number(line: int, cells: Mapping[str, str], column: str | None) -> float | None:
        text = cells.get(column, "") if column else ""
        if text.lower() in UNKNOWN:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise _unreadable(
                f"reading ratings from {table.path}",
                f"line {line}, column {column}: {text[:40]!r}",
                "a number, or nothing where it is unknown",
            )
        return value

    found = []
    for line, cells in table.rows:
        if not cells.get(columns.file):
            continue
        counts = [number(line, cells, column) for column in columns.n]
        known = [count for count in counts if count is not None]
        found.append(
            Rated(
                line=line,
                name=cells[columns.file],
                concept=(cells.get(columns.concept) or None) if columns.concept else None,
                valence=number(line, cells, columns.valence),
                arousal=number(line, cells, columns.arousal),
                valence_sd=number(line, cells, columns.valence_sd),
                arousal_sd=number(line, cells, columns.arousal_sd),
                n_raters=round(min(known)) if known else None,
            )
        )
    return found


def scale_of(rated: Sequence[Rated], given: Scale | None, doing: str) -> Scale:
    """The scale of ratings: the given one, else the first of `SCALES` that holds all means.

    Raises:
        UserError: a mean is outside it, or no known scale holds them all.
    """
    means = [(one, value) for one in rated for value in (one.valence, one.arousal)]
    known = [(one, value) for one, value in means if value is not None]
    if not known:
        raise UserError(
            doing, found="no rating", expected="ratings of images", fix="see the columns"
        )
    for low, high in (given,) if given else SCALES:
        if all(low <= value <= high for _, value in known):
            return low, high
    if given is None:
        values = [value for _, value in known]
        raise UserError(
            doing,
            found=f"means from {min(values):g} to {max(values):g}",
            expected="a scale that is known: 1 to 7 or 1 to 9",
            fix="say with --scale LOWEST,HIGHEST what raters could answer",
        )
    low, high = given
    one, value = next((o, v) for o, v in known if not low <= v <= high)
    raise UserError(
        doing,
        found=f"line {one.line}: a mean of {value:g}",
        expected=f"means from {low:g} to {high:g}",
        fix="correct --scale, or the column that was taken",
    )


def _unreadable(doing: str, found: str, expected: str = "a table with a header") -> UserError:
    return UserError(doing, found=found, expected=expected, fix="correct the file")
