"""Prompts continued together, every token that they share computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from emo_harness.prefix.limits import Limits, too_small
from emo_harness.prefix.packed_model import PackedModel
from emo_harness.prefix.path_cache import PathCache
from emo_harness.prefix.prefill import KeptTokens, PathAttention, ends_in, passes
from emo_harness.prefix.rows import RowsAttention, layout_of
from emo_harness.prefix.scoring import NaNLogitsError
from emo_harness.prefix.trie import Tokens, build_trie, shared_length, trie_order
from emo_harness.prefix.units import units_of


@dataclass(frozen=True)
class Prompt:
    """What is to be continued.

    Attributes:
        tokens: (n,) the prompt, n > 0.
        max_tokens: the most tokens to generate, at least 1.
        is_complete: whether what was generated so far is enough; asked after every token.
        pick: chooses the next token from (vocabulary,) logits in float32 and what was generated;
            None for the most probable one.
    """

    tokens: Tokens
    max_tokens: int
    is_complete: Callable[[list[int]], bool]
    pick: Callable[[torch.Tensor, list[int]], int] | None = None


@dataclass(frozen=True)
class Continued:
    """A continued prompt: which one, and the generated tokens."""

    index: int
    generated: list[int]


def generate(
    model: PackedModel,
    prompts: Sequence[Prompt],
    limits: Limits,
    *,
    advance: Callable[[int], None] = lambda n_tokens: None,
) -> Iterator[Continued]:
    """Continue prompts, in the order in which they become complete.

    Args:
        model: the model.
        prompts: what to continue; they may be equal, or prefixes of each other.
        limits: how much to compute together.
        advance: told the tokens of each pass.

    Raises:
        NaNLogitsError: the model gave NaN.
    """
    order = trie_order([prompt.tokens for prompt in prompts])
    longest = max((len(prompt.tokens) for prompt in prompts), default=0)
    cache = PathCache(limits.capacity(longest))
    waiting = list(reversed(_batches(prompts, order, limits.rows)))
    while waiting:
        some = waiting.pop()
        batch = _Batch(model, prompts, some, limits, cache, advance)
        too_much = batch.bytes_over_budget()
        if too_much > 0 and len(some) > 1:
            waiting.extend(reversed(_batches(prompts, some, (len(some) + 1) // 2)))
            continue
        if too_much > 0:
            # One prompt: smaller passes leave more for it.
            cache.release()
            least = limits.smallest()
            small = PathCache(least.capacity(longest))
            batch = _Batch(model, prompts, some, least, small, advance)
            too_much = batch.bytes_over_budget()
        if too_much > 0:
            budget_bytes = limits.budget_bytes or 0
            raise too_small(budget_bytes, budget_bytes + too_much, longest)
        yield from batch.run()


def _batches(prompts: Sequence[Prompt], order: Sequence[int], largest: int) -> list[list[int]]:
    """Sorted prompts in groups of about equal size, cut where neighbours share least."""
    shared = [0] + [shared_length(prompts[a].tokens, prompts[b].tokens) for a, b in pairwise(order)]
    batches = []
    first = 0
    while first < len(order):
        left = len(order) - first
        even = math.ceil(left / math.ceil(left / largest))
        last = first + even
        if left > largest:
            # A place for the cut may be a quarter larger, or half as large.
            furthest = min(first + largest, last + even // 4)
            places = range(furthest, first + even // 2, -1)
            last = min(places, key=partial(_cost_of_cut, shared, last))
        batches.append(list(order[first:last]))
        first = last
    return batches


def _cost_of_cut(shared: Sequence[int], wished: int, place: int) -> tuple[int, int]:
    return shared[place], abs(place - wished)


@dataclass
class _Row:
    """A prompt on its way; `position` is that of the first generated token."""

    index: int
    prompt: Prompt
    position: int
    generated: list[int] = field(default_factory=list)
    is_complete: bool = False

    def take(self, token: int) -> None:
        self.generated.append(token)
        enough = len(self.generated) >= self.prompt.max_tokens
        self.is_complete = enough or self.prompt.is_complete(self.generated)


class _Batch:
    """Prompts that are continued together."""

    def __init__(
        self,
        model: PackedModel,
        prompts: Sequence[Prompt],
        batch: Sequence[int],
        limits: Limits,
        cache: PathCache,
        advance: Callable[[int], None],
    ) -> None:
        self.model, self.limits, self.cache, self.advance = model, limits, cache, advance
        self.trie, places = build_trie([prompts[index].tokens for index in batch])
        by_place = sorted(zip(places, batch, strict=True))
        self.rows = [
            _Row(index, prompts[index], model.position_after(prompts[index].tokens))
            for _, index in by_place
        ]
        self.place_of_row = np.array([place for place, _ in by_place])
        self.max_tokens = max(row.prompt.max_tokens for row in self.rows)
        self.skip = self._already_there()
        rows_of = np.bincount(self.place_of_row, minlength=len(self.trie.sequences))
        self.layout = layout_of(self.trie, rows_of, self.skip)

    def bytes_over_budget(self) -> int:
        """How much more memory than the budget allows these prompts may take; 0 or less if none."""
        if self.limits.budget_bytes is None:
            return 0
        layout = self.layout
        longest = self.cache.capacity - self.limits.tree_tokens
        needed = self.model.costs.of_pass(self.limits, longest) + self.model.costs.of_rows(
            len(self.rows),
            new=self.trie.n_tokens - self.skip,
            kept=layout.kept_tokens,
            columns=layout.n_columns,
            own=layout.own.shape[1],
            max_tokens=self.max_tokens,
        )
        return needed - self.limits.budget_bytes

    def run(self) -> Iterator[Continued]:
        logits, attention = self._prefill()
        live = self.rows
        yield from self._choose(live, logits)
        while True:
            going = np.flatnonzero([not row.is_complete for row in live])
            if not len(going):
                return
            # Leaving costs a copy of what stays, so they leave several at a time.
            if len(going) <= 0.75 * len(live):
                attention.keep(going)
                live = [live[i] for i in going]
            tokens = np.array([row.generated[-1] for row in live], np.int32)
            positions = np.array([row.position + len(row.generated) - 1 for row in live], np.int64)
            logits = self.model.logits(tokens, positions, range(len(live)), attention)
            attention.step()
            self.advance(len(live))
            yield from self._choose(live, logits)

    def _prefill(self) -> tuple[torch.Tensor, RowsAttention]:
        """The logits (rows, vocabulary) after each prompt, and the rows' attention."""
        units = units_of(self.trie, self.limits, skip=self.skip)
        kept = KeptTokens(self.trie.n_tokens - self.skip)
        logits: list[torch.Tensor] = []
        self.cache.path = None
        for one in passes(units, self.limits, ends_in):
            attention = PathAttention(one.units, self.cache, kept)
            rows, _ = one.ends()
            logits.append(self.model.logits(one.tokens, self.model.positions(one), rows, attention))
            kept.n_filled += len(one.tokens)
            self.advance(len(one.tokens))
        roots = self.trie.roots
        self.cache.path = roots[0].tokens if len(roots) == 1 else None
        attention_of_rows = RowsAttention.after_prefill(
            self.layout, self.cache, kept, self.max_tokens
        )
        return torch.cat(logits)[torch.from_numpy(self.place_of_row)], attention_of_rows

    def _already_there(self) -> int:
        """Tokens of the common beginning that the cache still holds."""
        roots = self.trie.roots
        if self.cache.path is None or len(roots) != 1:
            return 0
        shared = shared_length(self.cache.path, roots[0].tokens)
        # What ends with the common beginning needs the logits of its last token.
        return min(shared, len(roots[0].tokens) - int(roots[0].ends is not None))

    def _choose(self, live: list[_Row], logits: torch.Tensor) -> Iterator[Continued]:
        largest, most_probable = logits.max(dim=-1)
        if bool(largest.isnan().any()):
            raise NaNLogitsError(live[int(largest.isnan().nonzero()[0])].index)
        for place, (row, token) in enumerate(zip(live, most_probable.tolist(), strict=True)):
            if row.is_complete:
                continue
            pick = row.prompt.pick
            row.take(token if pick is None else pick(logits[place].float(), row.generated))
            if row.is_complete:
                yield Continued(row.index, row.generated)
