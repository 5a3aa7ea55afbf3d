"""Selecting stimuli: from what a user named to sentences, combined, shuffled or as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from emo_harness.errors import UserError, nearest
from emo_harness.stimuli.files import SHIPPED_SETS, is_file, load_set, shipped_stimuli
from emo_harness.stimuli.stimulus import PlaceboKind, Stimulus, StimulusEntry
from emo_harness.validation import validated

OWN_FAMILY = "own"
# What placebos of several kinds become together: the kind that does most.
_KINDS: tuple[PlaceboKind, ...] = (
    "self-check",
    "decoded",
    "shuffled",
    "phase-scrambled",
    "pixel-scrambled",
    "grey",
    "neutral",
)


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


def combine(stimuli: Sequence[Stimulus]) -> Stimulus:
    """Join stimuli into one, "ep02+ep07": their texts in order, one space between them.

    At most one of them is an image. Placebos joined are a placebo; a placebo joined to a stimulus
    is a stimulus. Of decoded stimuli the lineage is kept, as family, but not how each was made.
    """
    families = sorted({s.lineage for s in stimuli if s.placebo is None}) or ["placebo"]
    demands = [s.demand for s in stimuli]
    kinds = {s.placebo for s in stimuli}
    placebo: PlaceboKind | None = None
    if None not in kinds:
        placebo = next(kind for kind in _KINDS if kind in kinds)
    return Stimulus(
        id="+".join(s.id for s in stimuli),
        text=" ".join(s.text for s in stimuli if s.text),
        image=next((s.image for s in stimuli if s.image is not None), None),
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
    if item.endswith((".yaml", ".yml")) or is_file(item):
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


def _by_id(name: str, known: dict[str, Stimulus]) -> Stimulus:
    if name not in known:
        raise UserError(
            f"looking up the stimulus {name[:80]!r}",
            found=f"no stimulus or set of that name{nearest(name, [*known, *SHIPPED_SETS])}",
            expected="an id such as ea01, a set such as attack, a .yaml file, or a whole sentence",
            fix="`emo stimuli list` shows every set and id",
        )
    return known[name]
