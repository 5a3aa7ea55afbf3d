"""Is the gradient of a model that of what it computes? Asked of the model in hand."""

from __future__ import annotations

from weakref import WeakSet

import torch

from emo_harness.attribution.answer_model import AnswerModel
from emo_harness.attribution.target import Target, TargetBatch, batch_of

N_PROMPTS = 8
N_TOKENS = 12
N_DIRECTIONS = 16
# How far a step should move the log-probability, in nats: far enough to be seen over rounding,
# also that of a quantised model, which is flat between its levels, and near enough for a line to
# hold.
MOVES = (0.003, 0.01, 0.03, 0.1, 0.3)
# The median error of slopes, relative to their median size. It is near 1 where most of the path is
# missing; rounding, or a step too long, costs some hundredths, or a tenth or two in coarse dtypes.
# The median, for a mixture of experts may send a token another way in the midst of a step.
TOLERANCE = 0.1
COARSE = {torch.float16: 0.3, torch.bfloat16: 0.3}
# Models that passed: attribution asks anew for every question.
_passed: WeakSet[torch.nn.Module] = WeakSet()


def check_gradient(asked: AnswerModel) -> None:
    """Compare slopes by backpropagation with differences along random directions.

    A model that rounds on its way, as one with quantised activations may, has gradients that lack
    everything behind the rounding, and torch says nothing of it. So the slope g . u along random
    directions u is compared with (f(x + h u) - f(x - h u)) / 2h, with h from small to large. It is
    enough that they agree for one h on one of some random prompts. A model is asked once.

    Raises:
        UserError: they never agree, or the model cannot be differentiated at all.
    """
    if asked.model in _passed:
        return
    generator = torch.Generator().manual_seed(0)
    rows = asked.embedding.weight.shape[0]
    least, most = float("inf"), COARSE.get(asked.embedding.weight.dtype, TOLERANCE)
    with asked.frozen():
        for _ in range(N_PROMPTS):
            ids = torch.randint(0, rows, (N_TOKENS + 1,), generator=generator).numpy()
            target = Target(ids[:-1], ids[-1:])
            least = min(least, _error(asked, target, generator, most))
            if least <= most:
                _passed.add(asked.model)
                return
    off = "zero or not finite" if least == float("inf") else f"off by {least:.0%}"
    raise asked.refusal(
        f"gradients that are not those of what the model computes ({off} along random directions)",
        "a model that is differentiable from its input embeddings to its logits, and does not "
        "round between them",
    )


def _error(asked: AnswerModel, target: Target, generator: torch.Generator, most: float) -> float:
    """The median error of slopes, relative: the least over step sizes, or one small enough."""
    batch = batch_of([target], asked.device)
    embeddings = asked.embeddings(batch.input_ids)
    value, slopes = asked.gradient(embeddings, batch)
    size = float(slopes.norm())
    if not (bool(value.isfinite().all()) and 0 < size < float("inf")):
        # Nothing to compare in this dtype.
        return float("inf")
    middle = embeddings.to(slopes)
    shape = (N_DIRECTIONS, *embeddings.shape[1:])
    directions = torch.randn(shape, generator=generator).to(slopes) / size
    claimed = (directions * slopes).sum((1, 2))
    many = TargetBatch._make(tensor.expand(N_DIRECTIONS, -1) for tensor in batch)
    least = float("inf")
    for move in MOVES:
        step = move * directions
        seen = asked.value(middle + step, many) - asked.value(middle - step, many)
        seen = seen / (2 * move)
        typical = float(seen.abs().median())
        if typical > 0:
            least = min(least, float((seen - claimed).abs().median()) / typical)
        if least <= most:
            break
    return least
