"""The tables beside the page as files, each appearing whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emo_harness.report.board_table import board_frame, board_latex, board_markdown
from emo_harness.report.build import Report
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.effect_text import markdown
from emo_harness.report.plain_text import visible
from emo_harness.report.whole_file import Writer, text_writer, write_folder

CSV_DECIMALS = 4


def write_exports(report: Report, folder: Path) -> list[Path]:
    """Write the tables beside the page into `folder`, made if missing.

    `effects.csv`, `effects.parquet` and `effects.md` hold the effect table, `leaderboard.csv`,
    `leaderboard.md` and `leaderboard.tex` the boards, `flips.parquet` every flip.

    Raises:
        UserError: the folder cannot be written.
    """
    contents = report.contents
    rows, board = contents.rows, contents.leaderboard
    effects, boards = pd.DataFrame([vars(row) for row in rows]), board_frame(board)
    writers: dict[str, Writer] = {
        "effects.csv": lambda path: effects.round(CSV_DECIMALS).to_csv(path, index=False),
        "effects.parquet": lambda path: effects.to_parquet(path, index=False),
        "effects.md": text_writer(visible(markdown(rows))),
        "leaderboard.csv": lambda path: boards.round(CSV_DECIMALS).to_csv(path, index=False),
        "leaderboard.md": text_writer(visible(board_markdown(board))),
        "leaderboard.tex": text_writer(visible(board_latex(board))),
        "flips.parquet": lambda path: report.flips.to_parquet(path, index=False),
    }
    return write_folder(folder, writers, "writing the report")


def rows_of(folder: Path) -> list[EffectRow]:
    """The effect table of a report written before, read back."""
    table = pd.read_parquet(folder / "effects.parquet", filters=[("primary", "==", True)])
    names = table.columns
    return [
        EffectRow(**dict(zip(names, values, strict=True)))
        for values in table.itertuples(index=False, name=None)
    ]
