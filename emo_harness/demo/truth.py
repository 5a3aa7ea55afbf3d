"""The demo model's measured truth: what every stimulus does to its accuracy on calibration."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from emo_harness.demo import truth_path

CONTROL = "control"
_KEYS = ("question", "question_class")


@dataclass(frozen=True)
class Truth:
    """Right answers of the demo model, exhaustively.

    is_right: arm id -> (n_questions,), bool; question i is calibration question i of `seed`.
    question_class: (n_questions,), str.
    weights_sha256: of the model it was measured on.
    stimulus_sets: set name -> content hash.
    """

    is_right: dict[str, np.ndarray]
    question_class: np.ndarray
    seed: int
    weights_sha256: str
    stimulus_sets: dict[str, str]

    @property
    def gains_pp(self) -> dict[str, float]:
        """Arm accuracy minus control accuracy, in percentage points, per stimulus."""
        return {
            arm: 100 * float(right.mean() - self.is_right[CONTROL].mean())
            for arm, right in self.is_right.items()
            if arm != CONTROL
        }

    @property
    def discordant_shares(self) -> dict[str, float]:
        """Share of questions on which arm and control differ in being right, per stimulus."""
        return {
            arm: float((right != self.is_right[CONTROL]).mean())
            for arm, right in self.is_right.items()
            if arm != CONTROL
        }


def read_truth(path: Path | None = None) -> Truth:
    """Read a truth table and the JSON file beside it; the shipped ones by default."""
    path = path or truth_path()
    table = pq.read_table(path)
    facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return Truth(
        is_right={
            name: table[name].to_numpy().astype(bool)
            for name in table.column_names
            if name not in _KEYS
        },
        question_class=table["question_class"].to_numpy(),
        seed=facts["seed"],
        weights_sha256=facts["weights_sha256"],
        stimulus_sets=facts["stimulus_sets"],
    )
