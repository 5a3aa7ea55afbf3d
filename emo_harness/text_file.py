"""Text files of the user's, read whole, of a bounded size."""

from __future__ import annotations

from pathlib import Path

from emo_harness.errors import UserError

MAX_BYTES = 10_000_000


def read_text(path: Path, doing: str, most_bytes: int = MAX_BYTES) -> str:
    """A text file's content, without a byte order mark.

    Args:
        doing: what is read, for the message: "reading norms from FILE".

    Raises:
        UserError: not a readable file, more than `most_bytes`, not UTF-8.
    """
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise UserError(doing, found=found, expected="a file", fix="check the path")
        size, content = path.stat().st_size, path.open("rb").read(most_bytes + 1)
    except OSError as error:
        raise UserError(
            doing,
            found=str(error.strerror),
            expected="a readable file",
            fix="check its path and rights",
        ) from error
    if size > most_bytes:
        raise UserError(
            doing,
            found=f"a file of {size:,} bytes",
            expected=f"at most {most_bytes:,} bytes",
            fix="check that it is the file you meant",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            doing,
            found=f"bytes that are not UTF-8 at position {error.start}",
            expected="a UTF-8 text file",
            fix="save the file as UTF-8",
        ) from error
