"""The result: what `attribution.json` holds, as JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emo_harness.attribution.aggregate import AttributedPrompt
from emo_harness.attribution.methods import REFERENCE
from emo_harness.attribution.sample import AskedQuestion, SampledGroup

SCHEMA = 1


def group_head(group: SampledGroup) -> dict[str, Any]:
    """What tells a group from others."""
    head = group.head
    return {
        "model": head.model,
        "benchmark": head.benchmark,
        "mode": head.mode,
        "placement": head.placement,
        "asked": head.family,
    }


def shown_pair(
    question: AskedQuestion, kind: str, control: AttributedPrompt, under_arm: AttributedPrompt
) -> dict[str, Any]:
    """One question under control and under an arm, word by word."""
    return {
        "benchmark": question.member.benchmark,
        "subtask": question.subtask,
        "doc_id": question.doc_id,
        "kind": kind,
        "family": under_arm.arm.family,
        "arm": under_arm.arm.id,
        "stimulus_text": under_arm.arm.text,
        "target": under_arm.asked.answer.strip(),
        "control": _side(question, control),
        "arm_side": _side(question, under_arm),
    }


def known(value: Any) -> Any:
    """JSON values in which what is unknown (NaN, infinite) is None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: known(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [known(one) for one in value]
    return value


def _side(question: AskedQuestion, one: AttributedPrompt) -> dict[str, Any]:
    response = question.answer.responses.get(one.arm.id, "")
    answer = response if isinstance(response, str) else "\n---\n".join(response)
    return {
        "log_probability": one.log_probability,
        "score": question.score(one.arm.id),
        "answer": answer,
        "agreement": {
            method: one.agreement(method) for method in one.scores if method != REFERENCE
        },
        "converged": one.converged,
        "pieces": [
            {
                "text": piece.text,
                "role": piece.role,
                "scores": {m: float(scores[number]) for m, scores in one.scores.items()},
            }
            for number, piece in enumerate(one.asked.pieces.pieces)
        ],
    }
