"""Which tokens of which prompts are read: one row per stored vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.activations.encoding import EncodedPrompts, shown
from emo_harness.errors import UserError, nearest, quoted

POSITIONS = ("last", "span", "mean", "within", "all")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Readings:
    """Rows of vectors, each the mean over some consecutive tokens of one prompt.

    Attributes:
        prompt: (n_rows,) the ordinal of the prompt.
        first, after: (n_rows,) the tokens: one, unless the position is `mean`.
    """

    prompt: Ints
    first: Ints
    after: Ints

    def __len__(self) -> int:
        return len(self.prompt)

    def part(self, rows: slice) -> Readings:
        """Some of the rows."""
        return Readings(self.prompt[rows], self.first[rows], self.after[rows])


def readings_at(prompts: EncodedPrompts, position: str, order: Ints) -> Readings:
    """The rows of all prompts, prompt after prompt in the order given.

    Args:
        prompts: what is read.
        position: `last` (the last token), `span` (the last token of the span), `mean` (over the
            span), `within` (a row for every token of the span) or `all` (a row for every token).
        order: (n_prompts,) ordinals.

    Raises:
        UserError: no such position, or a prompt without the span that it needs.
    """
    if position not in POSITIONS:
        raise UserError(
            "choosing where to read activations",
            found=f"position {position!r}{nearest(position, POSITIONS)}",
            expected=quoted(POSITIONS),
            fix="name one of these with --position",
        )
    lengths = prompts.n_tokens[order]
    if position == "last":
        return Readings(order, lengths - 1, lengths)
    if position == "all":
        starts = np.cumsum(lengths) - lengths
        tokens = np.arange(lengths.sum(), dtype=np.int64) - np.repeat(starts, lengths)
        return Readings(np.repeat(order, lengths), tokens, tokens + 1)
    spans = prompts.spans[order]
    without = np.flatnonzero(spans[:, 0] < 0)
    if len(without):
        index = int(order[without].min())
        raise UserError(
            f"reading activations at the position {position!r}",
            found=f"prompt {index} ({shown(prompts.texts[index])}) without a span"
            + (f", as {len(without) - 1:,} more" if len(without) > 1 else ""),
            expected="span_first and span_last in every prompt",
            fix="use prompts with spans (a probing corpus has them), or --position last",
        )
    if position == "within":
        lengths = spans[:, 1] - spans[:, 0]
        starts = np.cumsum(lengths) - lengths - spans[:, 0]
        tokens = np.arange(lengths.sum(), dtype=np.int64) - np.repeat(starts, lengths)
        return Readings(np.repeat(order, lengths), tokens, tokens + 1)
    first = spans[:, 0] if position == "mean" else spans[:, 1] - 1
    return Readings(order, first, spans[:, 1])
