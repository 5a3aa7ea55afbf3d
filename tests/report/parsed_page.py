"""A page as tests read it: its tags, attributes, tables and scripts, by the standard parser."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from emo_harness.report.contents import ReportContents
from emo_harness.report.page import write_page

VOID = {"meta", "link", "input", "br", "path", "use", "rect", "img"}


@dataclass
class ParsedPage(HTMLParser):
    """Everything of interest, in order of appearance.

    Attributes:
        tags: (name, attributes) of every start tag.
        tables: rows of cell texts by table id, the heading first.
        text: what is between tags, script and style left out.
        scripts: their text.
    """

    markup: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    text: str = ""
    scripts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._table: list[list[str]] | None = None
        self._within = ""
        self.feed(self.markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {name: value or "" for name, value in attrs}
        self.tags.append((tag, own))
        if tag in ("script", "style"):
            self._within = tag
        if tag == "script":
            self.scripts.append("")
        if tag == "table":
            self._table = self.tables.setdefault(own["id"], [])
        elif self._table is not None and tag == "tr":
            self._table.append([])
        elif self._table is not None and tag in ("td", "th"):
            self._table[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._within:
            self._within = ""
        if tag == "table":
            self._table = None

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] += data
        elif self._within != "style":
            self.text += data
            if self._table is not None and self._table and self._table[-1]:
                self._table[-1][-1] += data.rstrip("\n")

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of that name."""
        return [own for name, own in self.tags if name == tag]


def written(made: ReportContents, folder: Path) -> tuple[str, dict[str, Any]]:
    """The page and its numbers, written there."""
    write_page(made, folder)
    numbers = json.loads((folder / "report.json").read_text("utf-8"))
    return (folder / "report.html").read_text("utf-8"), numbers
