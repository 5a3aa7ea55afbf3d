"""Stimuli: emotional sentences (and the placebos beside them), one by one and in sets.

A stimulus set is one YAML file. The shipped sets lie in `templates/stimuli/`; a user's own file
has the same format. This module loads, validates, hashes and selects; it knows no model and no
benchmark.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import AfterValidator, Field, field_validator

from emo_harness.errors import UserError, nearest, quoted
from emo_harness.resources import resource
from emo_harness.validation import Strict, validated

SHIPPED_SETS = ("prompt", "attack", "negative", "placebo")
OWN_FAMILY = "own"
MAX_FILE_BYTES = 1_000_000
MAX_TEXT_CHARACTERS = 4_000
ID_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
FAMILY_PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"
# These have a meaning of their own among arms, metrics and tasks.
RESERVED = ("control", "all", "by_arm")
_MEND = "mend the file; docs/stimulus-sets.md shows the format"

PlaceboKind = Literal["neutral", "self-check", "shuffled"]


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"another name than {quoted(RESERVED)}, which are reserved")
    return name


Name = Annotated[str, Field(pattern=ID_PATTERN), AfterValidator(_not_reserved)]
Family = Annotated[str, Field(pattern=FAMILY_PATTERN), AfterValidator(_not_reserved)]


class StimulusEntry(Strict):
    """One stimulus as it stands in a set's file. Unknown facts are None."""

    id: Name
    text: str
    theory: str | None = None
    emotion: str | None = None
    arousal_rank: int | None = Field(default=None, ge=1)
    demand: bool | None = None
    placebo: PlaceboKind | None = None
    source: str | None = None
    confidence: Literal["high", "medium", "low"] | None = None
    default: bool = True

    @field_validator("text")
    @classmethod
    def _one_line_of_text(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("a text that is not empty")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ValueError(f"a text of at most {MAX_TEXT_CHARACTERS:,} characters")
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
            raise ValueError("one line of text, without control characters")
        return text.strip()


class Stimulus(StimulusEntry):
    """One emotional sentence or placebo.

    Attributes:
        id: lower-case name, unique in its set; "a+b" for a combination, "shuffled:a" for a's
            own words in random order.
        text: the sentence, one line, no surrounding white space.
        family: `prompt`, `attack`, `negative`, `placebo`, or a user's own.
        theory: the psychological theory or group the source gives.
        arousal_rank: rank by arousal where published, 1 the highest.
        demand: whether it orders the model to check, explain or score.
        placebo: which kind of placebo it is; None for an emotional stimulus.
        source: citation, or "emo-harness" for our own.
        confidence: how sure the source is of the wording.
        default: whether it is an arm when its set is asked for by name.
    """

    id: str
    family: str


class StimulusSet(Strict):
    """An ordered, versioned collection of stimuli."""

    name: Name
    version: int = Field(default=1, ge=1)
    family: Family
    title: str | None = None
    description: str | None = None
    sources: dict[str, str] = Field(default_factory=dict)
    stimuli: tuple[Stimulus, ...]

    @property
    def default_stimuli(self) -> tuple[Stimulus, ...]:
        """The stimuli that are arms when the set is asked for by name."""
        return tuple(s for s in self.stimuli if s.default)

    @property
    def hash(self) -> str:
        return content_hash(self.stimuli)


def content_hash(stimuli: Iterable[Stimulus]) -> str:
    """SHA-256 (hex) of what makes an arm: id, text, family and kind of placebo, in order.

    Citations and tags may be corrected without making a run incomparable.
    """
    rows = [s.model_dump(include={"id", "text", "family", "placebo"}) for s in stimuli]
    canonical = json.dumps(rows, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def load_set(name_or_path: str | Path) -> StimulusSet:
    """Load a shipped set by name ("attack") or a file in the same format.

    Raises:
        UserError: the file is missing, too large, not UTF-8, not YAML, or breaks the format.
    """
    if str(name_or_path) in SHIPPED_SETS:
        return _shipped(str(name_or_path))
    path = Path(name_or_path)
    if not _is_file(str(path)):
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


def combine(stimuli: Sequence[Stimulus]) -> Stimulus:
    """Join stimuli into one, "ep02+ep07": their texts in order, one space between them.

    Placebos joined are a placebo; a placebo joined to a stimulus is a stimulus.
    """
    families = sorted({s.family for s in stimuli if s.placebo is None}) or ["placebo"]
    demands = [s.demand for s in stimuli]
    kinds = {s.placebo for s in stimuli}
    placebo: PlaceboKind | None = None
    if None not in kinds:
        placebo = "neutral" if kinds == {"neutral"} else "self-check"
    return Stimulus(
        id="+".join(s.id for s in stimuli),
        text=" ".join(s.text for s in stimuli),
        family="+".join(families),
        theory=" + ".join(dict.fromkeys(s.theory for s in stimuli if s.theory)) or None,
        demand=True if True in demands else None if None in demands else False,
        placebo=placebo,
        source="combination",
    )


def shuffled(stimulus: Stimulus) -> Stimulus:
    """The stimulus's own words in a random order that depends on its text alone."""
    words = stimulus.text.split()
    seed = int.from_bytes(hashlib.sha256(stimulus.text.encode()).digest()[:8], "big")
    rng = np.random.default_rng(seed)
    order = words
    while order == words and len(set(words)) > 1:
        order = [words[i] for i in rng.permutation(len(words))]
    return Stimulus(
        id=f"shuffled:{stimulus.id}",
        text=" ".join(order),
        family="placebo",
        placebo="shuffled",
        theory=f"words of {stimulus.id} in random order",
        source="emo-harness",
    )


def own_sentence(text: str) -> Stimulus:
    """A stimulus of family `own` from one sentence of the user's."""
    entry = validated(
        StimulusEntry,
        {"id": "own", "text": text},
        f"reading the sentence {text[:60]!r}",
        fix="write one line of text",
    )
    digest = hashlib.sha256(entry.text.encode()).hexdigest()[:6]
    return Stimulus(id=f"own-{digest}", text=entry.text, family=OWN_FAMILY, source="user")


def select(spec: str | Sequence[str], also_known: Iterable[Stimulus] = ()) -> tuple[Stimulus, ...]:
    """Turn what a user named into stimuli, in order and without repeats.

    Args:
        spec: one of, or a list of: a shipped set ("attack"), a YAML file, an id ("ea01"), a
            combination ("ep02+ep07"), "shuffled:ID", or a sentence (anything with a space or a
            letter beyond ASCII in it). Ids after a file may be the file's.
        also_known: further stimuli that may be named by id, before the shipped ones.

    Raises:
        UserError: an unknown name, or two different stimuli with one id.
    """
    known = shipped_stimuli() | {s.id: s for s in also_known}
    chosen: dict[str, Stimulus] = {}
    for item in [spec] if isinstance(spec, str) else spec:
        for stimulus in _select_one(item, known):
            if chosen.setdefault(stimulus.id, stimulus) != stimulus:
                raise UserError(
                    "choosing stimuli",
                    found=f"two different stimuli with the id {stimulus.id!r}",
                    expected="one stimulus per id",
                    fix="give the stimulus in your own set another id",
                )
    return tuple(chosen.values())


def shipped_stimuli() -> dict[str, Stimulus]:
    """Every stimulus of the shipped sets by id."""
    return {s.id: s for name in SHIPPED_SETS for s in load_set(name).stimuli}


def _select_one(item: object, known: dict[str, Stimulus]) -> tuple[Stimulus, ...]:
    if not isinstance(item, str) or not item.strip():
        raise UserError(
            "choosing stimuli",
            found=repr(item),
            expected="the name of a set, a file, an id, or a sentence",
            fix="see `emo stimuli list`",
        )
    item = item.strip()
    if item.lower() in SHIPPED_SETS:
        return load_set(item.lower()).default_stimuli
    if item.endswith((".yaml", ".yml")) or _is_file(item):
        stimulus_set = load_set(item)
        known.update({stimulus.id: stimulus for stimulus in stimulus_set.stimuli})
        if not stimulus_set.default_stimuli:
            raise UserError(
                f"choosing the stimuli of {item}",
                found="a set whose every entry says `default: false`",
                expected="at least one stimulus that is an arm when the set is named",
                fix="take `default: false` off an entry",
            )
        return stimulus_set.default_stimuli
    if any(c.isspace() for c in item) or not item.isascii():
        return (own_sentence(item),)
    name = item.lower()
    parts = [_by_id(part, known) for part in name.removeprefix("shuffled:").split("+")]
    stimulus = parts[0] if len(parts) == 1 else combine(parts)
    return (shuffled(stimulus) if name.startswith("shuffled:") else stimulus,)


def _is_file(item: str) -> bool:
    try:
        return Path(item).is_file()
    except OSError:  # too long for a file's name
        return False


def _by_id(name: str, known: dict[str, Stimulus]) -> Stimulus:
    if name not in known:
        raise UserError(
            f"looking up the stimulus {name[:80]!r}",
            found=f"no stimulus or set of that name{nearest(name, [*known, *SHIPPED_SETS])}",
            expected="an id such as ea01, a set such as attack, a .yaml file, or a whole sentence",
            fix="`emo stimuli list` shows every set and id",
        )
    return known[name]


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
