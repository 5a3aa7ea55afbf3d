"""Evaluation: results, verdicts and remarks of a probe, and the folder they are written to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emo_harness.errors import UserError
from emo_harness.whole_file import text_writer, write_folder

SCHEMA = 1
FACTS, RESULTS = "evaluation.json", "results.parquet"
COLUMNS = (
    "dimension",
    "site",
    "features",
    "method",
    "of",
    "kind",
    "informative",
    "layer",
    "head",
    "split",
    "subset",
    "statistic",
    "accuracy",
    "low",
    "high",
    "sd_over_seeds",
    "n_prompts",
    "n_words",
    "n_templates",
    "n_seeds",
    "converged",
)
_WHOLE = ("layer", "head", "n_prompts", "n_words", "n_templates", "n_seeds")


@dataclass(eq=False)
class Evaluation:
    """What an evaluation of one store found.

    Attributes:
        store: folder of the activations.
        protocol: "strict" or "emo-llm".
        dimensions: that were evaluated.
        settings: what was asked for, JSON values.
        results: rows with the fields of `COLUMNS`; None or NaN where a field is unknown.
        verdicts: one comparison of a probe with its best informative control each, see `verdicts`.
        robustness: shapes, learning curve, transfer and angles, JSON values by dimension.
        remarks: what a reader must know: controls that are missing, fits that did not converge.
    """

    store: Path
    protocol: str
    dimensions: list[str]
    settings: dict[str, Any]
    results: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    robustness: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """JSON values; numbers that are not finite become null."""
        one = len(self.dimensions) == 1
        return {
            "schema": SCHEMA,
            "store": str(self.store),
            "protocol": self.protocol,
            "dimension": self.dimensions[0] if one else self.dimensions,
            "settings": known(self.settings),
            "results": [known({name: row.get(name) for name in COLUMNS}) for row in self.results],
            "verdicts": known(self.verdicts),
            "robustness": known(self.robustness),
            "remarks": self.remarks,
        }


def write_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `evaluation.json` and `results.parquet`, both or neither.

    Raises:
        UserError: the folder cannot be written.
    """
    text = json.dumps(evaluation.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    return write_folder(
        folder,
        {
            FACTS: text_writer(text + "\n"),
            RESULTS: lambda path: _frame(evaluation.results).to_parquet(path, index=False),
        },
        "writing the evaluation",
    )


def check_out(folder: Path) -> None:
    """Tell before anything is computed that `folder` cannot be written; makes nothing.

    Raises:
        UserError: something else is of its name or in its path, or it is not ours to write in.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    raise UserError(
        f"looking where to write: {folder}",
        found=f"{there} is {'not writable' if there.is_dir() else 'a file'}",
        expected="a folder that can be written",
        fix="choose another --out",
    )


def known(value: Any) -> Any:
    """JSON values at any depth, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): known(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [known(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _frame(results: Sequence[Mapping[str, Any]]) -> Any:
    import pandas as pd

    frame = pd.DataFrame(
        [{name: row.get(name) for name in COLUMNS} for row in results], columns=list(COLUMNS)
    )
    for name in _WHOLE:
        frame[name] = frame[name].astype("Int64")
    frame["converged"] = frame["converged"].astype("boolean")
    for name in ("accuracy", "low", "high", "sd_over_seeds"):
        frame[name] = frame[name].astype("float64")
    return frame
