"""Log-probabilities of continuations, every token that prompts share computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from emo_harness.prefix.limits import Limits
from emo_harness.prefix.packed_model import PackedModel
from emo_harness.prefix.path_cache import PathCache
from emo_harness.prefix.prefill import Pass, PathAttention, passes
from emo_harness.prefix.trie import Node, Tokens, Trie, build_trie
from emo_harness.prefix.units import Unit, units_of


class NaNLogitsError(ArithmeticError):
    """The model gave NaN; `index` is of a question where it showed, perhaps not the first."""

    def __init__(self, index: int) -> None:
        super().__init__(f"NaN among the logits of question {index}")
        self.index = index


@dataclass(frozen=True)
class Continuation:
    """What is to be scored.

    Attributes:
        tokens: (n,) the prompt and the continuation without its last token.
        targets: (c,) the continuation, 0 < c <= n: predicted by the last c of `tokens`.
    """

    tokens: Tokens
    targets: Tokens


@dataclass(frozen=True)
class Score:
    """A scored continuation.

    Attributes:
        index: which of the questions it answers.
        log_probability: of the continuation, in nats.
        is_greedy: whether each of its tokens is the most probable one.
    """

    index: int
    log_probability: float
    is_greedy: bool


@dataclass(frozen=True)
class _Asked:
    """Targets of one question that tokens of one node predict.

    Attributes:
        first: the node's token that predicts the first of them.
        slots: where their answers go.
    """

    first: int
    slots: range


def score(
    model: PackedModel,
    questions: Sequence[Continuation],
    limits: Limits,
    *,
    softmax_dtype: torch.dtype | None = None,
    advance: Callable[[int], None] = lambda n_tokens: None,
) -> Iterator[Score]:
    """Score continuations, in the order in which they become known.

    Args:
        model: the model.
        questions: what to score; they may be equal, or prefixes of each other.
        limits: how much to compute together.
        softmax_dtype: of the log-softmax; None for the logits' own.
        advance: told the tokens of each pass.

    Raises:
        NaNLogitsError: the model gave NaN.
    """
    if not questions:
        return
    trie, places = build_trie([question.tokens for question in questions])
    slots = _Slots(questions, trie, places)
    if max(len(question.targets) for question in questions) > limits.wanted:
        limits = replace(limits, pass_tokens=min(limits.pass_tokens, limits.wanted))
    cache = PathCache(limits.capacity(max(len(s) for s in trie.sequences)))
    for one in passes(units_of(trie, limits), limits, slots.n_wanted):
        rows, into = slots.wanted(one)
        attention = PathAttention(one.units, cache)
        logits = model.logits(one.tokens, model.positions(one), rows, attention)
        slots.answer(into, logits, softmax_dtype)
        advance(len(one.tokens))
        yield from slots.complete(one)


class _Slots:
    """One slot for every target token of every question."""

    def __init__(
        self, questions: Sequence[Continuation], trie: Trie, places: Sequence[int]
    ) -> None:
        ends = np.cumsum([0, *(len(question.targets) for question in questions)])
        self._slots = [range(a, b) for a, b in pairwise(ends.tolist())]
        self._targets = torch.from_numpy(
            np.concatenate([question.targets for question in questions]).astype(np.int64)
        )
        self._log_probabilities = torch.empty(0)
        self._is_greedy = np.zeros(int(ends[-1]), dtype=bool)
        self._asked: dict[Node, list[_Asked]] = defaultdict(list)
        self._ending: dict[Node, list[int]] = defaultdict(list)
        for index, place in enumerate(places):
            node = trie.end_of[place]
            self._ending[node].append(index)
            slots = self._slots[index]
            while slots:
                here = slots[-len(node.tokens) :]
                self._asked[node].append(_Asked(len(node.tokens) - len(here), here))
                slots = slots[: -len(here)]
                if slots and node.parent is None:
                    raise ValueError(f"continuation {index} has more targets than tokens")
                node = node.parent or node

    def n_wanted(self, unit: Unit) -> int:
        """At most how many of a unit's tokens predict targets."""
        found = 0
        for piece in unit.pieces:
            asked = self._asked.get(piece.node, ())
            found += min(len(piece), sum(len(one.slots) for one in asked))
        return found

    def wanted(self, one: Pass) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
        """Rows of a pass whose logits are needed, and (place among these, slot) of each target."""
        pairs: list[tuple[int, int]] = []
        before = 0
        for piece in one.pieces:
            for asked in self._asked.get(piece.node, ()):
                for token, slot in enumerate(asked.slots, asked.first):
                    if piece.first <= token < piece.last:
                        pairs.append((before + token - piece.first, slot))
            before += len(piece)
        rows, places = np.unique([row for row, _ in pairs], return_inverse=True)
        slots = [slot for _, slot in pairs]
        return rows.astype(np.int64), list(zip(places.tolist(), slots, strict=True))

    def answer(
        self, into: list[tuple[int, int]], logits: torch.Tensor, dtype: torch.dtype | None
    ) -> None:
        """Fill slots from the logits (m, vocabulary) of the wanted rows."""
        if not into:
            return
        rows = torch.tensor([row for row, _ in into], device=logits.device)
        slots = torch.tensor([slot for _, slot in into])
        targets = self._targets[slots].to(logits.device)
        log_probabilities = F.log_softmax(logits, dim=-1, dtype=dtype)
        found = log_probabilities[rows, targets].cpu()
        if not len(self._log_probabilities):
            self._log_probabilities = torch.empty(len(self._is_greedy), dtype=found.dtype)
        self._log_probabilities[slots] = found
        # Of log-probabilities, not of logits: in half precision their ties are not the same.
        most_probable = log_probabilities.argmax(dim=-1)[rows]
        self._is_greedy[slots.numpy()] = (most_probable == targets).cpu().numpy()

    def complete(self, one: Pass) -> Iterator[Score]:
        """The questions whose last token was in a pass."""
        for piece in one.pieces:
            for index in self._ending.pop(piece.node, ()) if piece.is_end else ():
                slots = self._slots[index]
                found = self._log_probabilities[slots.start : slots.stop]
                total = float(found.sum())
                if np.isnan(total):
                    raise NaNLogitsError(index)
                yield Score(index, total, bool(self._is_greedy[slots.start : slots.stop].all()))
