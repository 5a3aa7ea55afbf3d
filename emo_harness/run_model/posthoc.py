"""What is found out about a run afterwards lies beside it, where reports look for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_harness.whole_file import Writer, text_writer, write_folder

POSTHOC = "posthoc"


def posthoc_folder(run: Path) -> Path:
    """Where commands put what they find about the run that a user named.

    Args:
        run: a run folder, also one that holds several models' folders: the files belong to what
            was named; or a results file, whose folder it is then.
    """
    return (run.parent if run.is_file() else run) / POSTHOC


def write_posthoc(
    run: Path, name: str, result: Mapping[str, Any], tables: Mapping[str, Any], doing: str
) -> Path:
    """Write `name`.json, and tables beside it, all or none; others' files are left alone.

    Args:
        run: see `posthoc_folder`.
        result: JSON values.
        tables: data frames by file name, as parquet.
        doing: what is written, for messages: "writing shifts".

    Returns:
        The JSON file.

    Raises:
        UserError: the folder cannot be written.
    """
    writers: dict[str, Writer] = {
        file: lambda path, table=table: table.to_parquet(path, index=False)  # type: ignore[misc]
        for file, table in tables.items()
    }
    # Last, so that a report that finds it finds the tables too.
    writers[f"{name}.json"] = text_writer(json.dumps(result, indent=1, allow_nan=False))
    return write_folder(posthoc_folder(run), writers, doing)[-1]
