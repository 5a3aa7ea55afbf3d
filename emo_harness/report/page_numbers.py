"""The page's numbers: what `report.json` holds, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from emo_harness.report.blocks import (
    Block,
    Figure,
    FlipList,
    ImageGrid,
    Prose,
    Raw,
    Section,
    ShadedTexts,
    Table,
    Verdicts,
)

SCHEMA = 1


def page_numbers(sections: Sequence[Section], heading: str, command: str) -> dict[str, Any]:
    """Every number of the page as plain JSON values; unknown ones are null."""
    return {
        "schema": SCHEMA,
        "heading": heading,
        "command": command,
        "sections": [
            {
                "id": section.id,
                "title": section.title,
                "intro": section.intro,
                "blocks": [_block(block) for block in section.blocks],
            }
            for section in sections
        ],
    }


def tables(sections: Sequence[Section]) -> Iterator[Table]:
    """Every table of the page, those of figures included."""
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Table):
                yield block
            elif isinstance(block, Figure):
                yield block.table
            elif isinstance(block, ShadedTexts):
                yield from (item.strongest for item in block.items)


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, Prose):
        return {"kind": block.kind, "text": block.text, "items": list(block.items)}
    if isinstance(block, Table):
        return {"kind": block.kind, **_table(block)}
    if isinstance(block, Figure):
        told = {"id": block.id, "caption": block.caption, "alt": block.alt}
        return {"kind": block.kind, **told, "table": _table(block.table)}
    if isinstance(block, Verdicts):
        verdicts = [
            {"about": v.about, "sentence": v.sentence, "beyond": v.beyond, **_known(v.numbers)}
            for v in block.verdicts
        ]
        return {"kind": block.kind, "id": block.id, "heading": block.heading, "verdicts": verdicts}
    if isinstance(block, ShadedTexts):
        items = [{**_known(item.numbers), "table": _table(item.table)} for item in block.items]
        return {"kind": block.kind, "id": block.id, "heading": block.heading, "items": items}
    if isinstance(block, ImageGrid):
        groups = [
            {"heading": group.heading, "images": [_known(tile.numbers) for tile in group.tiles]}
            for group in block.groups
        ]
        return {"kind": block.kind, "id": block.id, "heading": block.heading, "groups": groups}
    return {"kind": block.kind, "id": block.id, "flips": _flips(block)}


def _table(table: Table) -> dict[str, Any]:
    return {
        "id": table.id,
        "caption": table.caption,
        "columns": [column.name for column in table.columns],
        "rows": [[_raw(cell.value) for cell in row] for row in table.rows],
    }


def _flips(block: FlipList) -> list[dict[str, Any]]:
    return [_known(item.numbers) for group in block.groups for item in group.items]


def _known(numbers: dict[str, Raw]) -> dict[str, Any]:
    return {name: _raw(value) for name, value in numbers.items()}


def _raw(value: Raw) -> Any:
    if isinstance(value, tuple):
        return [_raw(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
