"""Groups: the subtasks of one benchmark that one model was asked alike, on top of each other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.prompt_tokens import PromptLimit, PromptTokens
from emo_harness.report.board_key import BoardKey
from emo_harness.runs import ArmScores, RunArm, occurrences, united_arms

ALL_SUBTASKS = "(all)"
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """Scores of equal model, settings, placement, metric and filter.

    Attributes:
        members: one per subtask, in the run's order, all with the same arms; what a subtask was
            not asked under is NaN.
        label: the model's name, with the settings that tell it apart from others of that name.
    """

    members: tuple[ArmScores, ...]
    label: str

    @property
    def head(self) -> ArmScores:
        return self.members[0]

    @property
    def board(self) -> BoardKey:
        return BoardKey.of(self.head)

    @property
    def arms(self) -> tuple[RunArm, ...]:
        return self.head.arms

    @property
    def limited(self) -> bool:
        return any(member.limited for member in self.members)

    @property
    def subtask(self) -> str:
        return ALL_SUBTASKS if len(self.members) > 1 else self.head.subtask

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(n_subtasks,) questions of each subtask."""
        return np.array([len(member.questions) for member in self.members])

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(n_subtasks,) where each subtask's questions begin."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    @cached_property
    def strata(self) -> NDArray[np.int64]:
        """(n,) number of each question's subtask."""
        return np.repeat(np.arange(len(self.members)), self.sizes)

    @cached_property
    def row_of(self) -> dict[tuple[str, str, int], int]:
        """Row by (subtask, question's hash, how often it came before): what pairs two groups."""
        keys = [
            (member.subtask, *key)
            for member in self.members
            for key in occurrences(member.questions)
        ]
        return {key: row for row, key in enumerate(keys)}

    @cached_property
    def scores(self) -> Floats:
        """(n, arms), NaN where there is none."""
        return np.concatenate([member.scores for member in self.members])

    @cached_property
    def unparsed(self) -> Flags:
        return np.concatenate([member.unparsed for member in self.members])

    @cached_property
    def refused(self) -> Flags:
        return np.concatenate([member.refused for member in self.members])

    @cached_property
    def answer_chars(self) -> Floats:
        return np.concatenate([member.answer_chars for member in self.members])

    @cached_property
    def truncated(self) -> Flags | None:
        parts = [member.truncated for member in self.members if member.truncated is not None]
        return np.concatenate(parts) if len(parts) == len(self.members) else None

    @cached_property
    def within_variance(self) -> Floats | None:
        """(n, arms) variance of the score over repeats of one question."""
        known = [m.within_variance for m in self.members if m.within_variance is not None]
        return np.concatenate(known) if len(known) == len(self.members) else None

    @cached_property
    def neutral(self) -> tuple[int, ...]:
        """Columns of the neutral placebos."""
        return tuple(i for i, arm in enumerate(self.arms) if arm.placebo == "neutral")

    @cached_property
    def self_check(self) -> int | None:
        """Column of the self-check."""
        found = [i for i, arm in enumerate(self.arms) if arm.placebo == "self-check"]
        return found[0] if found else None

    @cached_property
    def families(self) -> dict[str, tuple[int, ...]]:
        """Columns of each family's stimuli."""
        found: dict[str, list[int]] = {}
        for i, arm in enumerate(self.arms):
            if arm.kind == "stimulus":
                found.setdefault(arm.family, []).append(i)
        return {family: tuple(columns) for family, columns in found.items()}

    @cached_property
    def lengths(self) -> Lengths:
        return Lengths(self.head.limit, self.arms)

    def own_controls(self, members: Sequence[int], kind: str) -> dict[int, int]:
        """Columns of those `members` whose image has a control of this kind, to that control's.

        None of an image beside a sentence: its controls show no sentence.
        """
        controls: dict[str, int] = {}
        for j, arm in enumerate(self.arms):
            if arm.placebo == kind and arm.image is not None and arm.image.control_of:
                controls.setdefault(arm.image.control_of, j)
        alone = {
            i: image.id
            for i in members
            if (image := self.arms[i].image) and image.control_of is None and not self.arms[i].text
        }
        return {i: controls[own] for i, own in alone.items() if own in controls}

    def beside_neutral(self, members: Sequence[int]) -> tuple[list[int], list[int]]:
        """Columns to average, and the columns of the neutral placebos that they are held against.

        Of images those with a neutral twin, and these twins; of sentences all, and the neutral
        sentences. Both empty where there are none.
        """
        if any(self.arms[i].image is not None for i in members):
            own = self.own_controls(members, "neutral")
            return list(own), list(own.values())
        said = [j for j in self.neutral if self.arms[j].image is None]
        return (list(members), said) if said else ([], [])

    @cached_property
    def nearest_neutral(self) -> tuple[int | None, ...]:
        """For each arm the column of the neutral placebo that is nearest to it.

        Of an image its own twin; of a sentence the one nearest in length, the shorter of two.
        """
        length = self.lengths
        ids = [arm.id for arm in self.arms]

        def nearest(i: int) -> int | None:
            return min(
                self.beside_neutral([i])[1],
                key=lambda j: (abs(length[ids[j]] - length[ids[i]]), length[ids[j]]),
                default=None,
            )

        return tuple(
            nearest(i) if arm.kind == "stimulus" else None for i, arm in enumerate(self.arms)
        )


class Lengths:
    """Lengths of the arms' sentences in tokens of the run's tokenizer, else in words."""

    def __init__(self, limit: PromptLimit | None, arms: Sequence[RunArm]) -> None:
        tokens = PromptTokens.for_limit(limit)
        self.unit = "tokens" if tokens else "words"
        self._of = {
            arm.id: tokens.count(arm.text, special=False) if tokens else len(arm.text.split())
            for arm in arms
        }

    def __getitem__(self, arm_id: str) -> int:
        return self._of[arm_id]


def paired_rows(first: Group, second: Group) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers, in either group, of the questions that both were asked."""
    known = second.row_of
    pairs = [(row, known[key]) for key, row in first.row_of.items() if key in known]
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def groups_of(scores: Iterable[ArmScores]) -> list[Group]:
    """Put together what is equal in model, settings, placement, metric and filter."""
    found: dict[tuple[object, ...], list[ArmScores]] = {}
    for one in scores:
        key = (*_condition(one), _settings(one), one.metric, one.filter)
        found.setdefault(key, []).append(one)
    settings: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for members in found.values():
        settings.setdefault(_condition(members[0]), []).append(members[0].settings)
    return [
        Group(_united(members), _label(members[0], settings[_condition(members[0])]))
        for members in found.values()
    ]


def _united(members: Sequence[ArmScores]) -> tuple[ArmScores, ...]:
    """The members with all their arms; what one was not asked under is unknown there."""
    arms = united_arms(members)
    if all(member.arms == arms for member in members):
        return tuple(members)
    return tuple(_with_arms(member, arms) for member in members)


def _with_arms(member: ArmScores, arms: tuple[RunArm, ...]) -> ArmScores:
    own = {arm.id: i for i, arm in enumerate(member.arms)}
    columns = [own.get(arm.id, -1) for arm in arms]
    absent = np.array(columns) < 0

    def placed(values: NDArray[Any] | None, unknown: float | bool) -> Any:
        if values is None:
            return None
        wider = values[:, columns].copy()
        wider[:, absent] = unknown
        return wider

    return replace(
        member,
        arms=arms,
        scores=placed(member.scores, np.nan),
        unparsed=placed(member.unparsed, False),
        refused=placed(member.refused, False),
        truncated=placed(member.truncated, False),
        answer_chars=placed(member.answer_chars, np.nan),
        prompt_chars=placed(member.prompt_chars, np.nan),
        within_variance=placed(member.within_variance, np.nan),
    )


def _condition(one: ArmScores) -> tuple[str, ...]:
    return (one.model, one.benchmark, one.mode, one.placement, one.family)


def _settings(one: ArmScores) -> str:
    return json.dumps(one.settings, sort_keys=True)


def _label(one: ArmScores, of_all: Sequence[dict[str, str]]) -> str:
    """The model's name and those of its settings in which runs of this name differ."""
    told = []
    differing = differing_settings(of_all)
    seeds = [name for name in differing if name.endswith("_seed")]
    if seeds and len({one.settings.get(name) for name in seeds}) == 1:
        told.append(f"seed={one.settings.get(seeds[0], 'default')}")
        differing = [name for name in differing if name not in seeds]
    told += [f"{name}={one.settings.get(name, 'default')}" for name in differing]
    return f"{one.model} [{', '.join(told)}]" if told else one.model


def differing_settings(of_all: Sequence[Mapping[str, str]]) -> list[str]:
    """Names of settings that are not equal everywhere."""
    names = dict.fromkeys(name for settings in of_all for name in settings)
    return [name for name in names if len({settings.get(name) for settings in of_all}) > 1]
