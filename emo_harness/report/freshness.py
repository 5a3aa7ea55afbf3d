"""Freshness: whether a report on disk is what would be made now.

Beside the report lies `.made.json`: a digest of everything the report was made from (every file of
the run folders by path, size and time of change, the margin, this package's own sources), the sizes
and times of the files that were written, and what was told at the terminal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from emo_harness.resources import PACKAGE, resource
from emo_harness.whole_file import write_whole

STAMP = ".made.json"
REPORT_FILES = (
    "report.html",
    "report.json",
    "effects.csv",
    "effects.parquet",
    "effects.md",
    "leaderboard.csv",
    "leaderboard.md",
    "leaderboard.tex",
    "flips.parquet",
)


@dataclass(frozen=True)
class Made:
    """What a report on disk was made from, and what was said of it.

    Attributes:
        digest: of its sources, see `digest_of`.
        files: written, with size and time of change.
        verdicts, remarks: as told at the terminal.
    """

    digest: str
    files: dict[str, tuple[int, int]]
    verdicts: tuple[str, ...]
    remarks: tuple[str, ...]


def digest_of(run_folders: Sequence[Path], margin_pp: float, out: Path) -> str:
    """SHA-256 (hex) of what a report would be made from; a report among the runs is no source."""
    sources = (PACKAGE, resource("templates/report"))
    named = [f"{folder}" for folder in run_folders]
    own_files = {out.resolve() / name for name in (STAMP, *REPORT_FILES)}
    seen = [
        _seen(path)
        for folder in run_folders
        for path in _files(folder)
        if path.resolve() not in own_files
    ]
    own = [_seen(path) for folder in sources for path in _files(folder) if _is_source(path)]
    # A tokenizer named by a relative path is found from some folders only.
    around = [str(Path.cwd()), version("lm_eval"), margin_pp]
    content = json.dumps([named, sorted(seen), sorted(own), around])
    return hashlib.sha256(content.encode()).hexdigest()


def made_before(out: Path, digest: str) -> Made | None:
    """The report in `out` if it was made from the same and no file of it was touched, else None."""
    try:
        raw = json.loads((out / STAMP).read_text(encoding="utf-8"))
        made = Made(
            str(raw["digest"]),
            {str(name): (int(size), int(time)) for name, (size, time) in raw["files"].items()},
            tuple(map(str, raw["verdicts"])),
            tuple(map(str, raw["remarks"])),
        )
        untouched = all(_stat(out / name) == stat for name, stat in made.files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return made if made.digest == digest and untouched else None


def remember(
    out: Path,
    digest: str,
    files: Iterable[Path],
    verdicts: Iterable[str],
    remarks: Iterable[str],
) -> None:
    """Write the stamp, after the report's files."""
    made = Made(digest, {path.name: _stat(path) for path in files}, tuple(verdicts), tuple(remarks))
    text = json.dumps(asdict(made))
    write_whole(out / STAMP, lambda path: path.write_text(text, encoding="utf-8"))


def _files(folder: Path) -> list[Path]:
    return [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.is_file()]


def _is_source(path: Path) -> bool:
    return "__pycache__" not in path.parts and "weights" not in path.parts


def _seen(path: Path) -> tuple[str, int, int]:
    return (str(path.resolve()), *_stat(path))


def _stat(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
