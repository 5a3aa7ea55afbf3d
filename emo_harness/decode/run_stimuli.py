"""Run stimuli: the arms of a run as stimuli, inside the prompts that it asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emo_harness.decode.stimulus_prompts import PLACEBO, StimulusPrompt
from emo_harness.errors import UserError, nearest, quoted
from emo_harness.runs import Answer, ArmScores, RunArm, read_answers, united_arms
from emo_harness.runs.record import CONTROL
from emo_harness.runs.stimulus_span import stimulus_span
from emo_harness.stimuli import Stimulus, select
from emo_harness.stimuli.files import is_file

# Questions read back together: their answers are in memory too, and may be long.
AT_A_TIME = 100
Ints = NDArray[np.int64]


@dataclass
class RunStimuli:
    """What of a run is read.

    Attributes:
        members: a subtask's scores each, every prompt once.
        rows: of each member the questions.
        sources: by family, its arms as stimuli.
        placebos: neutral ones.
        n_questions: that were read, counted while `prompts` is consumed.
        left_out: why others were not, and how many.
    """

    members: tuple[ArmScores, ...]
    rows: tuple[Ints, ...]
    sources: dict[str, tuple[Stimulus, ...]]
    placebos: tuple[Stimulus, ...]
    n_questions: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def n_prompts(self) -> int:
        """At most so many are read."""
        chosen = self._chosen
        return sum(
            len(rows) * sum(arm.id in chosen for arm in member.arms)
            for member, rows in zip(self.members, self.rows, strict=True)
        )

    def prompts(self) -> Iterator[StimulusPrompt]:
        """Every chosen arm's prompts, the arms of one question together.

        A question is read under all chosen arms that it was asked under, or not at all: else a
        contrast would be one of questions. It is left out where an arm's prompt was cut, or does
        not have the arm's text.

        Raises:
            UserError: no question is left.
        """
        self.n_questions = 0
        self.left_out = {}
        for member, rows in zip(self.members, self.rows, strict=True):
            arms = self._arms(member, len(rows))
            for first in range(0, len(rows), AT_A_TIME):
                some = rows[first : first + AT_A_TIME].tolist()
                answers = read_answers(member.lines[row] for row in some)
                for row, answer in zip(some, answers, strict=True):
                    yield from self._of_question(member, row, answer, arms)
        if not self.n_questions:
            raise UserError(
                "reading stimuli in the run's prompts",
                found="; ".join(f"{n} {why}" for why, n in self.left_out.items())
                or "no question under these arms",
                expected="prompts that have their arm's text",
                fix="name the arms that have with SETS, or read the stimuli alone: emo decode "
                "SETS --model MODEL",
            )

    @property
    def _chosen(self) -> set[str]:
        members = [one for own in self.sources.values() for one in own]
        return {one.id for one in (*members, *self.placebos)}

    def _arms(
        self, member: ArmScores, n_questions: int
    ) -> list[tuple[int, RunArm, tuple[str, ...]]]:
        """Column, arm and groups of a member's chosen arms.

        A family is read where all of it was asked, and all placebos: else its mean would tell
        questions apart as well as sentences.
        """
        column_of = {arm.id: column for column, arm in enumerate(member.arms)}
        placebos = [one.id for one in self.placebos]
        here = []
        for family, members in self.sources.items():
            asked = [one.id in column_of for one in members]
            if all(asked) and all(name in column_of for name in placebos):
                here.append(family)
            elif any(asked):
                self._without(f"questions that were not asked under all of {family}", n_questions)
        found = [
            (column_of[one.id], member.arms[column_of[one.id]], (family,))
            for family in here
            for one in self.sources[family]
        ]
        beside = [(column_of[n], member.arms[column_of[n]], (*here, PLACEBO)) for n in placebos]
        return sorted([*found, *beside], key=lambda one: one[0]) if here else []

    def _of_question(
        self,
        member: ArmScores,
        row: int,
        answer: Answer,
        arms: Sequence[tuple[int, RunArm, tuple[str, ...]]],
    ) -> list[StimulusPrompt]:
        found = []
        for column, arm, groups in arms:
            prompt = answer.prompts.get(arm.id)
            if prompt is None:
                return self._without("questions that were not asked under every arm")
            control = answer.prompts.get(CONTROL, "")
            span = stimulus_span(prompt, control, arm.text.strip(), member.placement)
            if span is None:
                return self._without(f"questions with the text of {arm.id} nowhere in its prompt")
            if member.truncated is not None and member.truncated[row, column]:
                return self._without("questions with a prompt that the run cut")
            found.append(StimulusPrompt(arm.id, prompt, *span, groups))
        self.n_questions += bool(found)
        return found

    def _without(self, why: str, n: int = 1) -> list[StimulusPrompt]:
        self.left_out[why] = self.left_out.get(why, 0) + n
        return []


def run_stimuli(
    scores: Sequence[ArmScores],
    rows: Sequence[Ints],
    sets: Sequence[str] = (),
    placebos: Sequence[str] = (),
) -> RunStimuli:
    """Choose what of a run is read.

    Args:
        scores: a run's, of one model; those under several metrics and filters count once.
        rows: of each the questions.
        sets: families of the run, ids of its arms, or files whose ids are arms; all emotional
            families by default.
        placebos: the same of placebos; the run's neutral ones by default.

    Raises:
        UserError: something that the run has not, no emotional arm, or a placebo that is not
            neutral.
    """
    kept = [i for i, one in enumerate(scores) if one.primary]
    members = tuple(scores[i] for i in kept)
    arms = united_arms(members) if members else ()
    emotional = [arm for arm in arms if arm.kind == "stimulus"]
    chosen = _named(sets, emotional, "stimulus", "stimuli") if sets else emotional
    if not chosen:
        raise UserError(
            "choosing the stimuli of a run",
            found=f"the arms {quoted(arm.id for arm in arms)}" if arms else "no arm",
            expected="an arm with an emotional stimulus",
            fix="run a task of a family, e.g. emo_calibration_attack",
        )
    neutral = [arm for arm in arms if arm.placebo == "neutral"]
    beside = (
        _named(placebos, neutral, "neutral placebo", "neutral placebos") if placebos else neutral
    )
    sources: dict[str, tuple[Stimulus, ...]] = {}
    for arm in chosen:
        sources[arm.family] = (*sources.get(arm.family, ()), _stimulus(arm))
    return RunStimuli(members, tuple(rows[i] for i in kept), sources, tuple(map(_stimulus, beside)))


def _named(names: Sequence[str], known: Sequence[RunArm], what: str, whats: str) -> list[RunArm]:
    """The run's arms that were named, in the run's order."""
    wanted: set[str] = set()
    for name in names:
        of_name = {arm.id for arm in known if name in (arm.family, arm.id)}
        if not of_name and is_file(name):
            ids = {one.id for one in select(name)}
            of_name = {arm.id for arm in known if arm.id in ids}
        if not of_name:
            listed = dict.fromkeys([*(a.family for a in known), *(a.id for a in known)])
            raise UserError(
                f"choosing {whats} of a run",
                found=f"{name[:60]!r}{nearest(name, listed)}",
                expected=f"a family or arm that the run asked: {quoted(listed, 20)}"
                if listed
                else f"a run that asked a {what}",
                fix=f"name these, or run a task with this {what}",
            )
        wanted |= of_name
    return [arm for arm in known if arm.id in wanted]


def _stimulus(arm: RunArm) -> Stimulus:
    return Stimulus.model_construct(id=arm.id, text=arm.text, family=arm.family)
