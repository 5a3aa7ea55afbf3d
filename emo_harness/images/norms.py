"""Human ratings of images, read from a table."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_harness.errors import UserError
from emo_harness.images.rating_columns import Columns
from emo_harness.text_file import read_text

MAX_BYTES = 64 * 1024**2
UNKNOWN = ("", "na", "n/a", "nan", "none", "null", ".", "-")
_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_WITH_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
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
        delimiter: between cells.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    delimiter: str = ","


def read_table(path: Path) -> Table:
    """Read a table of ratings: commas, semicolons or tabs between cells, a header above.

    Raises:
        UserError: no such table, a column's name twice, a row with more cells than the header.
    """
    doing = f"reading ratings from {path}"
    lines = read_text(path, doing, MAX_BYTES).splitlines()
    head = lines[0] if lines else ""
    delimiter = max(_DELIMITERS, key=head.count)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, [])]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if any(cell.strip() for cell in cells[len(header) :]):
                raise _unreadable(
                    doing,
                    f"line {reader.line_num}: {len(cells)} cells under {len(header)} names",
                    "a name above every cell",
                    f"put a cell that holds {_DELIMITERS[delimiter]} in double quotes",
                )
            rows.append((reader.line_num, dict(zip(header, map(str.strip, cells), strict=False))))
    except csv.Error as error:
        raise _unreadable(doing, str(error)) from error
    repeated = [name for name in header if name and header.count(name) > 1]
    if not rows or repeated:
        raise _unreadable(doing, f"the column {repeated[0]!r} twice" if repeated else "no row")
    return Table(path, tuple(header), tuple(rows), delimiter)


def decimal_commas(table: Table, columns: Columns) -> tuple[str, ...]:
    """Columns of ratings that write 3.5 as "3,5" throughout.

    Where commas stand between cells, one within a cell is taken for a mistake.
    """
    if table.delimiter == ",":
        return ()
    rated = (columns.valence, columns.arousal, columns.valence_sd, columns.arousal_sd)
    found = []
    for column in dict.fromkeys(filter(None, rated)):
        cells = [cells.get(column, "") for _, cells in table.rows]
        known = [cell for cell in cells if cell.lower() not in UNKNOWN]
        is_consistent = all(_WITH_COMMA.fullmatch(cell) for cell in known)
        if is_consistent and any("," in cell for cell in known):
            found.append(column)
    return tuple(found)


def unknown_dimensions(rated: Sequence[Rated]) -> list[str]:
    """Of valence and arousal, what is known of no image."""
    return [
        name for name in ("valence", "arousal") if all(getattr(one, name) is None for one in rated)
    ]


def ratings(table: Table, columns: Columns) -> list[Rated]:
    """The rows of a table that name an image.

    Where valence and arousal have counts of their own, `n_raters` is the smaller one.

    Raises:
        UserError: a cell that is no number.
    """
    with_comma = decimal_commas(table, columns)

    def number(line: int, cells: Mapping[str, str], column: str | None) -> float | None:
        text = cells.get(column, "") if column else ""
        if text.lower() in UNKNOWN:
            return None
        try:
            value = float(text.replace(",", ".") if column in with_comma else text)
        except ValueError:
            value = None
        if value is None or not math.isfinite(value):
            comma = " written alike in the whole column, with a point or a comma"
            raise _unreadable(
                f"reading ratings from {table.path}",
                f"line {line}, column {column}: {text[:40]!r}",
                f"a {'number' if value is None else 'finite number'}"
                f"{comma if ',' in text else ''}, or nothing where it is unknown",
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


def _unreadable(
    doing: str,
    found: str,
    expected: str = "a table with a header",
    fix: str = "correct the file",
) -> UserError:
    return UserError(doing, found=found, expected=expected, fix=fix)
