"""MMMU, validation: the hub as upstream loads it, or a local folder in the hub's layout."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emo_harness.benchmarks.source import Questions, Source, local_folder
from emo_harness.benchmarks.upstream import load_config
from emo_harness.errors import UserError, nearest

HUB_ID = "MMMU/MMMU"
FOLDER = "mmmu"
MAX_FILE_BYTES = 1024**3
_FILES = "validation-*.parquet"
_FIX = "take the file from the published data again"
# What upstream's prompt and scoring read of a question.
_COLUMNS = ("id", "question", "options", "answer", "question_type")


def questions(subtask: str, data_dir: str | None) -> Questions:
    """Where a subject's questions come from; nothing falls back to anything else.

    Raises:
        UserError: a folder was named that lacks the subject, or holds a broken file.
    """
    subject = str(load_config(f"mmmu/mmmu_{subtask}.yaml")["dataset_name"])
    folder = local_folder(
        FOLDER, data_dir, f"*/{_FILES}", "Accounting/validation-00000-of-00001.parquet"
    )
    if folder is None:
        return Questions(Source("hub", f"{HUB_ID}/{subject}"))
    return read_subject(folder, subject)


def read_subject(folder: Path, subject: str) -> Questions:
    """Read `<subject>/validation-*.parquet`; images are left as the bytes of their files.

    Raises:
        UserError: no such files, or none that hold questions of MMMU's.
    """
    doing = f"reading the questions of {subject} in {folder}"
    files = sorted((folder / subject).glob(_FILES))
    if not files:
        there = sorted({path.parent.name for path in folder.glob(f"*/{_FILES}")})
        raise UserError(
            doing,
            found=f"no {subject}/{_FILES} among {len(there)} subjects{nearest(subject, there)}",
            expected="one folder of parquet files per subject, as on the hub",
            fix="complete the folder, or name the subjects you have, e.g. --tasks "
            f"emo_mmmu_val_visual_attack_{(there or ['Accounting'])[0].lower()}",
        )
    digest = hashlib.sha256()
    rows: list[dict[str, Any]] = []
    for path in files:
        rows += _rows(path, digest, doing)
    if not rows:
        raise UserError(doing, found="no question", expected="some", fix=_FIX)
    return Questions(Source("folder", f"{folder.name}/{subject}", digest.hexdigest()), rows)


def _rows(path: Path, digest: Any, doing: str) -> Sequence[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(
                doing,
                found=f"{path.name} of more than {MAX_FILE_BYTES:,} bytes",
                expected="a subject's published file",
                fix=_FIX,
            )
        content = path.read_bytes()
        digest.update(content)
        rows: list[dict[str, Any]] = parquet.read_table(pa.BufferReader(content)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            doing,
            found=f"{path.name}: {' '.join(str(error).split())[:120]}",
            expected="a parquet file",
            fix=_FIX,
        ) from error
    for number, row in enumerate(rows, start=1):
        odd = [name for name in _COLUMNS if not isinstance(row.get(name), str)]
        if odd:
            raise UserError(
                f"{doing}, {path.name}, question {number}",
                found=f"no text under {odd[0]!r}",
                expected=f"the columns {', '.join(_COLUMNS)}, and image_1 to image_7",
                fix=_FIX,
            )
    return rows
