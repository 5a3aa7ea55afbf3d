"""What a prompt is compared with: embeddings that stand in for those of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.activations.loading import LoadedModel
from emo_harness.attribution.answer_model import AnswerModel
from emo_harness.attribution.target import Ints, Target
from emo_harness.errors import UserError

Floats = NDArray[np.float64]
# Ids embedded together.
_BLOCK = 8192
# Shorter than this, relative to a token's embedding, is zero but for rounding.
_NO_LENGTH = 1e-6


@dataclass(frozen=True, eq=False)
class Baseline:
    """Embeddings in place of some of a prompt's tokens; all other tokens keep their own.

    Tokens of the answer keep theirs too: what is attributed is the probability of one answer.

    Attributes:
        positions: (k,) int64, of the prompt tokens that are replaced.
        embedding: (width,) for all of them, or (k, width).
    """

    positions: Ints
    embedding: Floats


def mean_embedding(loaded: LoadedModel) -> Floats:
    """(width,) the mean input embedding over the tokenizer's tokens.

    Rows of the embedding matrix that belong to no token are left out: nothing was learnt in them.
    """
    rows = int(loaded.layout.base.get_input_embeddings().weight.shape[0])
    known = sorted({token for token in loaded.tokenizer.get_vocab().values() if token < rows})
    return mean_of(loaded, known)


def mean_of(loaded: LoadedModel, ids: Sequence[int]) -> Floats:
    """(width,) the mean input embedding of tokens, such as those of a placebo.

    The mean stands in for every token of a stimulus, whatever the lengths of both, so that no word
    is measured against the one word of the placebo that happens to stand in its place.
    """
    asked = AnswerModel(loaded)
    tokens = torch.as_tensor(np.asarray(ids, np.int64))
    if not len(tokens):
        raise UserError(
            "taking the mean embedding of a placebo",
            found="no tokens",
            expected="at least one",
            fix="name a placebo that has words",
        )
    total = sum(
        asked.embeddings(tokens[first : first + _BLOCK]).to(asked.wide).sum(0)
        for first in range(0, len(tokens), _BLOCK)
    )
    mean: Floats = (total / len(tokens)).cpu().numpy().astype(np.float64)  # type: ignore[union-attr]
    return mean


def word_positions(tokenizer: Any, target: Target) -> Ints:
    """Of a prompt's tokens, those that are no special ones.

    Special tokens keep their embeddings: a beginning-of-sequence token is where attention rests
    when there is nothing to attend to, and marks of a chat template are no words. A path on which
    they fade leads through prompts that no model was ever given, and its attributions tell of
    them rather than of words. A token that stands for unknown words alone is a word here.
    """
    special = np.array(sorted(special_ids(tokenizer)), np.int64)
    return np.flatnonzero(~np.isin(target.prompt_ids, special)).astype(np.int64)


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of tokens that mark a text's structure."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    named = {
        getattr(tokenizer, f"{name}_token_id", None)
        for name in ("bos", "eos", "pad", "sep", "cls", "mask")
    }
    return frozenset(
        token for token in tokenizer.all_special_ids if token != unknown or token in named
    )


def with_baselines(embeddings: torch.Tensor, baselines: Sequence[Baseline]) -> torch.Tensor:
    """(b, n, width) embeddings with the baselines in their places, in the wide dtype.

    Args:
        embeddings: (b, n, width) of the prompts, wide.
        baselines: of each row.

    Raises:
        UserError: a baseline of zeros, at which norms are singular, or of another shape.
    """
    given = embeddings.clone()
    for row, baseline in enumerate(baselines):
        if not len(baseline.positions):
            continue
        stand_in = torch.as_tensor(baseline.embedding, dtype=given.dtype, device=given.device)
        places = torch.as_tensor(baseline.positions, device=given.device)
        if stand_in.shape not in ((given.shape[-1],), (len(places), given.shape[-1])):
            raise UserError(
                "setting the baseline of integrated gradients",
                found=f"embeddings of shape {tuple(stand_in.shape)}",
                expected=f"({given.shape[-1]},), or one for each of {len(places)} positions",
                fix="take the model's own embeddings",
            )
        typical = embeddings[row].norm(dim=-1).mean()
        if bool((stand_in.norm(dim=-1) <= _NO_LENGTH * typical).any()):
            raise UserError(
                "setting the baseline of integrated gradients",
                found="an embedding of zeros",
                expected="one with a length: a norm of zeros is undefined, and no number of steps "
                "brings the integral near its value",
                fix="use the other baseline, `mean` or `placebo`, or methods that need none",
            )
        given[row, places] = stand_in
    return given
