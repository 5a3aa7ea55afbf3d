"""Methods of attribution: their names, their order, and what they measure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emo_harness.report.attribution.numbers import Method

REFERENCE: Method = "leave-one-out"
INTEGRATED: Method = "integrated-gradients"


@dataclass(frozen=True)
class MethodFacts:
    """One method in words.

    Attributes:
        signed: whether it tells raising from lowering.
        unit: of a word's contribution.
    """

    name: str
    signed: bool
    unit: str


METHODS: dict[Method, MethodFacts] = {
    REFERENCE: MethodFacts("Leave-one-word-out", True, "nats"),
    INTEGRATED: MethodFacts("Integrated gradients", True, "nats"),
    "gradient-x-input": MethodFacts("Gradient × input", True, "nats"),
    "gradient-norm": MethodFacts("Gradient norm", False, "nats per unit of embedding"),
    "attention-rollout": MethodFacts("Attention rollout", False, "share of attention"),
}


def in_order(methods: Iterable[Method]) -> list[Method]:
    """Each method once, the reference first."""
    wanted = set(methods)
    return [method for method in METHODS if method in wanted]


def known(value: float | None) -> float:
    """The number, NaN where it is unknown or without bound."""
    return math.nan if value is None or not math.isfinite(value) else float(value)


def bounds(values: Sequence[float | None]) -> tuple[float, float, float]:
    """Estimate, low and high, NaN where unknown."""
    value, low, high = map(known, values)
    return value, low, high
