"""Stimuli: emotional sentences and images (and the placebos beside them), one by one and in sets.

A stimulus set is one YAML file. The shipped sets lie in `templates/stimuli/`; a user's own file
has the same format. This package loads, validates, hashes and selects; it knows no model and no
benchmark.
"""

from emo_harness.stimuli.decoding import Decoding
from emo_harness.stimuli.files import SHIPPED_SETS, load_set, shipped_stimuli
from emo_harness.stimuli.selection import combine, own_sentence, select, shuffled
from emo_harness.stimuli.stimulus import (
    DECODED,
    MAX_TEXT_CHARACTERS,
    PlaceboKind,
    Stimulus,
    StimulusEntry,
    StimulusSet,
    content_hash,
    lineage,
)
from emo_harness.stimuli.visual import VISUAL, Arousal, Derived, StimulusImage, visual_family

__all__ = [
    "DECODED",
    "MAX_TEXT_CHARACTERS",
    "SHIPPED_SETS",
    "VISUAL",
    "Arousal",
    "Decoding",
    "Derived",
    "PlaceboKind",
    "Stimulus",
    "StimulusEntry",
    "StimulusImage",
    "StimulusSet",
    "combine",
    "content_hash",
    "lineage",
    "load_set",
    "own_sentence",
    "select",
    "shipped_stimuli",
    "shuffled",
    "visual_family",
]
