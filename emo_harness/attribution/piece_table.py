"""The table of every piece that was attributed, written as it comes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from emo_harness.attribution.aggregate import AttributedPrompt
from emo_harness.attribution.sample import AskedQuestion

# Rows of the file that are held before they are written.
_HELD_ROWS = 100_000
_TYPES = {
    "model": "string",
    "benchmark": "string",
    "mode": "string",
    "placement": "string",
    "asked": "string",
    "subtask": "string",
    "question": "string",
    "doc_id": "int64",
    "kind": "string",
    "arm": "string",
    "arm_kind": "string",
    "family": "string",
    "target": "string",
    "log_probability": "float64",
    "method": "string",
    "piece": "int32",
    "role": "string",
    "text": "string",
    "score": "float64",
    "converged": "bool",
}


class PieceTable:
    """A row per prompt, method and piece, in a file of its own until it is asked for.

    Use as a context manager: on leaving the rows are gone, unless `to_parquet` has copied them.

    Args:
        folder: where the rows are kept meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        self._schema = pyarrow.schema(
            [
                (
                    name,
                    pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
                    if kind == "string"
                    else getattr(pyarrow, "bool_" if kind == "bool" else kind)(),
                )
                for name, kind in _TYPES.items()
            ]
        )
        self._path = folder / "pieces.parquet"
        self._writer = ParquetWriter(self._path, self._schema)
        self._columns: dict[str, list[Any]] = {name: [] for name in _TYPES}
        self.n_rows = 0

    def add(self, question: AskedQuestion, prompts: Sequence[AttributedPrompt], kind: str) -> None:
        """Take in prompts of one question.

        Args:
            kind: why it was looked at: "sampled", or the kind of a flip.
        """
        member = question.member
        for one in prompts:
            same = {
                "model": member.model,
                "benchmark": member.benchmark,
                "mode": member.mode,
                "placement": member.placement,
                "asked": member.family,
                "subtask": member.subtask,
                "question": member.questions[question.row],
                "doc_id": question.doc_id,
                "kind": kind,
                "arm": one.arm.id,
                "arm_kind": one.arm.kind,
                "family": one.arm.family,
                "target": one.asked.answer,
                "log_probability": one.log_probability,
                "converged": one.converged,
            }
            pieces = one.asked.pieces.pieces
            for method, scores in one.scores.items():
                known = [None if np.isnan(score) else float(score) for score in scores]
                n = len(pieces)
                for name, value in same.items():
                    self._columns[name].extend([value] * n)
                self._columns["method"].extend([method] * n)
                self._columns["piece"].extend(range(n))
                self._columns["role"].extend(piece.role for piece in pieces)
                self._columns["text"].extend(piece.text for piece in pieces)
                self._columns["score"].extend(known)
        if len(self._columns["piece"]) >= _HELD_ROWS:
            self._write()

    def to_parquet(self, path: Path, index: bool = False) -> None:
        """Copy what was taken in; as a data frame's, without an index."""
        self._write()
        self._writer.close()
        shutil.copyfile(self._path, path)

    def __enter__(self) -> PieceTable:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        import pyarrow

        if not self._columns["piece"]:
            return
        self.n_rows += len(self._columns["piece"])
        self._writer.write_table(pyarrow.table(self._columns, schema=self._schema))
        self._columns = {name: [] for name in _TYPES}
