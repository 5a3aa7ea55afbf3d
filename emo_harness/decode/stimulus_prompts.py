"""Stimulus prompts: where every stimulus stands in the prompts that it is read in."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from emo_harness.errors import UserError
from emo_harness.placement import SEPARATORS
from emo_harness.stimuli import Stimulus

# Whose average a neutral placebo goes into beside those of the sources that were asked with it.
PLACEBO = "placebo"
# A symbol such as an emoji or a currency tells something; accents and quotes on their own do not.
_TELLING = ("So", "Sc", "Sm")


@dataclass(frozen=True)
class StimulusPrompt:
    """One stimulus in one prompt.

    Attributes:
        stimulus: its id.
        text: the whole prompt.
        first, last: the stimulus is `text[first:last]`.
        groups: whose averages it goes into: its source, or as a placebo every source that it is
            set against, and `PLACEBO`.
    """

    stimulus: str
    text: str
    first: int
    last: int
    groups: tuple[str, ...]


def content_length(text: str) -> int:
    """Characters up to the last one that is no closing punctuation, quote or white space.

    >>> content_length('He said "no."')
    11

    Raises:
        UserError: there is nothing but punctuation.
    """
    for n in range(len(text), 0, -1):
        category = unicodedata.category(text[n - 1])
        if category[0] in "LMN" or category in _TELLING:
            return n
    raise UserError(
        f"looking for the last content token of {text[:60]!r}",
        found="no letter and no digit",
        expected="a stimulus with words, of whose closing full stop nothing is read",
        fix="correct the stimulus, leave it out, or use --pooling mean",
    )


def placed_alone(
    sources: Mapping[str, Sequence[Stimulus]], placebos: Sequence[Stimulus]
) -> list[StimulusPrompt]:
    """Every stimulus as a prompt of its own."""
    return [
        StimulusPrompt(one.id, one.text, 0, len(one.text), groups)
        for one, groups in _each(sources, placebos)
    ]


def placed_behind(
    instructions: Iterable[str],
    sources: Mapping[str, Sequence[Stimulus]],
    placebos: Sequence[Stimulus],
) -> list[StimulusPrompt]:
    """Every stimulus behind every instruction, where the placement `instruction` puts it.

    Raises:
        UserError: there is no instruction, or an empty one.
    """
    before = [text.rstrip() for text in dict.fromkeys(instructions)]
    if not before or not all(before):
        raise UserError(
            "reading stimuli behind a benchmark's instruction",
            found="no instruction" if not before else "a task without one",
            expected="tasks whose prompts begin with a description",
            fix="name another task with --context, or read the stimuli alone",
        )
    starts = [text + SEPARATORS["instruction"] for text in before]
    return [
        StimulusPrompt(one.id, start + one.text, len(start), len(start) + len(one.text), groups)
        for start in starts
        for one, groups in _each(sources, placebos)
    ]


def _each(
    sources: Mapping[str, Sequence[Stimulus]], placebos: Sequence[Stimulus]
) -> Iterator[tuple[Stimulus, tuple[str, ...]]]:
    for source, members in sources.items():
        for one in members:
            yield one, (source,)
    for one in placebos:
        yield one, (*sources, PLACEBO)
