"""The tables beside the page as files, each appearing whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from emo_harness.report.board_table import BOARD_FIELDS, board_latex, board_markdown, board_records
from emo_harness.report.build import Report
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.effect_text import markdown
from emo_harness.report.page import page_writers
from emo_harness.report.plain_text import visible
from emo_harness.whole_file import Writer, text_writer, write_folder

CSV_DECIMALS = 4


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the page and the tables beside it into `folder`, made if missing: all or none.

    `report.html` and `report.json` are the page; `effects.csv`, `effects.parquet` and `effects.md`
    hold the effect table, `leaderboard.csv`, `leaderboard.md` and `leaderboard.tex` the boards,
    `flips.parquet` every flip.

    Raises:
        UserError: the folder cannot be written.
    """
    writers = page_writers(report.contents) | _table_writers(report)
    return write_folder(folder, writers, "writing the report")


def _table_writers(report: Report) -> dict[str, Writer]:
    contents = report.contents
    rows, board = contents.rows, contents.leaderboard
    effects = pd.DataFrame(_storable(vars(row) for row in rows))
    boards = pd.DataFrame(_storable(board_records(board)), columns=BOARD_FIELDS)
    return {
        "effects.csv": lambda path: effects.round(CSV_DECIMALS).to_csv(path, index=False),
        "effects.parquet": lambda path: effects.to_parquet(path, index=False),
        "effects.md": text_writer(visible(markdown(rows))),
        "leaderboard.csv": lambda path: boards.round(CSV_DECIMALS).to_csv(path, index=False),
        "leaderboard.md": text_writer(visible(board_markdown(board))),
        "leaderboard.tex": text_writer(visible(board_latex(board))),
        "flips.parquet": lambda path: report.flips.to_parquet(path, index=False),
    }


def _storable(records: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """The records as any table can hold them: text made visible, halves of surrogates included."""
    return [
        {name: visible(value) if isinstance(value, str) else value for name, value in one.items()}
        for one in records
    ]


def rows_of(folder: Path) -> list[EffectRow]:
    """The effect table of a report written before, read back."""
    table = pd.read_parquet(folder / "effects.parquet", filters=[("primary", "==", True)])
    names = table.columns
    return [
        EffectRow(**dict(zip(names, values, strict=True)))
        for values in table.itertuples(index=False, name=None)
    ]
