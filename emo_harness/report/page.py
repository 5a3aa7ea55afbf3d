"""The page: one self-contained HTML file, and its numbers beside it as JSON."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from emo_harness.report.blocks import Cell, Column, Raw, Section, Table
from emo_harness.report.contents import ReportContents
from emo_harness.report.figures.palette import variables
from emo_harness.report.numerals import count
from emo_harness.report.page_numbers import page_numbers
from emo_harness.report.plain_text import visible
from emo_harness.report.sections import sections
from emo_harness.report.verdict_words import SIGNS
from emo_harness.report.whole_file import text_writer, write_folder
from emo_harness.resources import resource

PAGE_NAME, NUMBERS_NAME = "report.html", "report.json"
# Whatever a model wrote, the browser runs our one script and asks for nothing.
POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
# Characters that may stand in a data: address as they are.
_PLAIN_IN_ADDRESS = "/:;,=()*!$@?'[]+|-._~"
_TELLS_ITS_NUMBER = re.compile(r"[<+\u2212]?[\d,]+(\.\d+)?([ \u00a0]\[.*)?")


def write_page(contents: ReportContents, folder: Path) -> list[Path]:
    """Write `report.html` and `report.json` into `folder`, made if missing.

    Raises:
        UserError: the folder cannot be written.
    """
    made = sections(contents)
    heading = _heading(contents)
    numbers = json.dumps(page_numbers(made, heading, contents.command), allow_nan=False)
    writers = {PAGE_NAME: text_writer(render(made, heading)), NUMBERS_NAME: text_writer(numbers)}
    return write_folder(folder, writers, "writing the page")


def render(made: Sequence[Section], heading: str) -> str:
    """The page as HTML that any UTF-8 file can hold."""
    environment = Environment(
        loader=FileSystemLoader(resource("templates/report")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"sort_key": _sort_key, "numeric_classes": _numeric_classes}
    environment.globals |= {"csv_address": csv_address, "svg_address": svg_address}
    script = _source("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    colours = (
        f":root{{{variables('light')}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables('dark')}}}}}"
    )
    return environment.get_template("page.html.j2").render(
        heading=heading,
        sections=made,
        signs=SIGNS,
        policy=POLICY.format(script=digest),
        style=Markup(colours + _source("style.css")),  # noqa: S704, both are our own
        script=Markup(script),  # noqa: S704, our own
        markup=Markup,
    )


def csv_address(table: Table) -> str:
    """The table's raw values as a `data:` address, so that saving them needs no script."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([visible(column.name) for column in table.columns])
    writer.writerows([_csv_value(cell.value) for cell in row] for row in table.rows)
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
    if math.isnan(cell.sort) or _TELLS_ITS_NUMBER.fullmatch(cell.text):
        return ""
    return f"{cell.sort:.6g}"


def _numeric_classes(columns: Sequence[Column]) -> str:
    """Classes that set numeric columns to the right: one word per column, not one per cell."""
    return " ".join(f"n{place}" for place, column in enumerate(columns, 1) if column.numeric)


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _heading(contents: ReportContents) -> str:
    """What was asked, in one line."""
    claims = contents.claims
    if not claims:
        return "no effects"
    n_models = len({claim.label for claim in claims})
    most = max(claim.n_questions for claim in claims)
    parts = [
        claims[0].label if n_models == 1 else f"{n_models} models",
        ", ".join(dict.fromkeys(claim.benchmark for claim in claims)),
        ", ".join(dict.fromkeys(claim.family for claim in claims)),
        f"{count(most)} question{'s' if most != 1 else ''} per arm",
    ]
    return " · ".join(parts)


def _source(name: str) -> str:
    return resource(f"templates/report/{name}").read_text(encoding="utf-8")
