"""Questions and where they came from: the one value that every benchmark module returns."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emo_harness.errors import UserError, nearest

DATA_VARIABLE = "EMO_HARNESS_DATA"


@dataclass(frozen=True)
class Source:
    """Where a subtask's questions came from; written into every run.

    Attributes:
        kind: `hub` (as upstream loads them), `folder` (published files on disk), `embedded`
            (come with an installed package) or `generated` (seeded).
        place: hub id, file name, or the package or seed that made them.
        sha256: of the file or of the questions, None for the hub.
    """

    kind: Literal["hub", "folder", "embedded", "generated"]
    place: str
    sha256: str | None = None


@dataclass(frozen=True)
class Questions:
    """A subtask's questions: `rows` of lm-eval documents, or None where lm-eval loads them."""

    source: Source
    rows: list[dict[str, Any]] | None = field(default=None, repr=False)


def rows_sha256(rows: list[dict[str, str]]) -> str:
    canonical = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def local_folder(
    benchmark: str, data_dir: str | None, files: str = "*.json", example: str = "navigate.json"
) -> Path | None:
    """The folder that holds a benchmark's published files, or None to ask the hub.

    Args:
        benchmark: its name, which is also the subfolder looked for.
        data_dir: the user's folder; without one the environment variable EMO_HARNESS_DATA is
            read, below which each benchmark has a subfolder.
        files: pattern of the published files, below the benchmark's folder.
        example: name of one of them, for messages.

    Raises:
        UserError: a folder was named but holds no such benchmark. There is no fallback.
    """
    named = data_dir or os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    origin = "emo.data_dir" if data_dir else f"the environment variable {DATA_VARIABLE}"
    root = Path(named).expanduser()
    doing = f"looking for {benchmark} questions in {root}, named by {origin}"
    if not root.is_dir():
        raise UserError(
            doing,
            found="a file" if root.exists() else "no such folder",
            expected="a folder of published files",
            fix="correct the path, or leave it out to use the hub",
        )
    inside = [root, root / benchmark, root / benchmark / benchmark]
    for folder in inside if data_dir else inside[1:]:
        if any(folder.glob(files)):
            return folder
    raise UserError(
        doing,
        found=f"no {Path(files).suffix} file there or in a subfolder {benchmark}/",
        expected=f"files such as {benchmark}/{example}",
        fix="point to the folder of the published files (docs/questions.md)",
    )


def read_published(folder: Path, subtask: str) -> Questions:
    """Read `<subtask>.json` in the format of the BIG-Bench-Hard release.

    Raises:
        UserError: the file is missing, broken, or has another shape.
    """
    path = folder / f"{subtask}.json"
    doing = f"reading the questions {path}"
    fix = "take the file from the published data again"
    if not path.is_file():
        there = sorted(p.stem for p in folder.glob("*.json"))
        raise UserError(
            doing,
            found=f"no such file among {len(there)} subtasks{nearest(subtask, there)}",
            expected="one JSON file per subtask",
            fix="complete the folder, or name the subtasks you have, e.g. --tasks "
            f"emo_bbh_attack_{there[0] if there else 'navigate'}",
        )
    try:
        raw = path.read_bytes()
        parsed: Any = json.loads(raw.decode("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(doing, found=f"{error}", expected="UTF-8 JSON", fix=fix) from error
    examples = parsed.get("examples") if isinstance(parsed, dict) else None
    if not isinstance(examples, list) or not examples:
        raise UserError(doing, found="no list `examples`", expected='{"examples": [...]}', fix=fix)
    rows = []
    for number, example in enumerate(examples, start=1):
        text, target = (
            (example.get("input"), example.get("target"))
            if isinstance(example, dict)
            else (None, None)
        )
        if not isinstance(text, str) or not isinstance(target, str):
            raise UserError(
                f"{doing}, example {number}",
                found=repr(example)[:60],
                expected='{"input": "...", "target": "..."}',
                fix=fix,
            )
        rows.append({"input": text, "target": target})
    place = f"{folder.name}/{path.name}"
    return Questions(Source("folder", place, hashlib.sha256(raw).hexdigest()), rows)
