"""Files of stimulus sets: the shipped ones in `templates/stimuli/`, and a user's own."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from emo_harness.errors import UserError, nearest, quoted
from emo_harness.resources import resource
from emo_harness.stimuli.decoding import Decoding
from emo_harness.stimuli.stimulus import DECODED, Stimulus, StimulusEntry, StimulusSet
from emo_harness.text_file import read_text
from emo_harness.validation import validated

SHIPPED_SETS = ("prompt", "attack", "negative", "placebo")
MAX_FILE_BYTES = 4_000_000
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
    return _parsed(read_text(path, doing, MAX_FILE_BYTES), doing)


@lru_cache(maxsize=16)  # Every subtask of a run reads the same file.
def _parsed(content: str, doing: str) -> StimulusSet:
    raw = _parsed_yaml(content, doing)
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
        stimulus = _read_entry(raw_entry, frame, f"{doing}, entry {number}")
        if stimulus.id in stimuli:
            raise UserError(
                f"{doing}, entry {number}",
                found=f"the id {stimulus.id!r} a second time",
                expected="every id once",
                fix="rename one of the two",
            )
        stimuli[stimulus.id] = stimulus
    return frame.model_copy(update={"stimuli": tuple(stimuli.values())})


def _read_entry(raw: Any, frame: StimulusSet, doing: str) -> Stimulus:
    if isinstance(raw, dict) and raw.get("decoded") is not None:
        # On its own first, so that a misspelt key is told with the nearest of these keys.
        validated(Decoding, raw["decoded"], f"{doing}, key 'decoded'", _MEND)
    entry = validated(StimulusEntry, raw, doing, _MEND)
    _check_decoded(entry, frame.family, doing)
    placebo = entry.placebo or ("neutral" if frame.family == "placebo" else None)
    return Stimulus(
        **{
            **dict(entry),
            "family": "placebo" if placebo else frame.family,
            "placebo": placebo,
            "source": frame.sources.get(entry.source or "", entry.source),
        }
    )


def _check_decoded(entry: StimulusEntry, family: str, doing: str) -> None:
    """Refuse what a run would take for another kind of arm than it is."""
    kind = entry.decoded.kind if entry.decoded else None
    found = None
    if kind is None and entry.placebo == DECODED:
        found, expected = f"placebo = {DECODED!r} alone", "it beside the key 'decoded'"
    elif kind is None and family == DECODED and entry.placebo is None:
        found, expected = "no 'decoded'", f"it in every stimulus of family {DECODED}"
    elif kind == "meta" and entry.placebo is not None:
        found = f"a meta prompt (decoded.kind = 'meta') with placebo = {entry.placebo!r}"
        expected = "no placebo: controls are of another kind"
    elif kind == "meta" and family != DECODED:
        found = f"a meta prompt (decoded.kind = 'meta') in a set of family {family}"
        expected = f"family: {DECODED}"
    elif kind not in (None, "meta") and entry.placebo != DECODED:
        found = f"a control (decoded.kind = {kind!r}) " + (
            f"with placebo = {entry.placebo!r}" if entry.placebo else "without 'placebo'"
        )
        expected = f"placebo: {DECODED}, which keeps controls apart from meta prompts"
    if found:
        raise UserError(
            doing,
            found=found,
            expected=expected,
            fix="leave these keys as `emo decode` writes them; a text of your own needs a set "
            "with a family of your own, without 'decoded'",
        )


def _parsed_yaml(content: str, doing: str) -> Any:
    try:
        return yaml.safe_load(content)
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
