"""Where in an arm's prompt its stimulus stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from emo_harness.placement import SEPARATORS, Placement

Span = tuple[int, int]


def stimulus_span(prompt: str, control: str, text: str, placement: str) -> Span | None:
    """First character of the stimulus in an arm's prompt, and the one after its last.

    A question may hold the sentence too, so that it occurs several times. Then those occurrences
    count without which, and without their separator, the prompt is the control prompt; where there
    is none (a chat template that adds a system message for it), those that lie most within what
    the prompt has more than control. What is left is told apart by the placement: a prefix comes
    before everything that says the same, any other stimulus after it.

    Returns:
        None where the prompt does not have the text.
    """
    wanted = text if text in prompt else text.strip()
    starts = list(_occurrences(prompt, wanted)) if wanted else []
    if len(starts) > 1:
        separator = SEPARATORS.get(cast(Placement, placement), "\n")
        exact = [
            start
            for start in starts
            if _is_added(prompt, control, start, start + len(wanted), separator)
        ]
        starts = exact or _most_within(prompt, control, starts, len(wanted))
    if not starts:
        return None
    start = starts[0] if placement == "prefix" else starts[-1]
    return start, start + len(wanted)


def _occurrences(prompt: str, text: str) -> Iterator[int]:
    start = prompt.find(text)
    while start >= 0:
        yield start
        start = prompt.find(text, start + 1)


def _is_added(prompt: str, control: str, first: int, after: int, separator: str) -> bool:
    """Whether the prompt without these characters, and a separator beside them, is control."""
    ends = [(first, after), (first - len(separator), after), (first, after + len(separator))]
    n_added = len(prompt) - len(control)
    return any(
        start >= 0 and end - start == n_added and prompt[:start] + prompt[end:] == control
        for start, end in ends
    )


def _most_within(prompt: str, control: str, starts: list[int], n_chars: int) -> list[int]:
    """The occurrences that lie most within what the prompt has and control has not."""
    first = _n_alike(prompt, control)
    room = min(len(prompt), len(control)) - first
    n_alike = _n_alike(prompt[::-1], control[::-1])
    after = len(prompt) - min(n_alike, room)
    inside = [min(start + n_chars, after) - max(start, first) for start in starts]
    return [start for start, n in zip(starts, inside, strict=True) if n == max(inside)]


def _n_alike(one: str, other: str) -> int:
    """How many characters two texts share from their beginning on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
