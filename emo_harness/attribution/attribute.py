"""Attribute: over a run's questions, which words move the answer, and how far to believe it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emo_harness.attribution.aggregate import AttributedPrompt, GroupTally, MethodTally
from emo_harness.attribution.flips import Flip, strongest_flips
from emo_harness.attribution.methods import INTEGRATED, Method, rank_agreement
from emo_harness.attribution.piece_table import PieceTable
from emo_harness.attribution.randomised import with_random_weights
from emo_harness.attribution.result import SCHEMA, group_head, shown_pair
from emo_harness.attribution.sample import AskedQuestion, SampledGroup
from emo_harness.attribution.word_scores import Asked, BaselineKind, WordScorer
from emo_harness.errors import UserError
from emo_harness.run_model import RunModel

Advance = Callable[[int], object]
# Of a run without flips, so many sampled prompts are shown.
N_CHOSEN = 3


@dataclass(frozen=True)
class Plan:
    """What is asked of a run.

    Attributes:
        methods: in their order.
        baseline: see `WordScorer`.
        n_flips: how many of the strongest flips are shown.
        n_randomised: prompts that are attributed in a model with random weights too.
        seed: of what is drawn.
    """

    methods: tuple[Method, ...]
    baseline: BaselineKind = "mean"
    n_flips: int = 10
    n_randomised: int = 24
    seed: int = 0


def n_prompts(groups: Sequence[SampledGroup], plan: Plan) -> int:
    """About how many prompts are attributed, for a progress bar."""
    n = sum(group.n_prompts for group in groups)
    return n + 2 * plan.n_flips + min(plan.n_randomised, n)


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
        advance: told how many prompts were done.

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
    chosen: list[tuple[SampledGroup, AskedQuestion, Asked]] = []
    n_questions = 0
    for group in groups:
        tally = GroupTally(plan.methods, len(group.members))
        for question in group.questions():
            asked = scorer.asked(question, group.arms)
            found = scorer.attributed(asked, advance)
            if not found:
                continue
            n_questions += 1
            tally.add_question(question.subtask, found)
            by_method.add_question(found)
            control.keep(question, asked, found)
            table.add(question, found, "sampled")
            stimuli = [one for one in asked if one.arm.kind == "stimulus"] or asked
            if len(chosen) < N_CHOSEN:
                chosen.append((group, question, stimuli[n_questions % len(stimuli)]))
        told.append(group_head(group) | tally.as_json())
    if not n_questions:
        raise _nothing_left(scorer)
    sampled_skipped = vars(scorer.skipped).copy()
    rng = np.random.default_rng([plan.seed, 61])
    flips, n_flips = strongest_flips(groups, plan.n_flips, rng, scorer.log_probabilities)
    shown = [_shown_flip(scorer, table, flip, advance) for flip in flips]
    shown = [one for one in shown if one is not None]
    if not shown:
        shown = [
            pair
            for _, question, asked in chosen
            if (pair := _shown(scorer, table, question, asked.arm, "chosen", advance))
        ]
    control.compare(scorer, by_method, advance)
    return {
        "schema_version": SCHEMA,
        "model": run_model.name,
        "is_same_model": run_model.is_same,
        "forced": run_model.forced,
        "methods": list(plan.methods),
        "baseline": plan.baseline if INTEGRATED in plan.methods else None,
        "seed": plan.seed,
        "n_questions": n_questions,
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
        self._seed = plan.seed
        self._methods = plan.methods
        self._rng = np.random.default_rng([plan.seed, 62])
        self._left = plan.n_randomised
        n = sum(group.n_questions for group in groups)
        self._per_question = max(1, -(-plan.n_randomised // max(n, 1)))
        self._kept: list[tuple[AskedQuestion, list[Asked], list[Mapping[Method, Any]]]] = []

    def keep(
        self,
        question: AskedQuestion,
        asked: Sequence[Asked],
        found: Sequence[AttributedPrompt],
    ) -> None:
        """Draw some of a question's prompts, as long as there are some to draw."""
        n = min(self._per_question, self._left, len(asked))
        if n < 1:
            return
        self._left -= n
        drawn = self._rng.choice(len(asked), n, replace=False).tolist()
        scores = [
            {m: found[i].of_words(m) for m in self._methods if found[i].is_counted(m)}
            for i in drawn
        ]
        self._kept.append((question, [asked[i] for i in drawn], scores))

    def compare(self, scorer: WordScorer, tally: MethodTally, advance: Advance) -> None:
        """Attribute them with random weights, and tell how alike the words' ranks are."""
        if not self._kept:
            return
        random = scorer.of_model(with_random_weights(scorer.loaded, self._seed))
        for _, asked, scores in self._kept:
            ranks: defaultdict[int, list[tuple[Method, float]]] = defaultdict(list)
            for own, other in zip(scores, random.attributed(asked, advance), strict=True):
                ranks[0] += [
                    (method, rank_agreement(words, other.of_words(method)))
                    for method, words in own.items()
                    if other.is_counted(method)
                ]
            tally.add_randomised(ranks[0])


def _shown_flip(
    scorer: WordScorer, table: PieceTable, flip: Flip, advance: Advance
) -> dict[str, Any] | None:
    return _shown(scorer, table, flip.question(), flip.arm, flip.kind, advance)


def _shown(
    scorer: WordScorer,
    table: PieceTable,
    question: AskedQuestion,
    arm: Any,
    kind: str,
    advance: Advance,
) -> dict[str, Any] | None:
    """One question under control and under an arm; None where one of them cannot be attributed."""
    asked = scorer.asked(question, [question.member.arms[0], arm])
    if len(asked) < 2:
        return None
    control, under_arm = scorer.attributed(asked, advance)
    table.add(question, [control, under_arm], kind)
    return shown_pair(question, kind, control, under_arm)


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
