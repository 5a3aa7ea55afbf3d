"""The page: one self-contained HTML file, and its numbers beside it as JSON."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape as xml_escape

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from emo_harness.report.blocks import Cell, Column, Raw, Section, Table
from emo_harness.report.contents import ReportContents
from emo_harness.report.figures.palette import variables
from emo_harness.report.names import long_names, shortener
from emo_harness.report.numerals import count
from emo_harness.report.page_numbers import page_numbers
from emo_harness.report.plain_text import visible
from emo_harness.report.sections import sections
from emo_harness.report.verdict_words import SIGNS
from emo_harness.resources import resource
from emo_harness.whole_file import Writer, text_writer, write_folder

PAGE_NAME, NUMBERS_NAME = "report.html", "report.json"
# Whatever a model wrote, the browser runs our one script and asks for nothing.
POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
# Characters that may stand in a data: address as they are.
_PLAIN_IN_ADDRESS = "/:;,=()*!$@?'[]+|-._~"
_TELLS_ITS_NUMBER = re.compile(r"([+\u2212]?[\d,]+(?:\.(\d+))?)(?:[ \u00a0]\[.*)?")


@dataclass(frozen=True)
class PageFrame:
    """What stands around the sections.

    Attributes:
        title: of the page, before its heading.
        footer: its last line.
        links: names of files beside the page, and what they are.
    """

    title: str = "emo-harness report"
    footer: str = (
        "Made by emo-harness. A dash means unknown. Every number of this page is in report.json."
    )
    links: Mapping[str, str] = field(default_factory=dict)


def page_writers(contents: ReportContents) -> dict[str, Writer]:
    """What writes `report.html` and `report.json`; both are made here."""
    made = sections(contents)
    heading = _heading(contents)
    numbers = json.dumps(page_numbers(made, heading, contents.command), allow_nan=False)
    page = render(made, heading, long_names(contents))
    return {PAGE_NAME: text_writer(page), NUMBERS_NAME: text_writer(numbers)}


def write_page(contents: ReportContents, folder: Path) -> list[Path]:
    """Write `report.html` and `report.json` into `folder`, made if missing.

    Raises:
        UserError: the folder cannot be written.
    """
    return write_folder(folder, page_writers(contents), "writing the page")


def render(
    made: Sequence[Section],
    heading: str,
    names: dict[str, str] | None = None,
    frame: PageFrame | None = None,
) -> str:
    """The page as HTML that any UTF-8 file can hold.

    Args:
        names: long names and what is shown for them; a row's heading has the full one as title.
        frame: a report's by default.
    """
    names = names or {}
    shortened = shortener(names)
    drawn = shortener(names, lambda name: xml_escape(visible(name)))
    environment = Environment(
        loader=FileSystemLoader(resource("templates/report")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown_by(shortened),
    )
    environment.filters |= {
        "sort_key": _sort_key,
        "numeric_classes": _numeric_classes,
        "in_full": lambda text: escape(visible(text)),
        "drawn": lambda svg: Markup(drawn(svg)),  # noqa: S704, our own
    }
    environment.globals |= {
        "csv_address": lambda table: csv_address(table, shortened),
        "svg_address": lambda svg: svg_address(drawn(svg)),
    }
    script = _source("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    colours = (
        f":root{{{variables('light')}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables('dark')}}}}}"
    )
    return environment.get_template("page.html.j2").render(
        heading=heading,
        frame=frame or PageFrame(),
        sections=made,
        signs=SIGNS,
        policy=POLICY.format(script=digest),
        style=Markup(colours + _source("style.css")),  # noqa: S704, both are our own
        script=Markup(script),  # noqa: S704, our own
        names=names,
    )


def csv_address(table: Table, shortened: Callable[[str], str] = str) -> str:
    """The table's raw values as a `data:` address, so that saving them needs no script.

    Args:
        shortened: applied to text.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([visible(column.name) for column in table.columns])
    writer.writerows([shortened(_csv_value(cell.value)) for cell in row] for row in table.rows)
    return "data:text/csv;charset=utf-8," + quote(written.getvalue(), safe=_PLAIN_IN_ADDRESS)


def svg_address(svg: str) -> str:
    """A drawing as a `data:` address."""
    return "data:image/svg+xml;charset=utf-8," + quote(svg, safe=_PLAIN_IN_ADDRESS)


def _csv_value(value: Raw) -> str:
    if isinstance(value, tuple):
        return " ".join(_csv_value(item) for item in value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else visible(str(value))


def _sort_key(cell: Cell) -> str:
    """What the script sorts by, "" where it can read it from the text."""
    if cell.sort is None or isinstance(cell.sort, str):
        return cell.sort or ""
    if math.isnan(cell.sort) or _tells(cell.text, cell.sort):
        return ""
    return f"{cell.sort:.6g}"


def _tells(text: str, number: float) -> bool:
    """Whether the text begins with the number, rounded."""
    found = _TELLS_ITS_NUMBER.fullmatch(text)
    if found is None:
        return False
    shown = float(found[1].replace("\u2212", "-").replace(",", ""))
    return abs(shown - number) <= 0.501 * 10 ** -len(found[2] or "")


def _numeric_classes(columns: Sequence[Column]) -> str:
    """Classes that set numeric columns to the right: one word per column, not one per cell."""
    return " ".join(f"n{place}" for place, column in enumerate(columns, 1) if column.numeric)


def _shown_by(shortened: Callable[[str], str]) -> Callable[[object], object]:
    """What the template does to every value that is no markup."""
    return lambda value: (
        visible(shortened(value))
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def _heading(contents: ReportContents) -> str:
    """What was asked, in one line."""
    asked = contents.claims or [row for row in contents.rows if row.primary]
    if not asked:
        return "no effects"
    models = list(dict.fromkeys(item.model for item in asked))
    labels = list(dict.fromkeys(item.label for item in asked))
    named = labels if len(labels) == 1 else models
    settings = f" under {len(labels)} settings" if len(labels) > len(models) == 1 else ""
    # An effect row on single subtasks tells nothing of all that an arm was asked.
    sizes = sorted({claim.n_questions for claim in contents.claims})
    range_told = "–".join(count(n) for n in dict.fromkeys((sizes[0], sizes[-1]))) if sizes else ""
    parts = [
        f"{named[0]}{settings}" if len(named) == 1 else f"{len(models)} models",
        ", ".join(dict.fromkeys(item.benchmark for item in asked)),
        ", ".join(dict.fromkeys(item.family for item in asked)),
        f"{range_told} question{'s' if sizes != [1] else ''} per arm" if sizes else "",
    ]
    return " · ".join(part for part in parts if part)


def _source(name: str) -> str:
    return resource(f"templates/report/{name}").read_text(encoding="utf-8")
