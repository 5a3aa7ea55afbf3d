"""The effect table as files: CSV, parquet and markdown, each appearing whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from emo_harness.errors import UserError
from emo_harness.report.effect_table import EffectRow

CSV_DECIMALS = 4


def write_exports(rows: Sequence[EffectRow], folder: Path) -> list[Path]:
    """Write `effects.csv`, `effects.parquet` and `effects.md` into `folder`, made if missing.

    Raises:
        UserError: the folder cannot be written.
    """
    table = pd.DataFrame([asdict(row) for row in rows])
    writers: dict[str, Callable[[Path], object]] = {
        "effects.csv": lambda path: table.round(CSV_DECIMALS).to_csv(path, index=False),
        "effects.parquet": lambda path: table.to_parquet(path, index=False),
        "effects.md": lambda path: path.write_text(markdown(rows), encoding="utf-8"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_whole(folder / name, write) for name, write in writers.items()]
    except OSError as error:
        raise UserError(
            f"writing the report to {folder}",
            found=f"{error.strerror or error}",
            expected="a folder that can be written",
            fix="choose another --out",
        ) from error


def markdown(rows: Sequence[EffectRow]) -> str:
    """The rows that a benchmark is reported by, one table per model, benchmark and family."""
    parts = ["# Effects", "", READING, ""]
    for title, shown in reported_tables(rows):
        parts += [f"## {title}", ""]
        parts += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        parts += ["| " + " | ".join(cells(row)) + " |" for row in shown]
        parts += ["", *notes(shown), ""]
    return "\n".join(parts)


READING = (
    "Gain: score under the arm minus score of the untouched prompt, paired by question, in "
    "percentage points with its 95% interval. Against placebo: minus the neutral sentence nearest "
    "in length. Unparsed and cut: share of answers that the filter could not read, and of prompts "
    "that did not fit the context, control > arm."
)
COLUMNS = (
    "stimulus",
    "n",
    "control %",
    "arm %",
    "gain pp [95% interval]",
    "against placebo pp",
    "unparsed %",
    "cut %",
)


def reported_tables(rows: Sequence[EffectRow]) -> list[tuple[str, list[EffectRow]]]:
    """(title, rows) per model, benchmark, mode, placement, settings and set of arms.

    Each table has its benchmark's subtasks together. Titles tell settings only where two tables
    would else have the same title.
    """
    tables: dict[tuple[str, str, str], list[EffectRow]] = {}
    for row in rows:
        if not row.primary:
            continue
        title = (
            f"{row.model}: {row.benchmark} {row.mode} {row.asked}, placement {row.placement} "
            f"({row.metric}, {row.filter})"
        )
        shown = tables.setdefault((title, row.settings, row.stimuli_sha256), [])
        # The first rows of a group are those of all its subtasks together.
        if not shown or row.subtask == shown[0].subtask:
            shown.append(row)
    keys = list(tables)
    return [
        (f"{key[0]}, {_asked(shown[0])}{_told_apart(key, keys)}", shown)
        for key, shown in tables.items()
    ]


def _asked(row: EffectRow) -> str:
    return f"{row.n_subtasks} subtasks" if row.n_subtasks > 1 else row.subtask


def _told_apart(key: tuple[str, str, str], keys: Sequence[tuple[str, str, str]]) -> str:
    """What tells a table from others of the same title: differing settings, or its stimuli."""
    title, own, stimuli = key
    others = [k for k in keys if k[0] == title and k != key]
    if not others:
        return ""
    settings = json.loads(own)
    different = [
        f"{name}={value}"
        for name, value in settings.items()
        if any(json.loads(k[1]).get(name) != value for k in others)
    ]
    if any(k[2] != stimuli for k in others):
        different.append(f"stimuli {stimuli[:8]}")
    return f" [{', '.join(different) or 'defaults'}]"


def cells(row: EffectRow) -> list[str]:
    """A row's cells, in the order of `COLUMNS`."""
    name = f"{row.family}: mean of {row.n_stimuli}" if row.kind == "family" else row.stimulus
    return [
        name,
        str(row.n_questions),
        f"{row.control_pct:.1f}",
        f"{row.arm_pct:.1f}",
        _with_interval(row.gain_pp, row.gain_low_pp, row.gain_high_pp),
        _with_interval(
            row.gain_vs_placebo_pp, row.gain_vs_placebo_low_pp, row.gain_vs_placebo_high_pp
        ),
        _change(row.unparsed_control_pct, row.unparsed_arm_pct),
        _change(row.truncated_control_pct, row.truncated_arm_pct),
    ]


def notes(rows: Sequence[EffectRow]) -> list[str]:
    """What a reader of these rows must know."""
    told = []
    if any(row.limited for row in rows):
        told.append("A part of the questions was asked (--limit or --samples): not for reporting.")
    if any(row.gain_method == "score" for row in rows):
        told.append(
            "Where all but fewer than 10 questions are alike, the interval is Tango's score "
            "interval; elsewhere Student's t over questions."
        )
    if any(math.isnan(row.truncated_control_pct) for row in rows):
        told.append(
            "Cut is unknown: the run's tokenizer is not at hand here (lengths are in words). If "
            "the run named a model folder by a relative path, report from where it was run."
        )
    return told


def _with_interval(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "-"
    if math.isnan(low):
        return f"{value:+.1f} [unknown]"
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _change(control: float, arm: float) -> str:
    return "unknown" if math.isnan(control) else f"{control:.0f} > {arm:.0f}"


def _whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Write beside the target and rename, so that a half-written file never shows."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    partial = Path(name)
    try:
        write(partial)
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
