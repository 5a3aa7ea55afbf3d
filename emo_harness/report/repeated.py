"""Repeated: the same answers in a report twice, which a reader would take for two findings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from emo_harness.errors import quoted
from emo_harness.report.groups import Group


def repeated_remarks(groups: Iterable[Group]) -> list[str]:
    """One sentence for each two groups of one model that hold the same answers."""
    primary = [group for group in groups if group.head.primary]
    pairs = (
        (one, other)
        for one, other in itertools.combinations(primary, 2)
        if one.head.model == other.head.model
        and (one.board.benchmark, one.board.mode) == (other.board.benchmark, other.board.mode)
    )
    return [sentence for one, other in pairs for sentence in _remark(one, other)]


def _remark(one: Group, other: Group) -> Iterator[str]:
    if one.board.placement != other.board.placement:
        return
    ids = {arm.id for arm in one.arms if arm.kind == "stimulus"}
    shared = [a.id for a in other.arms if a.kind == "stimulus" and a.id in ids]
    if one.label == other.label and shared:
        yield (
            f"{one.label} was asked {quoted(shared, 4)} in {one.board.benchmark} as "
            f"{one.board.asked} and as {other.board.asked}: two boards and two claims show the "
            "same stimuli."
        )
    elif one.board == other.board and _equal(one, other):
        yield (
            f"{one.label} and {other.label} gave the same answers to {one.board.benchmark} "
            f"{one.board.mode} {one.board.asked} throughout: they are one experiment, not two."
        )


def _equal(one: Group, other: Group) -> bool:
    return (
        [arm.id for arm in one.arms] == [arm.id for arm in other.arms]
        and one.row_of == other.row_of
        and np.array_equal(one.scores, other.scores, equal_nan=True)
    )
