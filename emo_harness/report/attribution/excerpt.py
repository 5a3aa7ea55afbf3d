"""Excerpts: which words of a long prompt are shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from emo_harness.report.attribution.methods import known
from emo_harness.report.attribution.numbers import AttributedSide, Piece

MOST_PIECES = 420
# Beside the stimulus and the prompt's end, what contributes most is shown, and what stands by it.
N_STRONGEST, AROUND = 4, 6
LEAST_GAP = 16


def excerpts(control: AttributedSide, arm: AttributedSide) -> tuple[list[slice], list[slice]]:
    """Stretches of both prompts to be shown, around the stimulus or where it would stand."""
    alike = itertools.takewhile(
        lambda pair: pair[0].text == pair[1].text, zip(control.pieces, arm.pieces, strict=False)
    )
    place = sum(1 for _ in alike)
    return _shown(control.pieces, place), _shown(arm.pieces, place)


def _shown(pieces: Sequence[Piece], place: int) -> list[slice]:
    """At most about `MOST_PIECES` of the pieces, as stretches in order.

    Args:
        place: what is shown around where there is no stimulus.
    """
    n = len(pieces)
    if n <= MOST_PIECES + LEAST_GAP:
        return [slice(0, n)]
    order = np.argsort(_distances(pieces, place), kind="stable")
    kept = np.zeros(n, bool)
    kept[order[:MOST_PIECES]] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kept, [0]]))).reshape(-1, 2)
    stretches = [slice(int(start), int(stop)) for start, stop in edges]
    return list(_joined(stretches))


def _distances(pieces: Sequence[Piece], place: int) -> NDArray[np.float64]:
    """(n,) how far a piece is from what must be shown; below zero it is one of these itself."""
    at = np.arange(len(pieces), dtype=np.float64)
    stimulus = np.array(
        [i for i, piece in enumerate(pieces) if piece.role == "stimulus"] or [place]
    )
    nearest = np.abs(at[:, None] - stimulus).min(axis=1)
    far = np.minimum(nearest, (len(pieces) - 1 - at) * 1.5)
    far = np.minimum(far, at * 6)
    # A stimulus longer than the excerpt shows its two ends.
    within = nearest == 0
    far[within] = np.minimum(at[within] - stimulus[0], stimulus[-1] - at[within]) / len(pieces) - 1
    for number in _strongest(pieces):
        far[max(number - AROUND, 0) : number + AROUND + 1] = -2
    return far


def _strongest(pieces: Sequence[Piece]) -> set[int]:
    found: set[int] = set()
    for method in {name for piece in pieces for name in piece.scores}:
        sizes = [(abs(known(piece.scores.get(method))), i) for i, piece in enumerate(pieces)]
        there = sorted((pair for pair in sizes if pair[0] > 0), reverse=True)
        found |= {i for _, i in there[:N_STRONGEST]}
    return found


def _joined(stretches: Sequence[slice]) -> Iterator[slice]:
    """Stretches with hardly anything between them as one."""
    current = stretches[0]
    for stretch in stretches[1:]:
        if stretch.start - current.stop < LEAST_GAP:
            current = slice(current.start, stretch.stop)
        else:
            yield current
            current = stretch
    yield current
