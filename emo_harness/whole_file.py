"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from emo_harness.errors import UserError

Writer = Callable[[Path], object]


def write_folder(folder: Path, writers: Mapping[str, Writer], doing: str) -> list[Path]:
    """Write files by name into `folder`, made if missing; if one cannot be made, none appears.

    Args:
        doing: what is written, for the message: "writing the page".

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_all({folder / name: write for name, write in writers.items()})
    except OSError as error:
        raise UserError(
            f"{doing} to {folder}",
            found=f"{error.strerror or error}",
            expected="a folder that can be written",
            fix="choose another --out",
        ) from error


def require_folder(folder: Path, doing: str) -> None:
    """Refuse at once what could not be written to later; nothing is made.

    Raises:
        UserError: a file is there, or something that cannot be written.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            doing,
            found=f"{there}, which is a file" if there.is_file() else f"no right to write {there}",
            expected="a folder that can be written",
            fix="choose another --out",
        )


def text_writer(text: str) -> Writer:
    """A writer of UTF-8 text, whose line ends stay as they are on every system."""
    return lambda path: path.write_bytes(text.encode("utf-8"))


def write_whole(path: Path, write: Writer) -> Path:
    """Write beside the target and rename, so that a half-written file never shows."""
    return _write_all({path: write})[0]


def _write_all(writers: Mapping[Path, Writer]) -> list[Path]:
    partials: dict[Path, Path] = {}
    try:
        for path, write in writers.items():
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            os.close(handle)
            partials[path] = Path(name)
            write(partials[path])
            partials[path].chmod(0o644)
        for path, partial in partials.items():
            partial.replace(path)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
    return list(writers)
