"""The store of what was read: a samples file that has not changed is not read again.

One `.npz` file (no pickle) per samples file in the user's cache folder. Nothing depends on it:
a file that is broken or of another version is written anew, a folder that cannot be written is
left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from emo_harness.prompt_tokens import tokenizer_file
from emo_harness.runs.results import RunTask
from emo_harness.runs.samples import SamplesReading

FOLDER_VARIABLE = "EMO_HARNESS_CACHE"
# Goes up whenever the same samples file would be read as something else.
READER_VERSION = 3
_TEXTS = "texts"
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)


def store_folder() -> Path:
    """$EMO_HARNESS_CACHE, else below the user's cache folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emo-harness"


def stored_file(task: RunTask, count_tokens: bool) -> Path | None:
    """Where a reading of the samples as they are now is kept; None where that is unknown."""
    try:
        samples = task.samples_file.resolve()
        state = samples.stat()
        tokenizer = (
            tokenizer_file(task.limit.tokenizer, task.limit.revision)
            if task.limit and count_tokens
            else None
        )
        key = {
            "version": READER_VERSION,
            "samples": [str(samples), state.st_size, state.st_mtime_ns],
            "config": task.config,
            "questions": [task.n_questions, task.n_available],
            "limit": asdict(task.limit) if task.limit else None,
            "tokenizer": [str(tokenizer), tokenizer.stat().st_mtime_ns] if tokenizer else None,
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return store_folder() / "samples" / f"{digest}.npz"
    except (OSError, RuntimeError):
        return None


def load(path: Path) -> SamplesReading | None:
    """The reading in a file of the store; None where there is none, or a broken one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            texts = json.loads(stored[_TEXTS].tobytes())
            arrays: dict[str, Any] = dict.fromkeys(_array_names())
            arrays |= {name: stored[name] for name in stored.files if name != _TEXTS}
        reading = SamplesReading(
            **arrays,
            slots=tuple((metric, filter_name) for metric, filter_name in texts["slots"]),
            questions=tuple(texts["questions"]),
            prompts=tuple(texts["prompts"]),
            targets=tuple(texts["targets"]),
            n_repeats=int(texts["n_repeats"]),
            tokens_per_char=(float(texts["per_char"][0]), float(texts["per_char"][1])),
            remarks=tuple(texts["remarks"]),
        )
    except _UNREADABLE:
        return None
    return reading if _is_whole(reading) else None


def save(path: Path, reading: SamplesReading) -> None:
    """Write beside the target and rename, so that a half-written file never shows."""
    texts = {
        "slots": reading.slots,
        "questions": reading.questions,
        "prompts": reading.prompts,
        "targets": reading.targets,
        "n_repeats": reading.n_repeats,
        "per_char": reading.tokens_per_char,
        "remarks": reading.remarks,
    }
    arrays: dict[str, Any] = {
        name: value for name in _array_names() if (value := getattr(reading, name)) is not None
    }
    arrays[_TEXTS] = np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError:
        # A full or forbidden folder costs the next report time, and nothing else.
        return


def _array_names() -> list[str]:
    return [f.name for f in fields(SamplesReading) if "NDArray" in str(f.type)]


def _is_whole(reading: SamplesReading) -> bool:
    """Whether all arrays are there and of one run's shape."""
    if any(getattr(reading, n) is None for n in _array_names() if n not in _OPTIONAL):
        return False
    n_slots, n_questions, n_arms = reading.scores.shape
    cells, planes = (n_questions, n_arms), (n_slots, n_questions, n_arms)
    shapes = {
        "doc_ids": (n_questions,),
        "offsets": (n_slots, n_questions),
        "unparsed": planes,
        "variances": planes,
        "refused": cells,
        "truncated": cells,
        "prompt_chars": cells,
        "answer_chars": cells,
    }
    texts = (reading.questions, reading.prompts, reading.targets)
    return (
        len(reading.slots) == n_slots
        and all(len(part) == n_questions for part in texts)
        and all(
            (value := getattr(reading, name)) is None or value.shape == shape
            for name, shape in shapes.items()
        )
    )


_OPTIONAL = ("variances", "truncated")
