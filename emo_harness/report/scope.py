"""Scopes: a group's questions, all together or one subtask's, and what is compared on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emo_harness.effects import (
    UNKNOWN,
    Gain,
    Gains,
    gains_of_counts,
    mde_pp,
    paired_gain,
    parsed_gain,
    parsing_flag,
)
from emo_harness.report.groups import Floats, Group

Sums = list[list[float]]
Column = Literal["unparsed", "truncated", "refused", "answer_chars"]


@dataclass(frozen=True)
class Comparison:
    """An arm, or the mean of several, against what it is held against.

    Attributes:
        control_pct: control accuracy on the same questions.
        gain: against control.
        placebo: against the nearest neutral placebo (of an image its own twin, of a sentence the
            one nearest in length), or the mean of the neutral ones (of images those that have a
            twin against their twins); `placebo_id` says which.
        self_check: against the self-check.
        parsed: against control on answers parsed under both.
    """

    control_pct: float
    gain: Gain
    placebo: Gain
    placebo_id: str
    self_check: Gain
    parsed: Gain

    @property
    def parsing_flag(self) -> str:
        return parsing_flag(self.gain, self.parsed) if self.parsed is not UNKNOWN else ""

    @property
    def mde_pp(self) -> float:
        return mde_pp(self.gain)


def scopes_of(group: Group) -> Iterator[Scope]:
    """All questions together, then, if there are several subtasks, each subtask."""
    singles = _SingleArms(group)
    yield Scope(group, None, singles)
    if len(group.members) > 1:
        for number in range(len(group.members)):
            yield Scope(group, number, singles)


class Scope:
    """The questions of a group, or of its subtask `number`."""

    def __init__(self, group: Group, number: int | None, singles: _SingleArms) -> None:
        self.group = group
        self._number = number
        self._singles = singles
        start = 0 if number is None else int(group.starts[number])
        size = int(group.sizes.sum() if number is None else group.sizes[number])
        self._rows = slice(start, start + size)
        self.n_questions = size
        self.subtask = group.subtask if number is None else group.members[number].subtask
        self.n_subtasks = len(group.members) if number is None else 1

    @property
    def is_binary(self) -> bool:
        """Whether every score of the group is right or wrong."""
        return self._singles.is_binary

    def single(self, i: int) -> Comparison:
        """One arm's comparisons."""
        return self._singles.comparison(i, self._number)

    def mean_of(self, members: Sequence[int]) -> Comparison:
        """The mean of several arms' comparisons."""
        group, columns = self.group, list(members)
        scores, strata = group.scores[self._rows], group.strata[self._rows]
        arms, control = scores[:, columns], scores[:, 0]
        held, neutral = group.beside_neutral(members)
        gain = paired_gain(arms, control, strata)
        parsed = gain if group.head.primary else UNKNOWN
        unparsed = group.unparsed[self._rows]
        if group.head.primary and unparsed[:, [0, *columns]].any():
            parsed = parsed_gain(arms, control, unparsed[:, columns], unparsed[:, 0], strata)
        check = group.self_check if group.head.primary else None
        complete = ~np.isnan(scores[:, [0, *columns]]).any(axis=1)
        return Comparison(
            control_pct=100 * float(control[complete].mean()) if complete.any() else float("nan"),
            gain=gain,
            placebo=paired_gain(scores[:, held], scores[:, neutral], strata)
            if neutral
            else UNKNOWN,
            placebo_id="(mean)" if neutral else "",
            self_check=UNKNOWN if check is None else paired_gain(arms, scores[:, check], strata),
            parsed=parsed,
        )

    def share_pct(self, column: Column, members: Sequence[int]) -> float:
        return 100 * self.mean(column, members)

    def mean(self, column: Column, members: Sequence[int]) -> float:
        """Mean over the scope's questions and the members' arms; NaN where unknown."""
        return self._singles.mean(column, members, self._number)


class _SingleArms:
    """Every single arm's comparisons, subtask by subtask and together, made all at once."""

    def __init__(self, group: Group) -> None:
        self._group = group
        scores = group.scores
        n_arms = scores.shape[1]
        known = scores[~np.isnan(scores)]
        self.is_binary = bool(np.isin(known, (0, 1)).all())
        self._nearest = [0 if j is None else j for j in group.nearest_neutral]
        check = group.self_check
        self._bases = {
            "gain": [0] * n_arms,
            "placebo": self._nearest,
            "self_check": [0 if check is None else check] * n_arms,
        }
        self._made: dict[str, tuple[Gains, Gains]] = {}
        if self.is_binary:
            for name, base in self._bases.items():
                self._made[name] = self._gains(scores, scores[:, base])
            if group.head.primary and group.unparsed.any():
                unparsed = group.unparsed | group.unparsed[:, [0]]
                self._made["parsed"] = self._gains(
                    np.where(unparsed, np.nan, scores), scores[:, [0] * n_arms]
                )
            elif group.head.primary:
                self._made["parsed"] = self._made["gain"]
        valid = ~(np.isnan(scores) | np.isnan(scores[:, [0]]))
        control = np.where(valid, scores[:, [0]], 0.0)
        self._control_right = np.add.reduceat(control, group.starts, axis=0)
        self._control_asked = np.add.reduceat(valid, group.starts, axis=0, dtype=np.float64)
        self._means: dict[str, tuple[Sums, Sums]] = {}

    def comparison(self, i: int, number: int | None) -> Comparison:
        group = self._group
        placebo = group.nearest_neutral[i]
        has_check = group.self_check is not None and group.self_check != i
        return Comparison(
            control_pct=self._control_pct(i, number),
            gain=self._gain("gain", i, number),
            placebo=UNKNOWN if placebo is None else self._gain("placebo", i, number),
            placebo_id="" if placebo is None else group.arms[placebo].id,
            self_check=self._gain("self_check", i, number)
            if has_check and group.arms[i].kind == "stimulus"
            else UNKNOWN,
            parsed=self._gain("parsed", i, number) if group.head.primary else UNKNOWN,
        )

    def mean(self, column: Column, members: Sequence[int], number: int | None) -> float:
        if column not in self._means:
            values = getattr(self._group, column)
            if values is None:
                return float("nan")
            cells = np.asarray(values, dtype=np.float64)
            counted = ~np.isnan(cells) & ~np.isnan(self._group.scores)
            self._means[column] = (
                self._sums(np.where(counted, cells, 0.0)),
                self._sums(counted.astype(np.float64)),
            )
        row = -1 if number is None else number
        totals, counts = self._means[column]
        total = sum(totals[row][i] for i in members)
        count = sum(counts[row][i] for i in members)
        return total / count if count else float("nan")

    def _control_pct(self, i: int, number: int | None) -> float:
        """Control accuracy on the questions scored under arm i."""
        rows = slice(None) if number is None else number
        asked = float(self._control_asked[rows, i].sum())
        return 100 * float(self._control_right[rows, i].sum()) / asked if asked else float("nan")

    def _gain(self, name: str, i: int, number: int | None) -> Gain:
        if name in self._made:
            whole, by_subtask = self._made[name]
            return whole[i] if number is None else by_subtask[number, i]
        group = self._group
        rows = slice(None)
        if number is not None:
            rows = slice(int(group.starts[number]), int(group.starts[number] + group.sizes[number]))
        scores, strata = group.scores[rows], group.strata[rows]
        if name == "parsed":
            unparsed = group.unparsed[rows]
            return parsed_gain(
                scores[:, [i]], scores[:, 0], unparsed[:, [i]], unparsed[:, 0], strata
            )
        return paired_gain(scores[:, i], scores[:, self._bases[name][i]], strata)

    def _gains(self, arms: Floats, bases: Floats) -> tuple[Gains, Gains]:
        """All subtasks together, (arms,), and one by one, (subtasks, arms)."""
        valid = ~(np.isnan(arms) | np.isnan(bases))
        starts = self._group.starts
        n, gained, lost = (
            np.add.reduceat(flags & valid, starts, axis=0, dtype=np.float64)
            for flags in (valid, arms > bases, arms < bases)
        )
        flat = gains_of_counts(n.reshape(1, -1), gained.reshape(1, -1), lost.reshape(1, -1))
        return gains_of_counts(n, gained, lost), flat.reshaped(n.shape)

    def _sums(self, cells: Floats) -> Sums:
        """(subtasks + 1, arms): sums over each subtask's questions, the last row over all."""
        by_subtask = np.add.reduceat(cells, self._group.starts, axis=0)
        listed: Sums = np.vstack([by_subtask, by_subtask.sum(axis=0)]).tolist()
        return listed
