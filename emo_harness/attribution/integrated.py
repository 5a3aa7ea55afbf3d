"""Integrated gradients (Sundararajan, Taly and Yan 2017) of an answer's log-probability.

    a_i = sum over d of (x_id - b_id) * integral over t in [0, 1] of df/dx_id at b + t (x - b)

x are the prompt's input embeddings, b their baseline, f the log-probability in nats. The a_i sum
to f(x) - f(b): by how much they fail to, the delta, tells how good the integral is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.attribution.answer_model import AnswerModel
from emo_harness.attribution.baseline import Baseline, with_baselines
from emo_harness.attribution.target import TargetBatch

Floats = NDArray[np.float64]
# Steps are doubled from the first number to the last.
FIRST_STEPS = 32
LAST_STEPS = 256
# What the delta may be: a share of what is attributed, and at least so many nats.
SHARE = 0.01
NATS = 0.001


@dataclass(frozen=True, eq=False)
class Integrated:
    """Integrated gradients of one prompt.

    Attributes:
        contributions: (n,) nats, zero at tokens that their baseline leaves as they are.
        baseline_log_probability: f(b), in nats.
        steps: at which gradients were taken.
        delta: sum of the contributions - (f(x) - f(b)), in nats.
        converged: whether |delta| <= max(1% of |f(x) - f(b)|, 0.001 nats).
    """

    contributions: Floats
    baseline_log_probability: float
    steps: int
    delta: float
    converged: bool


def tolerance(difference: float) -> float:
    """The largest |delta| that counts as converged, of f(x) - f(b), in nats."""
    return max(SHARE * abs(difference), NATS)


def integrated_gradients(
    asked: AnswerModel,
    batch: TargetBatch,
    embeddings: torch.Tensor,
    values: torch.Tensor,
    baselines: Sequence[Baseline],
    batch_tokens: int,
) -> list[Integrated]:
    """Integrate by Gauss-Legendre, with twice the steps until the delta is small.

    Only prompts whose delta is not small yet go on to more steps. Interpolated embeddings and sums
    are float64, whatever the model computes in.

    Args:
        asked: the model, frozen.
        batch: b prompts and answers.
        embeddings: (b, n, width) of the prompts.
        values: (b,) their log-probabilities f(x), in nats.
        baselines: of each prompt.
        batch_tokens: tokens computed together, of steps and prompts alike.

    Raises:
        UserError: a baseline of zeros, or a part of the model without a derivative.
    """
    ends = embeddings.to(asked.wide)
    starts = with_baselines(ends, baselines)
    at_start = asked.value(starts, batch)
    differences = (values - at_start).tolist()
    found: dict[int, Integrated] = {}
    left = list(range(len(differences)))
    steps = FIRST_STEPS
    while left:
        open_rows: list[int] = []
        for rows in _groups(left, embeddings.shape[1], steps, batch_tokens):
            sums = _integral(asked, ends[rows], starts[rows], batch.rows(rows), steps, batch_tokens)
            for row, contributions in zip(rows, sums, strict=True):
                delta = float(contributions.sum()) - differences[row]
                converged = abs(delta) <= tolerance(differences[row])
                start = float(at_start[row])
                found[row] = Integrated(contributions, start, steps, delta, converged)
                # What is not finite stays so with any number of steps.
                if not converged and np.isfinite(delta):
                    open_rows.append(row)
        left, steps = open_rows, 2 * steps
        if steps > LAST_STEPS:
            break
    return [found[row] for row in range(len(differences))]


def _groups(rows: list[int], n_tokens: int, steps: int, batch_tokens: int) -> list[list[int]]:
    """Prompts integrated together: as many as fit with all of their steps, at least one."""
    size = max(1, batch_tokens // (n_tokens * steps))
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _integral(
    asked: AnswerModel,
    ends: torch.Tensor,
    starts: torch.Tensor,
    batch: TargetBatch,
    steps: int,
    batch_tokens: int,
) -> Floats:
    """(b, n) contributions at a number of steps."""
    from captum.attr import IntegratedGradients

    n = batch.input_ids.shape[1]
    with asked.telling():
        found: torch.Tensor = IntegratedGradients(asked.log_probabilities).attribute(
            ends[:, :n],
            baselines=starts[:, :n],
            additional_forward_args=tuple(batch),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=max(len(ends), batch_tokens // n),
        )
    padded = torch.zeros(ends.shape[:2], dtype=found.dtype)
    padded[:, :n] = found.sum(-1).cpu()
    return padded.numpy().astype(np.float64)
