"""What a questionnaire tells of system prompts: components, separation of tags, values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.probe.components import exact_components
from emo_harness.probe.questionnaire.asked import SystemPrompt
from emo_harness.probe.questionnaire.characterisation import (
    Separation,
    expected_values,
    leave_one_out,
)

SCHEMA = 1
N_SHOWN = 3
CLEAR_P = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QuestionnaireResult:
    """Numbers of one questionnaire.

    Attributes:
        prompts: the system prompts, in order.
        n_questions, n_losses: of one prompt.
        explained: (n_components,) share of the losses' variance by principal component.
        components: (n_prompts, n_components) where each prompt lies on them.
        separation: of their tags.
        values: (n_prompts,) expected value of the answers; the first answer has the highest.
        how: what was asked, of which model.
        order_sensitivity: see `questionnaire_losses`; None for texts of answers.
    """

    prompts: tuple[SystemPrompt, ...]
    n_questions: int
    n_losses: int
    explained: Floats
    components: Floats
    separation: Separation
    values: Floats
    how: Mapping[str, Any]
    order_sensitivity: float | None

    @property
    def tags(self) -> list[str]:
        return list(dict.fromkeys(prompt.tag for prompt in self.prompts))

    def as_json(self) -> dict[str, Any]:
        """Everything, for scripts."""
        return {
            "schema": SCHEMA,
            "how": dict(self.how),
            "n_prompts": len(self.prompts),
            "n_questions": self.n_questions,
            "n_losses": self.n_losses,
            "explained": self.explained[:10].tolist(),
            "separation": {
                "accuracy": self.separation.accuracy,
                "chance": self.separation.chance,
                "p": self.separation.p,
                "component_auc": list(self.separation.component_auc),
            },
            "order_sensitivity": self.order_sensitivity,
            "values": {
                tag: {"mean": float(own.mean()), "sd": _sd(own), "n": len(own)}
                for tag, own in self._by_tag()
            },
            "prompts": [
                {
                    "id": prompt.id,
                    "tag": prompt.tag,
                    "value": float(self.values[number]),
                    "components": self.components[number, :10].tolist(),
                }
                for number, prompt in enumerate(self.prompts)
            ],
        }

    def in_words(self) -> str:
        """A few lines for people."""
        explained = ", ".join(f"{100 * e:.1f}%" for e in self.explained[:N_SHOWN])
        lines = [
            f"{len(self.prompts)} system prompts, {self.n_questions} questions, "
            f"{self.n_losses} losses each",
            f"variance of the first components: {explained}",
            *self._separated(),
        ]
        for tag, own in self._by_tag():
            about = tag or "no tag"
            lines.append(f"value of the answers, {about}: {own.mean():.3f} (sd {_sd(own):.3f})")
        if self.order_sensitivity is not None:
            lines.append(
                f"order of the answers: {self.order_sensitivity:.2f} of the probability moves with "
                "it (0 none, 1 all)"
                if np.isfinite(self.order_sensitivity)
                else "order of the answers: not varied; --orders 4 would show how much it matters"
            )
        return "\n".join(lines)

    def _separated(self) -> list[str]:
        found = self.separation
        if np.isnan(found.accuracy):
            return ["tags: fewer than two with two prompts or more, so nothing to separate"]
        verdict = "tags are told apart" if found.p < CLEAR_P else "tags are not told apart"
        lines = [
            f"{verdict}: leave-one-out accuracy {found.accuracy:.2f} (chance "
            f"{found.chance:.2f}, p = {found.p:.4f})"
        ]
        if found.component_auc:
            shown = ", ".join(f"{value:.2f}" for value in found.component_auc[:N_SHOWN])
            lines.append(f"AUC of the first components: {shown}")
        return lines

    def _by_tag(self) -> list[tuple[str, Floats]]:
        tag_of = np.array([prompt.tag for prompt in self.prompts])
        return [(tag, self.values[tag_of == tag]) for tag in self.tags]


def result_of(
    prompts: Sequence[SystemPrompt],
    losses: Sequence[Sequence[Floats]],
    how: Mapping[str, Any],
    rng: np.random.Generator,
    order_sensitivity: float | None = None,
) -> QuestionnaireResult:
    """Characterise prompts.

    Args:
        losses: by prompt and question, (n_answers,) nats.
        rng: for the permutation test.
    """
    features = np.array([np.concatenate(list(of_prompt)) for of_prompt in losses])
    tags = [prompt.tag for prompt in prompts]
    found = exact_components(features, len(features))
    return QuestionnaireResult(
        tuple(prompts),
        len(losses[0]),
        features.shape[1],
        found.explained,
        found.scores(features),
        leave_one_out(features, tags, rng),
        expected_values(losses),
        how,
        order_sensitivity,
    )


def _sd(values: Floats) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
