"""Sets of token sequences: mixed lengths, prefixes of each other, equal ones, none in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from emo_harness.prefix import Limits, Tokens


def as_tokens(ids: Sequence[int]) -> Tokens:
    return np.array(ids, np.int32)


def prefixes(sequences: Sequence[Sequence[int]]) -> set[tuple[int, ...]]:
    """What a trie's tokens are, one by one: every distinct path from the root."""
    return {tuple(s[:length]) for s in sequences for length in range(1, len(s) + 1)}


def spread(n_tokens: int, seed: int, vocabulary: int, lowest: int = 2) -> list[int]:
    return np.random.default_rng(seed).integers(lowest, vocabulary, n_tokens).tolist()


@st.composite
def branching(draw: st.DrawFn, *, vocabulary: int = 96, longest: int = 40) -> list[list[int]]:
    """Up to ten sequences that branch off each other at any place, in any order.

    A letter stands for a run of one to seven tokens, so that few letters make nodes of all sizes.
    """
    runs = draw(st.lists(st.integers(1, 7), min_size=4, max_size=4))
    words = [spread(n, seed, vocabulary) for seed, n in enumerate(runs)]
    letters = st.lists(st.integers(0, 3), min_size=1, max_size=7)
    spelled = draw(st.lists(letters, min_size=1, max_size=10))
    cuts = draw(st.lists(st.integers(0, 6), min_size=len(spelled), max_size=len(spelled)))
    sequences = []
    for letters_of_one, cut in zip(spelled, cuts, strict=True):
        whole = [token for letter in letters_of_one for token in words[letter]]
        sequences.append(whole[: max(1, len(whole) - cut)][:longest])
    return sequences


any_limits = st.builds(
    Limits,
    pass_tokens=st.integers(1, 30),
    tree_tokens=st.integers(1, 30),
    wanted=st.integers(1, 30),
    rows=st.integers(1, 12),
)
SMALLEST = Limits(pass_tokens=1, tree_tokens=1, wanted=1, rows=1)
