"""The tokens that score highest, of a whole vocabulary and never more of it than one block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.errors import UserError
from emo_harness.stimuli.decoding import Decoder

# Of the one block, rows x vocabulary in float32: 65 rows of 256,000 tokens, 333 of 50,000.
BLOCK_BYTES = 64 * 1024**2
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TopTokens:
    """The best tokens of n vectors, best first; of equals, the one with the smaller id.

    Attributes:
        ids: (n, k) int64.
        logits: (n, k) float32; the cosine, where the decoder is `nearest`.
        probabilities: (n, k) float32, over the whole vocabulary; NaN where the decoder has none.
    """

    ids: Ints
    logits: Floats
    probabilities: Floats


class TokenDecoder(Protocol):
    """Turns vectors of one site into tokens."""

    @property
    def name(self) -> Decoder:
        """What a `Decoding` calls it."""
        ...

    def top(self, vectors: Floats, layer: int, k: int) -> TopTokens:
        """The k best tokens of each vector.

        Args:
            vectors: (n, *shape of the site) float32, all of one layer, raw units.
            layer: where they were read.
            k: how many tokens.

        Raises:
            UserError: vectors that are not finite, a layer that has no such site, more tokens than
                there are.
        """
        ...


def arg_max(decoder: TokenDecoder, vectors: Floats, layer: int) -> Ints:
    """The best token of every vector, as for the positions of a text.

    Returns:
        (n,) int64 token ids.
    """
    return decoder.top(vectors, layer, 1).ids[:, 0]


def top_tokens(
    vectors: Floats,
    k: int,
    vocabulary: int,
    score: Callable[[torch.Tensor], torch.Tensor],
    *,
    normalised: bool = True,
    doing: str = "decoding vectors",
) -> TopTokens:
    """The best tokens of vectors, one block of rows at a time.

    Args:
        vectors: (n, ...) float32.
        k: how many tokens.
        vocabulary: how many there are.
        score: gives (m, vocabulary) float32 of m rows, a tensor of its own that may be overwritten.
        normalised: whether scores are logits, whose softmax is a probability.
        doing: for messages.

    Raises:
        UserError: a vector is not finite, or there are fewer than k tokens.
    """
    if not 1 <= k <= vocabulary:
        raise UserError(
            doing,
            found=f"{k:,} tokens asked for",
            expected=f"1 to {vocabulary:,}, the tokens that the model knows",
            fix="ask for fewer",
        )
    _require_finite(vectors, doing)
    found = TopTokens(
        np.empty((len(vectors), k), np.int64),
        np.empty((len(vectors), k), np.float32),
        np.full((len(vectors), k), np.nan, np.float32),
    )
    step = rows_at_once(vocabulary)
    for first in range(0, len(vectors), step):
        rows = slice(first, first + step)
        scores = score(torch.from_numpy(np.ascontiguousarray(vectors[rows], np.float32)))
        best, ids = _best(scores, k)
        found.ids[rows], found.logits[rows] = ids.cpu().numpy(), best.cpu().numpy()
        if normalised:
            found.probabilities[rows] = (best - _log_sum_exp(scores)).exp().cpu().numpy()
        # Not two blocks at a time: this one goes before the next is made.
        del scores
    return found


def rows_at_once(vocabulary: int, n_blocks: int = 1) -> int:
    """Rows of a block, where so many blocks are alive together; at least one."""
    return max(1, BLOCK_BYTES // (4 * vocabulary * n_blocks))


def _best(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best scores and their ids, (m, k) each."""
    if k == 1:
        # Of equals, as models choose their next token.
        ids = scores.argmax(dim=-1, keepdim=True)
        return scores.gather(-1, ids), ids
    best, ids = scores.topk(k, dim=-1)
    by_id = ids.argsort(dim=-1, stable=True)
    best, ids = best.gather(-1, by_id), ids.gather(-1, by_id)
    by_score = best.argsort(dim=-1, descending=True, stable=True)
    return best.gather(-1, by_score), ids.gather(-1, by_score)


def _log_sum_exp(scores: torch.Tensor) -> torch.Tensor:
    """(m, 1) log of the sum of exp(scores), which are overwritten: no second block is made."""
    largest = scores.amax(dim=-1, keepdim=True)
    return scores.sub_(largest).exp_().sum(dim=-1, keepdim=True).log_().add_(largest)


def _require_finite(vectors: Floats, doing: str) -> None:
    finite = np.isfinite(vectors).all(axis=tuple(range(1, vectors.ndim)))
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise UserError(
            doing,
            found=f"vector {row} of {len(vectors)} is NaN or infinite",
            expected="finite vectors",
            fix="compute in another dtype (float32 is the safest)",
        )
