"""Post-hoc files: what other commands put beside a run, `posthoc/<name>.json`, read strictly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from emo_harness.errors import UserError
from emo_harness.validation import validated

FOLDER = "posthoc"
Model = TypeVar("Model", bound=BaseModel)


def read_posthoc(run_folders: Sequence[Path], name: str, model: type[Model]) -> list[Model]:
    """Every `posthoc/<name>.json` in run folders, each once, in the order of their paths.

    Raises:
        UserError: a file is not what its command writes.
    """
    return [_read(path, model) for path in _files(run_folders, name)]


def _files(run_folders: Sequence[Path], name: str) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in run_folders:
        # Beside a results file that was named, what belongs to its folder.
        found = folder.parent.glob if folder.is_file() else folder.rglob
        for path in sorted(found(f"{FOLDER}/{name}.json")):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _read(path: Path, model: type[Model]) -> Model:
    doing = f"reading {path}"
    fix = "delete the file, or make it again with the command and version that made it"
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(doing, found=f"{error}", expected="a JSON file", fix=fix) from error
    # Tuples and lists are one in JSON; numbers without a fraction may be floats.
    return validated(model, raw, doing, fix)
