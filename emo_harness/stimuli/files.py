"""Files of stimulus sets: the shipped ones in `templates/stimuli/`, and a user's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from emo_harness.errors import UserError, nearest, quoted
from emo_harness.resources import resource
from emo_harness.stimuli.stimulus import Stimulus, StimulusEntry, StimulusSet
from emo_harness.validation import validated

SHIPPED_SETS = ("prompt", "attack", "negative", "placebo")
MAX_FILE_BYTES = 1_000_000
_MEND = "mend the file; docs/stimulus-sets.md shows the format"


def load_set(name_or_path: str | Path) -> StimulusSet:
    """Load a shipped set by name ("attack") or a file in the same format.

    Raises:
        UserError: the file is missing, too large, not UTF-8, not YAML, or breaks the format.
    """
    if str(name_or_path) in SHIPPED_SETS:
        return _shipped(str(name_or_path))
    path = Path(name_or_path)
    if not is_file(str(path)):
        raise UserError(
            f"reading the stimulus set {str(name_or_path)[:80]!r}",
            found=f"no such file{nearest(str(name_or_path), SHIPPED_SETS)}",
            expected=f"a shipped set ({quoted(SHIPPED_SETS)}) or a YAML file",
            fix="name a set or a file; docs/stimulus-sets.md shows the format",
        )
    return _read_set(path)


@cache
def _shipped(name: str) -> StimulusSet:
    return _read_set(resource(f"templates/stimuli/{name}.yaml"))


def shipped_stimuli() -> dict[str, Stimulus]:
    """Every stimulus of the shipped sets by id."""
    return {s.id: s for name in SHIPPED_SETS for s in load_set(name).stimuli}


def is_file(item: str) -> bool:
    try:
        return Path(item).is_file()
    except OSError:  # too long for a file's name
        return False


def _read_set(path: Path) -> StimulusSet:
    doing = f"reading the stimulus set {path.name}"
    raw = _read_yaml(path, doing)
    if not isinstance(raw, dict):
        raise UserError(
            doing,
            found=f"a YAML {type(raw).__name__} at the top",
            expected="a mapping with the keys name, family and stimuli",
            fix="start from `emo stimuli show attack --yaml`",
        )
    entries = raw.get("stimuli")
    if not isinstance(entries, list) or not entries:
        raise UserError(
            doing,
            found="no list of stimuli" if not isinstance(entries, list) else "an empty list",
            expected="`stimuli:` with at least one entry that has an id and a text",
            fix="add an entry; docs/stimulus-sets.md shows the format",
        )
    head = {key: value for key, value in raw.items() if key != "stimuli"}
    frame = validated(StimulusSet, {**head, "stimuli": ()}, doing, _MEND)
    stimuli: dict[str, Stimulus] = {}
    for number, raw_entry in enumerate(entries, start=1):
        entry = validated(StimulusEntry, raw_entry, f"{doing}, entry {number}", _MEND)
        if entry.id in stimuli:
            raise UserError(
                f"{doing}, entry {number}",
                found=f"the id {entry.id!r} a second time",
                expected="every id once",
                fix="rename one of the two",
            )
        placebo = entry.placebo or ("neutral" if frame.family == "placebo" else None)
        stimuli[entry.id] = Stimulus(
            **{
                **entry.model_dump(),
                "family": "placebo" if placebo else frame.family,
                "placebo": placebo,
                "source": frame.sources.get(entry.source or "", entry.source),
            }
        )
    return frame.model_copy(update={"stimuli": tuple(stimuli.values())})


def _read_yaml(path: Path, doing: str) -> Any:
    try:
        size, content = path.stat().st_size, path.open("rb").read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(
            doing, found=str(error.strerror), expected="a readable file", fix="check its rights"
        ) from error
    if size > MAX_FILE_BYTES:
        raise UserError(
            doing,
            found=f"a file of {size:,} bytes",
            expected=f"at most {MAX_FILE_BYTES:,} bytes",
            fix="a stimulus is a sentence; split the set or shorten its texts",
        )
    try:
        return yaml.safe_load(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(
            doing,
            found=f"bytes that are not UTF-8 at position {error.start}",
            expected="a UTF-8 text file",
            fix="save the file as UTF-8",
        ) from error
    except RecursionError as error:
        raise UserError(
            doing, found="YAML nested too deeply", expected="a stimulus set", fix=_MEND
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(
            doing,
            found=f"broken YAML{where}: {getattr(error, 'problem', None) or 'cannot be parsed'}",
            expected="a YAML file",
            fix="put texts in double quotes and indent with spaces",
        ) from error
