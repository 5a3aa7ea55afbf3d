"""Shift: where every arm's prompt lies along an axis, and whether moving it moves the score.

The join of the two halves of the package: prompts and scores come from a run folder, coordinates
from reading the same prompts inside a model. What a stimulus shifts is its prompt's coordinate
minus that of the control prompt of the same question, so whatever the question itself brings is
gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emo_harness.axes import Axis
from emo_harness.effects import LEVEL, paired_gain
from emo_harness.effects.association import (
    Association,
    between_stimuli,
    correlations,
    within_stimuli,
)
from emo_harness.effects.intervals import t_quantile
from emo_harness.errors import UserError
from emo_harness.run_model import unsteered
from emo_harness.runs import ArmScores, RunArm, read_answers, united_arms

SCHEMA = 1
Floats = NDArray[np.float64]
# Prompts to their coordinates: (n,) texts to (n, n_columns), in the order given.
Reader = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True)
class AskedGroup:
    """Subtasks of one benchmark that one model was asked alike, under the same family."""

    members: tuple[ArmScores, ...]

    @property
    def head(self) -> ArmScores:
        return self.members[0]

    @cached_property
    def arms(self) -> tuple[RunArm, ...]:
        """Control first."""
        return united_arms(self.members)

    @cached_property
    def strata(self) -> NDArray[np.int64]:
        """(n,) number of each question's subtask."""
        sizes = [len(member.questions) for member in self.members]
        return np.repeat(np.arange(len(sizes)), sizes)

    @cached_property
    def scores(self) -> Floats:
        """(n, n_arms), NaN where an arm was not asked."""
        return self._by_arm([member.scores for member in self.members])

    @cached_property
    def was_cut(self) -> NDArray[np.bool_]:
        """(n, n_arms), whether the run is known to have cut a prompt's beginning."""
        cut = [member.truncated for member in self.members]
        sizes = [member.scores.shape for member in self.members]
        known = [np.zeros(n) if one is None else one for one, n in zip(cut, sizes, strict=True)]
        return self._by_arm(known) == 1

    def _by_arm(self, of_members: Sequence[NDArray[Any]]) -> Floats:
        parts = []
        for member, values in zip(self.members, of_members, strict=True):
            place = {arm.id: column for column, arm in enumerate(member.arms)}
            part = np.full((len(member.questions), len(self.arms)), np.nan)
            for column, arm in enumerate(self.arms):
                if arm.id in place:
                    part[:, column] = values[:, place[arm.id]]
            parts.append(part)
        return np.concatenate(parts)


def asked_groups(scores: Sequence[ArmScores]) -> list[AskedGroup]:
    """Put together what was asked alike, under the metric that the benchmark is reported by.

    Runs of a steered model are left out: their prompts would be read in a model that was not asked.

    Raises:
        UserError: there is no score, or none of a model that was not steered.
    """
    groups: dict[tuple[object, ...], list[ArmScores]] = {}
    for one in unsteered(scores):
        if one.primary:
            settings = tuple(sorted(one.settings.items()))
            key = (one.model, settings, one.benchmark, one.mode, one.placement, one.family)
            groups.setdefault(key, []).append(one)
    if not groups:
        raise UserError(
            "looking for scores to set beside shifts",
            found="none under the metric that a benchmark is reported by",
            expected="a run folder with samples",
            fix="run with --log_samples and --output_path",
        )
    return [AskedGroup(tuple(members)) for members in groups.values()]


def coordinates(group: AskedGroup, read: Reader, n_columns: int, n_questions: int = 200) -> Floats:
    """Where the prompts of all arms lie.

    Args:
        read: equal prompts are handed to it once.
        n_columns: axes and random directions that it reads.
        n_questions: how many questions' prompts are handed over at a time: prompts of one question
            share their beginnings.

    Returns:
        (n, n_arms, n_columns) float64; NaN where an arm was not asked, or its prompt is not what
        the model saw, since it did not fit.
    """
    found = np.full((*group.scores.shape, n_columns), np.nan)
    for first, prompts in _prompts(group, n_questions):
        texts = list(dict.fromkeys(text for _, _, text in prompts))
        place = {text: number for number, text in enumerate(texts)}
        read_at = read(texts)
        for row, column, text in prompts:
            found[first + row, column] = read_at[place[text]]
    return found


def shift_table(group: AskedGroup, found: Floats, axes: Sequence[Axis]) -> pd.DataFrame:
    """One row per question and arm: coordinate and shift on every axis, score and gain."""
    n, n_arms = group.scores.shape
    member_of = [(member, row) for member in group.members for row in range(len(member.questions))]
    gain = group.scores - group.scores[:, :1]
    columns: dict[str, Any] = {
        "model": group.head.model,
        "benchmark": group.head.benchmark,
        "mode": group.head.mode,
        "placement": group.head.placement,
        "subtask": np.repeat([member.subtask for member, _ in member_of], n_arms),
        "question": np.repeat([member.questions[row] for member, row in member_of], n_arms),
        "doc_id": np.repeat([int(member.doc_ids[row]) for member, row in member_of], n_arms),
        "arm": np.tile([arm.id for arm in group.arms], n),
        "family": np.tile([arm.family for arm in group.arms], n),
        "score": group.scores.ravel(),
        "gain_pp": 100 * gain.ravel(),
    }
    for number, axis in enumerate(axes):
        columns[axis.name] = found[:, :, number].ravel()
        columns[f"{axis.name}_shift"] = (found[:, :, number] - found[:, :1, number]).ravel()
    table = pd.DataFrame(columns)
    return table[table[[axis.name for axis in axes]].notna().any(axis=1)].reset_index(drop=True)


def group_summary(
    group: AskedGroup, found: Floats, axes: Sequence[Axis], rng: np.random.Generator
) -> dict[str, Any]:
    """What the report shows of one group: every stimulus, and the two associations, by axis.

    Args:
        found: (n, n_arms, n_axes + n_random) coordinates; behind those of the axes, of random
            directions, which tell what any direction would show.
    """
    gain = group.scores[:, 1:] - group.scores[:, :1]
    shift = found[:, 1:] - found[:, :1]
    at_random = correlations(shift[:, :, len(axes) :], gain, group.strata)
    return {
        "model": group.head.model,
        "benchmark": group.head.benchmark,
        "mode": group.head.mode,
        "placement": group.head.placement,
        "asked": group.head.family,
        "n_questions": len(group.scores),
        "n_cut": int((np.isnan(found[:, :, 0]) & ~np.isnan(group.scores)).sum()),
        "axes": [
            {
                "axis": axis.name,
                "stimuli": [
                    _stimulus(group, arm, column, found[:, :, number])
                    for column, arm in enumerate(group.arms)
                    if column
                ],
                "between": _as_json(
                    between_stimuli(shift[:, :, number], gain, rng, group.strata), at_random[0]
                ),
                "within": _as_json(
                    within_stimuli(shift[:, :, number], gain, group.strata), at_random[1]
                ),
            }
            for number, axis in enumerate(axes)
        ],
    }


def _prompts(
    group: AskedGroup, n_questions: int
) -> Iterator[tuple[int, list[tuple[int, int, str]]]]:
    """First row, and (row from there, column, text) of some questions' prompts."""
    column_of = {arm.id: column for column, arm in enumerate(group.arms)}
    lines = [line for member in group.members for line in member.lines]
    for first in range(0, len(lines), n_questions):
        answers = read_answers(lines[first : first + n_questions])
        yield (
            first,
            [
                (row, column_of[arm], text)
                for row, answer in enumerate(answers)
                for arm, text in answer.prompts.items()
                if arm in column_of and not group.was_cut[first + row, column_of[arm]]
            ],
        )


def _stimulus(group: AskedGroup, arm: RunArm, column: int, found: Floats) -> dict[str, Any]:
    shift = found[:, column] - found[:, 0]
    gain = paired_gain(group.scores[:, column], group.scores[:, 0], group.strata)
    shift = shift[~np.isnan(shift)]
    mean = float(shift.mean()) if len(shift) else math.nan
    half = math.nan
    if len(shift) > 1:
        half = float(t_quantile(LEVEL, len(shift) - 1) * shift.std(ddof=1) / len(shift) ** 0.5)
    return {
        "id": arm.id,
        "family": arm.family,
        "n": gain.n,
        "shift": [_known(v) for v in (mean, mean - half, mean + half)],
        "gain_pp": [_known(v) for v in (gain.mean_pp, gain.low_pp, gain.high_pp)],
    }


def _as_json(found: Association, at_random: Floats) -> dict[str, Any]:
    """The association, and how many random directions have one at least as close."""
    known = at_random[~np.isnan(at_random)]
    as_close = int((np.abs(known) >= abs(found.correlation)).sum())
    share = (as_close + 1) / (len(known) + 1)
    told = {
        name: _known(value) if isinstance(value, float) else value
        for name, value in asdict(found).items()
    }
    is_told = len(known) > 0 and not math.isnan(found.correlation)
    return told | {"n_random": len(known), "p_random": share if is_told else None}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
