"""Methods of attribution by name, and how they are compared with each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, nearest, quoted

Method = Literal[
    "leave-one-out",
    "integrated-gradients",
    "gradient-x-input",
    "gradient-norm",
    "attention-rollout",
]
METHODS: tuple[Method, ...] = get_args(Method)
REFERENCE: Method = "leave-one-out"
INTEGRATED: Method = "integrated-gradients"
# They tell how much a word matters, not which way.
UNSIGNED: frozenset[Method] = frozenset({"gradient-norm", "attention-rollout"})
Floats = NDArray[np.float64]
_LEAST_WORDS = 3


def chosen_methods(names: Iterable[str]) -> tuple[Method, ...]:
    """Methods by name, in their order; all where none is named.

    Raises:
        UserError: there is no such method.
    """
    wanted = [name.strip() for name in names if name.strip()]
    unknown = [name for name in wanted if name not in METHODS]
    if unknown:
        raise UserError(
            "choosing methods of attribution",
            found=f"{unknown[0]!r}{nearest(unknown[0], METHODS)}",
            expected=quoted(METHODS),
            fix="name some of these with --methods, separated by commas; all by default",
        )
    return tuple(method for method in METHODS if not wanted or method in wanted)


def rank_agreement(one: Floats, other: Floats) -> float:
    """Spearman's correlation of (n_words,) scores, ties at their mean rank (Spearman 1904).

    NaN in either is left out; NaN is the answer where fewer than three words are left, or where
    all of one side are alike.
    """
    from scipy.stats import rankdata

    known = ~(np.isnan(one) | np.isnan(other))
    if known.sum() < _LEAST_WORDS:
        return float("nan")
    a, b = (rankdata(scores[known]) for scores in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def agreement_with_reference(method: Method, scores: Floats, reference: Floats) -> float:
    """`rank_agreement` with leave-one-out; of a method without signs with its size."""
    return rank_agreement(scores, np.abs(reference) if method in UNSIGNED else reference)
