"""The trie holds every distinct prefix once, and every sequence can be read from it again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_harness.prefix import Node, Trie, build_trie, shared_length, trie_order
from tests.prefix.sequences import as_tokens, prefixes

few_tokens = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=16)


def trie_of(sequences: list[list[int]]) -> tuple[Trie, list[int]]:
    return build_trie([as_tokens(s) for s in sequences])


def spelled(node: Node | None) -> list[int]:
    """The tokens on the path from the root to a node's end."""
    return [] if node is None else [*spelled(node.parent), *node.tokens.tolist()]


@given(few_tokens)
def test_distinct_tokens_are_the_distinct_prefixes(sequences: list[list[int]]) -> None:
    trie, _ = trie_of(sequences)
    found = []
    for node in trie.nodes:
        path = spelled(node)
        found += [tuple(path[:length]) for length in range(node.start + 1, node.end + 1)]
    assert len(found) == len(set(found)) == trie.n_tokens
    assert set(found) == prefixes(sequences)


@given(few_tokens)
def test_every_sequence_is_spelled_by_its_path(sequences: list[list[int]]) -> None:
    trie, places = trie_of(sequences)
    for sequence, place in zip(sequences, places, strict=True):
        assert trie.sequences[place].tolist() == sequence
        assert spelled(trie.end_of[place]) == sequence
        assert trie.end_of[place].ends == place


@given(few_tokens)
def test_sequences_are_sorted_and_each_is_there_once(sequences: list[list[int]]) -> None:
    trie, places = trie_of(sequences)
    assert [s.tolist() for s in trie.sequences] == sorted({tuple(s): s for s in sequences}.values())
    assert len(places) == len(sequences)
    assert [n.ends for n in trie.nodes if n.ends is not None] == list(range(len(trie.sequences)))


@given(few_tokens)
def test_nodes_are_in_preorder_and_part_where_sequences_part(sequences: list[list[int]]) -> None:
    trie, _ = trie_of(sequences)

    def walked(node: Node) -> list[Node]:
        return [node, *(below for child in node.children for below in walked(child))]

    assert [n for root in trie.roots for n in walked(root)] == trie.nodes
    for siblings in [trie.roots, *(node.children for node in trie.nodes)]:
        first_tokens = [int(node.tokens[0]) for node in siblings]
        assert first_tokens == sorted(set(first_tokens))
    for node in trie.nodes:
        assert len(node.tokens) > 0
        assert node.start == (node.parent.end if node.parent else 0)
        assert all(child.parent is node for child in node.children)
        # A node that neither branches nor ends a sequence would be one with its only child.
        assert node.ends is not None or len(node.children) >= 2
        below = walked(node)
        assert node.subtree_tokens == sum(len(n.tokens) for n in below)
        assert node.n_ends == sum(n.ends is not None for n in below)


@given(few_tokens, st.randoms(use_true_random=False))
def test_the_order_of_sequences_does_not_matter(sequences: list[list[int]], random) -> None:
    mixed = random.sample(sequences, len(sequences))
    one, other = trie_of(sequences)[0], trie_of(mixed)[0]
    assert [n.tokens.tolist() for n in one.nodes] == [n.tokens.tolist() for n in other.nodes]
    assert [n.ends for n in one.nodes] == [n.ends for n in other.nodes]


def test_a_prefix_ends_inside_and_a_duplicate_where_the_first_does() -> None:
    trie, places = trie_of([[1, 2, 3], [1, 2], [1, 2, 3], [7]])
    assert [n.tokens.tolist() for n in trie.nodes] == [[1, 2], [3], [7]]
    assert [n.ends for n in trie.nodes] == [0, 1, 2]
    assert places == [1, 0, 1, 2]


def test_sequences_with_nothing_in_common_have_a_root_each() -> None:
    trie, _ = trie_of([[token, 5, 6] for token in range(1000)])
    assert len(trie.roots) == len(trie.nodes) == 1000
    assert trie.n_tokens == 3000


def test_a_trie_may_be_as_deep_as_there_are_sequences() -> None:
    sequences = [list(range(length)) for length in range(1, 3000)]
    trie, _ = trie_of(sequences)
    assert trie.n_tokens == len(trie.nodes) == 2999


def test_token_ids_are_compared_as_numbers() -> None:
    order = trie_order([as_tokens(s) for s in ([256], [2, 9], [70_000], [2], [1])])
    assert order == [4, 3, 1, 0, 2]


@given(few_tokens)
def test_shared_length_counts_equal_tokens_from_the_beginning(sequences: list[list[int]]) -> None:
    one, other = sequences[0], sequences[-1]
    equal = [a == b for a, b in zip(one, other, strict=False)]
    expected = equal.index(False) if False in equal else len(equal)
    assert shared_length(as_tokens(one), as_tokens(other)) == expected


def test_a_sequence_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        build_trie([as_tokens([1]), np.array([], np.int32)])
