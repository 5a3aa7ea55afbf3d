"""Attribute: over a run's questions, which words move the answer, and how far to believe it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.attribution.aggregate import AttributedPrompt, GroupTally
from emo_harness.attribution.flips import Flip, strongest_flips
from emo_harness.attribution.method_tally import MethodTally
from emo_harness.attribution.methods import INTEGRATED, Method, rank_agreement
from emo_harness.attribution.piece_table import PieceTable
from emo_harness.attribution.randomised import with_random_weights
from emo_harness.attribution.result import SCHEMA, group_head, shown_pair
from emo_harness.attribution.sample import AskedQuestion, SampledGroup
from emo_harness.attribution.word_scores import Asked, BaselineKind, WordScorer
from emo_harness.errors import UserError
from emo_harness.run_model import RunModel
from emo_harness.runs import RunArm

Advance = Callable[[int], object]
Floats = NDArray[np.float64]
# A question, the arm beside control, and why it is shown.
Shown = tuple[AskedQuestion, RunArm, str]
# Of a run without flips, so many sampled prompts are shown.
N_CHOSEN = 3
# As long as an integral takes, so many prompts are attributed by all other methods.
WORK_OF_INTEGRAL = 20


@dataclass(frozen=True)
class Plan:
    """What is asked of a run.

    Attributes:
        methods: in their order.
        baseline: see `WordScorer`.
        n_integrated: for so many arms of each family, drawn for every question, gradients are
            integrated; 0 for all arms. Every integral takes hundreds of passes.
        n_flips: how many of the strongest flips are shown.
        n_randomised: prompts that are attributed in a model with random weights too.
        seed: of what is drawn.
    """

    methods: tuple[Method, ...]
    baseline: BaselineKind = "mean"
    n_integrated: int = 1
    n_flips: int = 10
    n_randomised: int = 12
    seed: int = 0

    def work(self, n_prompts: int, n_integrated: int) -> int:
        """How long some prompts take, in prompts without integrated gradients."""
        is_integrated = INTEGRATED in self.methods
        return n_prompts + (WORK_OF_INTEGRAL * n_integrated if is_integrated else 0)

    def total_work(self, groups: Sequence[SampledGroup]) -> int:
        """How long all takes, for a progress bar."""
        n = sum(group.n_prompts for group in groups)
        n_integrated = n
        if self.n_integrated:
            n_families = [len({arm.family for arm in group.arms}) for group in groups]
            n_integrated = sum(
                self.n_integrated * n_of * group.n_questions
                for n_of, group in zip(n_families, groups, strict=True)
            )
        n_alone = 2 * self.n_flips + min(self.n_randomised, n)
        return self.work(n + n_alone, min(n_integrated, n) + n_alone)


def attribute(
    run_model: RunModel,
    groups: Sequence[SampledGroup],
    plan: Plan,
    table: PieceTable,
    advance: Advance = lambda n: None,
) -> dict[str, Any]:
    """Attribute the sampled prompts and the strongest flips.

    One question's prompts are in memory at a time; of all questions only sums are kept.

    Args:
        groups: sampled questions.
        table: takes in every piece.
        advance: told how much of `Plan.total_work` was done.

    Returns:
        What `attribution.json` holds; NaN is unknown.

    Raises:
        UserError: no prompt can be attributed, or a model without gradients.
    """
    placebos = {
        arm.id: arm
        for group in groups
        for member in group.members
        for arm in member.arms
        if arm.placebo == "neutral"
    }
    scorer = WordScorer(run_model.loaded, plan.methods, plan.baseline, list(placebos.values()))
    by_method = MethodTally(plan.methods)
    control = _Randomised(groups, plan)
    told: list[dict[str, Any]] = []
    chosen: list[Shown] = []
    n_taken = 0
    rng = np.random.default_rng([plan.seed, 61])
    for group in groups:
        tally = GroupTally(plan.methods, len(group.members))
        for question in group.questions():
            asked = scorer.asked(question, group.arms)
            drawn = _integrated(asked, plan, rng)
            found = scorer.attributed(asked, drawn)
            advance(plan.work(len(found), len(drawn)))
            if not found:
                continue
            n_taken += 1
            tally.add_question(question.subtask, found)
            by_method.add_question(question.key, found)
            control.keep(question, asked, found)
            table.add(question, found, "sampled")
            stimuli = [one for one in asked if one.arm.kind == "stimulus"] or asked
            if len(chosen) < N_CHOSEN:
                chosen.append((question, stimuli[n_taken % len(stimuli)].arm, "chosen"))
        told.append(group_head(group) | tally.as_json())
    if not n_taken:
        raise _nothing_left(scorer)
    sampled_skipped = vars(scorer.skipped).copy()

    def can_be_shown(flip: Flip) -> bool:
        return len(scorer.asked(flip.question(), [flip.member.arms[0], flip.arm])) == 2

    flips, n_flips = strongest_flips(
        groups, plan.n_flips, rng, scorer.log_probabilities, can_be_shown
    )
    wanted = [(flip.question(), flip.arm, flip.kind) for flip in flips]
    shown = _shown(scorer, table, wanted, plan, advance)
    if not shown:
        shown = _shown(scorer, table, chosen, plan, advance)
    control.compare(scorer, by_method, advance)
    return {
        "schema_version": SCHEMA,
        "model": run_model.name,
        "is_same_model": run_model.is_same,
        "forced": run_model.forced,
        "methods": list(plan.methods),
        "baseline": plan.baseline if INTEGRATED in plan.methods else None,
        "seed": plan.seed,
        "n_questions": by_method.n_questions,
        "n_flips": n_flips,
        "skipped": sampled_skipped,
        "unknown": dict(scorer.unknown),
        "groups": told,
        **by_method.as_json(),
        "shown": shown,
    }


class _Randomised:
    """Prompts that are attributed again in the same model with random weights."""

    def __init__(self, groups: Sequence[SampledGroup], plan: Plan) -> None:
        self._plan = plan
        self._rng = np.random.default_rng([plan.seed, 62])
        self._left = plan.n_randomised
        n = sum(group.n_questions for group in groups)
        self._per_question = max(1, -(-plan.n_randomised // max(n, 1)))
        self._kept: list[tuple[AskedQuestion, list[Asked], list[dict[Method, Floats]]]] = []

    def keep(
        self,
        question: AskedQuestion,
        asked: Sequence[Asked],
        found: Sequence[AttributedPrompt],
    ) -> None:
        """Draw some of a question's prompts, as long as there are some to draw."""
        # Those that all methods were asked of.
        most = max((len(one.scores) for one in found), default=0)
        complete = [i for i, one in enumerate(found) if len(one.scores) == most]
        n = min(self._per_question, self._left, len(complete))
        if n < 1:
            return
        self._left -= n
        drawn = self._rng.choice(complete, n, replace=False).tolist()
        scores = [
            {m: found[i].of_words(m) for m in self._plan.methods if found[i].is_counted(m)}
            for i in drawn
        ]
        self._kept.append((question, [asked[i] for i in drawn], scores))

    def compare(self, scorer: WordScorer, tally: MethodTally, advance: Advance) -> None:
        """Attribute them with random weights, and tell how alike the words' ranks are."""
        if not self._kept:
            return
        random = scorer.of_model(with_random_weights(scorer.loaded, self._plan.seed))
        for question, asked, scores in self._kept:
            found = random.attributed(asked)
            advance(self._plan.work(len(asked), len(asked)))
            tally.add_randomised(
                question.key,
                [
                    (method, rank_agreement(words, other.of_words(method)))
                    for own, other in zip(scores, found, strict=True)
                    for method, words in own.items()
                    if other.is_counted(method)
                ],
            )


def _integrated(asked: Sequence[Asked], plan: Plan, rng: np.random.Generator) -> list[int]:
    """Which of a question's prompts have their gradients integrated."""
    if not plan.n_integrated:
        return list(range(len(asked)))
    by_family: dict[str, list[int]] = {}
    for number, one in enumerate(asked):
        by_family.setdefault(one.arm.family, []).append(number)
    return [
        number
        for own in by_family.values()
        for number in rng.permutation(own)[: plan.n_integrated].tolist()
    ]


def _shown(
    scorer: WordScorer,
    table: PieceTable,
    wanted: Sequence[Shown],
    plan: Plan,
    advance: Advance,
) -> list[dict[str, Any]]:
    """Questions under control and under an arm; without those that cannot be attributed."""
    told = []
    for question, arm, kind in wanted:
        asked = scorer.asked(question, [question.member.arms[0], arm])
        if len(asked) == 2:
            control, under_arm = found = scorer.attributed(asked)
            table.add(question, found, kind)
            told.append(shown_pair(question, kind, control, under_arm))
        advance(plan.work(2, 2))
    return told


def _nothing_left(scorer: WordScorer) -> UserError:
    skipped = scorer.skipped
    why = {
        "longer than the model's context window, or cut by the run": skipped.too_long,
        "without a target": skipped.without_target,
        "in which the stimulus does not stand as it was recorded": skipped.stimulus_not_found,
    }
    told = ", ".join(f"{n} {what}" for what, n in why.items() if n) or "none were asked"
    return UserError(
        "attributing answers to the words of prompts",
        found=f"no prompt that can be attributed ({told})",
        expected="prompts that fit the context window, with a target",
        fix="sample other or more questions (--questions, --tasks, --seed), or take a model with a "
        "longer context window",
    )
