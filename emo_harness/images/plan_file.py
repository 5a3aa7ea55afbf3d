"""Files that say which images to make: found by name or path, and read as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from emo_harness.errors import UserError, nearest, quoted
from emo_harness.resources import resource
from emo_harness.text_file import read_text

FOLDER = "templates/images"
MAX_BYTES = 1_000_000
# The key that only a plan of emoji images has.
GLYPHS = "glyphs"


def shipped_plans() -> dict[str, Path]:
    """Files that come with the package, by name."""
    return {path.stem: path for path in sorted(resource(FOLDER).glob("*.yaml"))}


def plan_path(name_or_path: str | Path) -> Path:
    """A file of the user's, or a shipped one by its name; also by its path in the checkout.

    Raises:
        UserError: there is no such file.
    """
    path, shipped = Path(name_or_path), shipped_plans()
    if path.is_file():
        return path
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    # What the documentation writes, templates/images/NAME.yaml, works from any folder.
    if path.parent.as_posix() == FOLDER and path.suffix == ".yaml" and path.stem in shipped:
        return shipped[path.stem]
    raise UserError(
        f"looking for {str(name_or_path)[:120]!r}",
        found=f"no such file{nearest(path.stem, shipped)}",
        expected=f"a YAML file, or one of {quoted(shipped)}",
        fix="check the path",
    )


def is_emoji_plan(name_or_path: str | Path) -> bool:
    """Whether a file is a plan of emoji images, which has glyphs, and no recipe.

    Raises:
        UserError: it is missing, or no YAML mapping.
    """
    path = plan_path(name_or_path)
    return GLYPHS in read_plan(path, f"reading {path.name}", "mend the file")


def read_plan(path: Path, doing: str, fix: str) -> dict[str, Any]:
    """A YAML file's mapping.

    Raises:
        UserError: too large, not UTF-8, not YAML, no mapping.
    """
    text = read_text(path, doing, MAX_BYTES)
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(
            doing,
            found=f"broken YAML{where}: {getattr(error, 'problem', None) or 'cannot be parsed'}",
            expected="a YAML file",
            fix="put texts in double quotes and indent with spaces",
        ) from error
    if not isinstance(raw, dict):
        raise UserError(
            doing, found=f"a YAML {type(raw).__name__} at the top", expected="a mapping", fix=fix
        )
    return raw
