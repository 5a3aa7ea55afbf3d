"""Method tally: how far each method can be believed, over all groups of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from emo_harness.attribution.aggregate import AttributedPrompt
from emo_harness.attribution.methods import METHODS, REFERENCE, Method
from emo_harness.attribution.question_means import GatheredMeans


class MethodTally:
    """How far methods can be believed: agreement, convergence, and the control.

    A question that is asked in several groups (families, placements) is one question still.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        self._methods = methods
        self._questions: set[Hashable] = set()
        self._agreement: GatheredMeans[Method] = GatheredMeans()
        self._randomised: GatheredMeans[Method] = GatheredMeans()
        self._n: Counter[tuple[str, Method]] = Counter()
        self._steps: Counter[int] = Counter()
        self._n_unconverged = 0
        self._largest_delta = 0.0

    @property
    def n_questions(self) -> int:
        return len(self._questions)

    def add_question(self, question: Hashable, prompts: Sequence[AttributedPrompt]) -> None:
        """Take in prompts of a question, which may come again.

        Args:
            question: what is the same of the same question.
        """
        self._questions.add(question)
        found = [
            (method, one.agreement(method))
            for one in prompts
            for method in self._methods
            if method != REFERENCE and one.is_counted(method)
        ]
        self._agreement.add(question, found)
        self._n.update(("agreement", method) for method, rank in found if not np.isnan(rank))
        for one in prompts:
            if one.steps is not None:
                self._steps[one.steps] += 1
                self._n_unconverged += one.converged is False
                self._largest_delta = max(self._largest_delta, abs(one.delta or 0.0))

    def add_randomised(self, question: Hashable, ranks: Sequence[tuple[Method, float]]) -> None:
        """Agreement of one question's prompts with the same model with random weights."""
        self._randomised.add(question, ranks)
        self._n.update(("randomised", method) for method, rank in ranks if not np.isnan(rank))

    def as_json(self) -> dict[str, Any]:
        n = sum(self._steps.values())
        return {
            "agreement": self._ranks("agreement", self._agreement),
            "convergence": {
                "n": n,
                "n_unconverged": self._n_unconverged,
                "steps": {str(steps): self._steps[steps] for steps in sorted(self._steps)},
                "largest_delta": self._largest_delta,
            }
            if n
            else None,
            "randomised": self._ranks("randomised", self._randomised),
        }

    def _ranks(self, name: str, means: GatheredMeans[Method]) -> list[dict[str, Any]]:
        return [
            {
                "method": method,
                "n_prompts": self._n[name, method],
                "rank": means.of(method).bounds(-1.0, 1.0),
            }
            for method in METHODS
            if self._n[name, method]
        ]
