"""Between two prompts: what a model would write after a mixture of their caches.

The one experiment of Emo_LLM that moved trajectories: all keys and values of one prompt are turned
step by step into another's, and continuations of both are scored on the way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.activations.loading import LoadedModel
from emo_harness.errors import UserError
from emo_harness.steer.dose_response import Estimate, interaction, mean_estimate, slopes
from emo_harness.steer.forward import Plain, Tokens, padded
from emo_harness.steer.measures import encoded
from emo_harness.steer.prompts import SteeredPrompt
from emo_harness.steer.sampling import sample

Mixed = Literal["keys and values", "values", "last value"]
BATCH = 64
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interpolation:
    """Scored continuations between two prompts.

    Attributes:
        shares: (n_steps,) of the second prompt's cache, from 0 to 1.
        first, second: (n_continuations, n_steps) nats per token, of what the model wrote after the
            first prompt and after the second one. A continuation's first token comes from the
            prompt's own last token and not from the cache, so it is not scored.
        texts: the continuations, those of the first prompt and those of the second one.
    """

    shares: Floats
    first: Floats
    second: Floats
    texts: tuple[list[str], list[str]]


@dataclass(frozen=True)
class InterpolationSummary:
    """What an interpolation comes to.

    Attributes:
        shares: of the second prompt's cache.
        first, second: mean log-probability per token at each share, with its interval over
            continuations.
        slope_first, slope_second: change from one end to the other, by least squares.
        interaction: slope of the second's continuations minus slope of the first's; above 0 where
            turning one cache into the other favours what the other's prompt leads to.
        crossing: the share from which on the second's are more probable; None if there is none.
    """

    shares: tuple[float, ...]
    first: tuple[Estimate, ...]
    second: tuple[Estimate, ...]
    slope_first: Estimate
    slope_second: Estimate
    interaction: Estimate
    crossing: float | None


def interpolate(
    loaded: LoadedModel,
    prompts: tuple[str, str],
    *,
    n_steps: int,
    n_continuations: int,
    max_tokens: int,
    mixed: Mixed = "keys and values",
    seed: int = 0,
    advance: Callable[[int], object] = lambda n: None,
) -> Interpolation:
    """Mix two prompts' caches, (1 - l) * first + l * second, and score continuations of both.

    Args:
        prompts: two texts with equally many tokens.
        n_steps: how many shares l from 0 to 1.
        n_continuations: sampled from the model after either prompt.
        max_tokens: of a continuation, at least 2.
        mixed: what is mixed at which positions; the rest stays the first prompt's.
        advance: told the continuations scored.

    Raises:
        UserError: prompts with other numbers of tokens, or continuations that end at once.
    """
    tokens = encoded(loaded.tokenizer, [SteeredPrompt(text, 0, "") for text in prompts])
    _require_equal(tokens, prompts)
    plain = Plain(loaded.model, loaded.layout)
    end_token = loaded.tokenizer.eos_token_id
    sampled = sample(
        plain, tokens, n_continuations, max(2, max_tokens), end_token=end_token, seed=seed
    )
    kept = [[one for one in own if len(one) > 1] for own in sampled]
    if not all(kept):
        raise UserError(
            "sampling continuations",
            found="none of two tokens or more",
            expected="continuations that can be scored",
            fix="give --from and --to beginnings that the model goes on from",
        )
    caches = [_cache_of(plain, one) for one in tokens]
    shares = np.linspace(0.0, 1.0, n_steps)
    found = [np.empty((len(own), n_steps)) for own in kept]
    for step, share in enumerate(shares.tolist()):
        cache = mixed_cache(caches[0], caches[1], share, mixed)
        for side, own in enumerate(kept):
            found[side][:, step] = _scores(plain, cache, len(tokens[0]), own)
            advance(len(own))
    texts = tuple([loaded.tokenizer.decode(one.tolist()) for one in own] for own in kept)
    return Interpolation(shares, found[0], found[1], texts)  # type: ignore[arg-type]


def summarise_interpolation(found: Interpolation) -> InterpolationSummary:
    """Curves with intervals, their slopes, and where they cross."""
    ends = [slopes(found.shares, one) for one in (found.first, found.second)]
    n_first, n_second = len(ends[0]), len(ends[1])
    both = np.concatenate(ends)
    is_second = np.arange(len(both)) >= n_first
    ahead = found.second.mean(axis=0) - found.first.mean(axis=0)
    return InterpolationSummary(
        shares=tuple(found.shares.tolist()),
        first=tuple(mean_estimate(column) for column in found.first.T),
        second=tuple(mean_estimate(column) for column in found.second.T),
        slope_first=mean_estimate(ends[0]),
        slope_second=mean_estimate(ends[1]),
        interaction=interaction(both, is_second, np.arange(n_first + n_second)),
        crossing=_crossing(found.shares, ahead),
    )


def mixed_cache(first: Any, second: Any, share: float, mixed: Mixed) -> Any:
    """A cache with (1 - share) of the first's numbers and `share` of the second's.

    At a share of 0 it equals the first bit for bit, and at 1 the second where all is mixed.
    """
    made = copy.deepcopy(first)
    for own, other in zip(made.layers, second.layers, strict=True):
        if mixed == "keys and values":
            own.keys = _between(own.keys, other.keys, share)
        if mixed == "last value":
            last = _between(own.values[..., -1:, :], other.values[..., -1:, :], share)
            own.values = torch.cat([own.values[..., :-1, :], last], dim=-2)
        else:
            own.values = _between(own.values, other.values, share)
    return made


def _between(first: torch.Tensor, second: torch.Tensor, share: float) -> torch.Tensor:
    if share in (0.0, 1.0):
        return (second if share else first).clone()
    return (1 - share) * first + share * second


def _cache_of(plain: Plain, tokens: Tokens) -> Any:
    ids, mask = padded([tokens], plain.device)
    with torch.no_grad():
        found = plain.model(input_ids=ids, attention_mask=mask, use_cache=True).past_key_values
    wrong = [type(layer).__name__ for layer in found.layers if not hasattr(layer, "values")]
    if wrong:
        raise UserError(
            "mixing caches",
            found=f"a cache with {wrong[0]}",
            expected="keys and values in every layer",
            fix="name a model whose layers all attend",
        )
    return found


def _scores(plain: Plain, cache: Any, n_past: int, continuations: Sequence[Tokens]) -> Floats:
    """(n,) nats per token of all but the first token."""
    found = np.empty(len(continuations))
    for first in range(0, len(continuations), BATCH):
        some = continuations[first : first + BATCH]
        ids, mask = padded([one[:-1] for one in some], plain.device)
        past = copy.deepcopy(cache)
        past.batch_repeat_interleave(len(some))
        seen = torch.cat([mask.new_ones((len(some), n_past)), mask], dim=1)
        with torch.no_grad():
            logits = plain.model(
                input_ids=ids, attention_mask=seen, past_key_values=past, use_cache=True
            ).logits
        for row, one in enumerate(some):
            targets = torch.from_numpy(one[1:].astype(np.int64)).to(logits.device)
            own = logits[row, : len(targets)].float().log_softmax(dim=-1)
            found[first + row] = float(own.gather(1, targets[:, None]).double().mean())
    return found


def _crossing(shares: Floats, ahead: Floats) -> float | None:
    """Where a curve last turns from below 0 to above it, by straight lines between the steps."""
    ups = [i for i in range(len(ahead) - 1) if ahead[i] < 0 <= ahead[i + 1]]
    if not ups:
        return None
    i = ups[-1]
    part = ahead[i] / (ahead[i] - ahead[i + 1])
    return float(shares[i] + part * (shares[i + 1] - shares[i]))


def _require_equal(tokens: Sequence[Tokens], prompts: Sequence[str]) -> None:
    if len(tokens[0]) != len(tokens[1]):
        raise UserError(
            "mixing the caches of two prompts",
            found=f"{len(tokens[0])} tokens ({prompts[0][:40]!r}) and {len(tokens[1])} "
            f"({prompts[1][:40]!r})",
            expected="equally many, so that every position has a partner",
            fix="choose words of equal length in tokens",
        )
