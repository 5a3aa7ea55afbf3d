"""Token sequences as a radix trie: what several prompts share is one node.

Sequences are sorted; nodes are listed in preorder, so that everything below a node lies beside it
and a walk over the list is depth-first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]


@dataclass(eq=False)
class Node:
    """Tokens that the same sequences share.

    Attributes:
        tokens: (n,) token ids, n > 0.
        start: how many tokens lie before them on the path from the root.
        parent: the node before, None where the path begins.
        children: the nodes after, in sorted order.
        ends: which of the trie's sequences ends here, None if none does.
        subtree_tokens: tokens of this node and of all below.
        n_ends: sequences that end here or below.
    """

    tokens: Tokens
    start: int
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    ends: int | None = None
    subtree_tokens: int = 0
    n_ends: int = 0

    @property
    def end(self) -> int:
        """Tokens on the path up to here, these included."""
        return self.start + len(self.tokens)


@dataclass(frozen=True)
class Trie:
    """A radix trie of distinct, non-empty token sequences.

    Attributes:
        sequences: sorted, each once.
        nodes: in preorder.
        end_of: the node in which a sequence ends, by the sequence's place in `sequences`.
    """

    sequences: list[Tokens]
    nodes: list[Node]
    end_of: list[Node]

    @property
    def roots(self) -> list[Node]:
        return [node for node in self.nodes if node.parent is None]

    @property
    def n_tokens(self) -> int:
        """Distinct tokens: what has to be computed, each once."""
        return sum(len(node.tokens) for node in self.nodes)


def trie_order(sequences: Sequence[Tokens]) -> list[int]:
    """The places of `sequences` in the order in which shared prefixes lie together."""
    # Big-endian bytes of non-negative integers compare like the integers themselves.
    keys = [sequence.astype(">u4").tobytes() for sequence in sequences]
    return sorted(range(len(sequences)), key=keys.__getitem__)


def build_trie(sequences: Sequence[Tokens]) -> tuple[Trie, list[int]]:
    """The trie of some sequences, and each one's place in `Trie.sequences`.

    Raises:
        ValueError: an empty sequence.

    Example:
        >>> trie, places = build_trie([np.array(s, np.int32) for s in ([1, 2, 3], [1, 2], [7])])
        >>> [node.tokens.tolist() for node in trie.nodes], places
        ([[1, 2], [3], [7]], [1, 0, 2])
    """
    distinct: list[Tokens] = []
    shared: list[int] = []
    places = [0] * len(sequences)
    for index in trie_order(sequences):
        sequence = sequences[index]
        if not len(sequence):
            raise ValueError("a sequence without tokens has no place in a trie")
        common = shared_length(distinct[-1], sequence) if distinct else 0
        if not distinct or common < max(len(sequence), len(distinct[-1])):
            distinct.append(sequence)
            shared.append(common)
        places[index] = len(distinct) - 1
    return _linked(distinct, shared), places


def shared_length(one: Tokens, other: Tokens) -> int:
    """How many tokens two sequences share from their beginning on."""
    n = min(len(one), len(other))
    differing = np.flatnonzero(one[:n] != other[:n])
    return int(differing[0]) if len(differing) else n


def _linked(sequences: list[Tokens], shared: list[int]) -> Trie:
    """Nodes from sorted sequences and the length that each shares with the one before."""
    tops: list[Node] = []
    path: list[Node] = []
    end_of: list[Node] = []
    for place, (sequence, common) in enumerate(zip(sequences, shared, strict=True)):
        below: Node | None = None
        while path and path[-1].end > common:
            below = path.pop()
        siblings = path[-1].children if path else tops
        depth = path[-1].end if path else 0
        if below is not None and common > depth:
            upper = Node(sequence[depth:common], depth, below.parent, [below])
            siblings[-1] = upper
            below.tokens, below.start, below.parent = below.tokens[common - depth :], common, upper
            path.append(upper)
            siblings, depth = upper.children, common
        leaf = Node(sequence[depth:], depth, path[-1] if path else None, ends=place)
        siblings.append(leaf)
        path.append(leaf)
        end_of.append(leaf)
    nodes = _preorder(tops)
    for node in reversed(nodes):
        node.subtree_tokens = len(node.tokens) + sum(c.subtree_tokens for c in node.children)
        node.n_ends = int(node.ends is not None) + sum(c.n_ends for c in node.children)
    return Trie(sequences, nodes, end_of)


def _preorder(tops: list[Node]) -> list[Node]:
    nodes: list[Node] = []
    waiting = tops[::-1]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting.extend(reversed(node.children))
    return nodes
