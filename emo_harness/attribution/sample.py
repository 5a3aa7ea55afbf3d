"""Sample: which questions of a run are attributed, and under which arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.run_model import sampled_questions, unsteered
from emo_harness.runs import Answer, ArmScores, RunArm, read_answers, united_arms
from emo_harness.runs.prompts import refuse_unknown

# Questions read back together.
AT_A_TIME = 100


@dataclass(frozen=True)
class AskedQuestion:
    """One question of one subtask, as it was asked.

    Attributes:
        member: the subtask's scores; `row` is the question's.
        answer: prompts and responses by arm.
    """

    member: ArmScores
    row: int
    answer: Answer

    @property
    def subtask(self) -> str:
        return self.member.subtask

    @property
    def doc_id(self) -> int:
        return int(self.member.doc_ids[self.row])

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What is the same wherever the question was asked."""
        return question_key(self.member, self.row)

    def score(self, arm_id: str) -> float:
        """1.0 is right; NaN where the arm was not asked."""
        return float(self.member.scores[self.row, self._column[arm_id]])

    def was_cut(self, arm_id: str) -> bool:
        """Whether the run is known to have cut this prompt, so that it was not asked as it is."""
        cut = self.member.truncated
        return cut is not None and bool(cut[self.row, self._column[arm_id]])

    @property
    def control(self) -> str:
        return self.member.arms[0].id

    def target(self, arm_id: str) -> str | None:
        """The right answer as a continuation of the arm's prompt; None where there is none.

        Where options were rated, the target's as it was. Where answers were generated, the target
        behind a space, as lm-eval continues a prompt; without one where the prompt ends in white
        space or a chat template has ended it.
        """
        answer = self.answer
        if answer.options:
            options = [option for option, _ in answer.options.get(arm_id, ())]
            number = target_number(options, answer.target)
            return None if number is None else options[number]
        if not answer.target.strip():
            return None
        prompt = answer.prompts[arm_id]
        joins = prompt[-1:].isspace() or answer.target[:1].isspace() or self._in_chat
        return answer.target if joins else f" {answer.target}"

    def logged(self, arm_id: str) -> float:
        """Logged log-probability of the target, nats; NaN where answers were generated."""
        options = self.answer.options.get(arm_id, ())
        number = target_number([option for option, _ in options], self.answer.target)
        return float("nan") if number is None else options[number][1]

    @property
    def _in_chat(self) -> bool:
        return bool(self.member.settings.get("chat_template"))

    @cached_property
    def _column(self) -> dict[str, int]:
        return {arm.id: column for column, arm in enumerate(self.member.arms)}


@dataclass(frozen=True, eq=False)
class SampledGroup:
    """Subtasks of one benchmark that one model was asked alike.

    Attributes:
        members: a subtask's scores each.
        rows: of each member the sampled questions, ascending.
        arms: stimuli and placebos that are attributed.
    """

    members: tuple[ArmScores, ...]
    rows: tuple[NDArray[np.int64], ...]
    arms: tuple[RunArm, ...]

    @property
    def head(self) -> ArmScores:
        return self.members[0]

    @property
    def n_questions(self) -> int:
        return sum(map(len, self.rows))

    @cached_property
    def n_prompts(self) -> int:
        """That were asked under these arms in the sampled questions."""
        n = 0
        for member, rows in zip(self.members, self.rows, strict=True):
            asked = ~np.isnan(member.scores[rows])
            columns = [i for i, arm in enumerate(member.arms) if arm in self.arms]
            n += int(asked[:, columns].sum())
        return n

    def questions(self) -> Iterator[AskedQuestion]:
        """The sampled ones, a few in memory at a time."""
        for member, rows in zip(self.members, self.rows, strict=True):
            yield from read_questions(member, rows.tolist())


def question_key(member: ArmScores, row: int) -> tuple[str, str, str, int]:
    """What is the same wherever a question was asked."""
    doc_id = int(member.doc_ids[row])
    return (member.benchmark, member.subtask, member.questions[row], doc_id)


def target_number(options: Sequence[str], target: str) -> int | None:
    """Which option is the target: the one that says it, else the one that it numbers."""
    wanted = target.strip()
    for number, option in enumerate(options):
        if option.strip() == wanted:
            return number
    is_number = wanted.isdigit() and int(wanted) < len(options)
    return int(wanted) if is_number else None


def sampled_groups(
    scores: Sequence[ArmScores],
    n_questions: int | None,
    seed: int,
    *,
    tasks: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
) -> list[SampledGroup]:
    """Draw questions, and put together what was asked alike.

    Scores under other metrics and filters than the benchmark is reported by are left out, and runs
    of a steered model, whose prompts would be read in a model that was not asked.

    Args:
        n_questions: in all, drawn evenly over subtasks; None for all there are.
        tasks: lm-eval's names of tasks, or of subtasks; all by default.
        arms: ids of stimuli and placebos; all by default.

    Raises:
        UserError: nothing is left, runs of a steered model alone, a task or arm that the run has
            not, or no stimulus and no placebo among the arms.
    """
    own = [one for one in unsteered(scores) if one.primary]
    if not own:
        raise UserError(
            "looking for prompts whose words can be attributed",
            found="no scores",
            expected="a run folder with samples",
            fix="run with --log_samples and --output_path",
        )
    refuse_unknown("task", tasks, {name for one in own for name in (one.task, one.subtask)})
    own = [one for one in own if tasks is None or {one.task, one.subtask} & set(tasks)]
    refuse_unknown("arm", arms, {arm.id for one in own for arm in one.arms if arm.text})
    grouped: dict[tuple[object, ...], list[int]] = {}
    for number, one in enumerate(own):
        settings = tuple(sorted(one.settings.items()))
        key = (one.model, settings, one.benchmark, one.mode, one.placement, one.family)
        grouped.setdefault(key, []).append(number)
    rows = sampled_questions(own, n_questions, seed)
    found = []
    for numbers in grouped.values():
        members = tuple(own[number] for number in numbers)
        wanted = tuple(
            arm for arm in united_arms(members) if arm.text and (arms is None or arm.id in arms)
        )
        if wanted:
            found.append(SampledGroup(members, tuple(rows[number] for number in numbers), wanted))
    if not found:
        raise UserError(
            "looking for stimuli whose words can be attributed",
            found="the control arm alone",
            expected="an arm with a sentence",
            fix="run a task of a family, e.g. emo_bbh_mini_attack",
        )
    return found


def read_questions(member: ArmScores, rows: Sequence[int]) -> Iterator[AskedQuestion]:
    """Questions of these rows, a few in memory at a time."""
    for first in range(0, len(rows), AT_A_TIME):
        some = rows[first : first + AT_A_TIME]
        answers = read_answers(member.lines[row] for row in some)
        for row, answer in zip(some, answers, strict=True):
            yield AskedQuestion(member, row, answer)
