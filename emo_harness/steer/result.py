"""A steering's results as files: figures a script can read, rows, and one image."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_harness.whole_file import Writer, text_writer, write_folder

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1


def write_result(
    folder: Path, name: str, told: Mapping[str, Any], rows: pd.DataFrame, figure: str
) -> list[Path]:
    """Write NAME.json, NAME.parquet and NAME.svg; if one cannot be made, none appears.

    Raises:
        UserError: the folder cannot be written.
    """
    writers: dict[str, Writer] = {
        f"{name}.json": text_writer(as_text(told) + "\n"),
        f"{name}.parquet": lambda path: rows.to_parquet(path, index=False),
        f"{name}.svg": text_writer(figure),
    }
    return write_folder(folder, writers, "writing what steering did")


def as_text(told: Mapping[str, Any]) -> str:
    """JSON; what is unknown is null."""
    return json.dumps(_known({"schema": SCHEMA, **told}), indent=1, allow_nan=False)


def _known(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _known(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_known(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
