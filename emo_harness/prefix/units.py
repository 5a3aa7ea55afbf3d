"""A trie cut into units of attention, in depth-first order.

A unit is a run of packed tokens that attend to the same path of earlier tokens, all of it, and
among themselves either as one sequence (a chain) or as a small tree. Units come in depth-first
order, so the path is always what earlier units wrote, and its keys and values can live in one
buffer as long as the longest path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emo_harness.prefix.limits import Limits
from emo_harness.prefix.trie import Node, Tokens, Trie


@dataclass(frozen=True)
class Piece:
    """Some consecutive tokens of a node: all of them, unless the node is long."""

    node: Node
    first: int
    last: int

    @property
    def tokens(self) -> Tokens:
        return self.node.tokens[self.first : self.last]

    @property
    def start(self) -> int:
        return self.node.start + self.first

    @property
    def is_end(self) -> bool:
        """Whether the node's last token is among these."""
        return self.last == len(self.node.tokens)

    def __len__(self) -> int:
        return self.last - self.first


@dataclass(frozen=True)
class Unit:
    """Packed tokens with one common path before them.

    Attributes:
        pieces: in preorder. A chain has one.
        offset: tokens on the path before all of them.
    """

    pieces: tuple[Piece, ...]
    offset: int

    @property
    def is_chain(self) -> bool:
        return len(self.pieces) == 1

    @property
    def tokens(self) -> Tokens:
        return np.concatenate([piece.tokens for piece in self.pieces])

    @property
    def positions(self) -> NDArray[np.int64]:
        """(n,) how many tokens each one has before it on its own path."""
        return np.concatenate(
            [np.arange(piece.start, piece.start + len(piece)) for piece in self.pieces]
        )

    def __len__(self) -> int:
        return sum(len(piece) for piece in self.pieces)

    def visible(self) -> NDArray[np.bool_]:
        """(n, n) whether a token (row) sees another one of the unit (column)."""
        n = len(self)
        sees = np.zeros((n, n), dtype=bool)
        row = 0
        for piece in self.pieces:
            after = row + len(piece)
            sees[row:after, row:after] = np.tri(after - row, dtype=bool)
            sees[after : row + piece.node.subtree_tokens - piece.first, row:after] = True
            row = after
        return sees


def units_of(trie: Trie, limits: Limits, *, skip: int = 0) -> Iterator[Unit]:
    """Cut a trie into units.

    Args:
        trie: what is to be computed.
        limits: `tree_tokens` is the largest tree, `pass_tokens` the longest chain.
        skip: tokens at the beginning of the only root that are computed already.
    """
    yield from _units_below(trie.roots, skip, limits.tree_tokens, limits.pass_tokens)


def _units_below(
    siblings: Iterable[Node], skip: int, tree_tokens: int, chain_tokens: int
) -> Iterator[Unit]:
    # A stack of iterators instead of recursion: a trie may be as deep as its prompts are many.
    stack = [iter(list(siblings))]
    bundle: list[Node] = []
    bundled = 0
    while stack:
        node = next(stack[-1], None)
        if node is not None and not skip and bundled + node.subtree_tokens <= tree_tokens:
            bundle.append(node)
            bundled += node.subtree_tokens
            continue
        if bundle:
            yield _tree(bundle)
            bundle, bundled = [], 0
            if node is not None and node.subtree_tokens <= tree_tokens:
                bundle, bundled = [node], node.subtree_tokens
                continue
        if node is None:
            stack.pop()
            continue
        yield from _chain(node, min(skip, len(node.tokens)), chain_tokens)
        skip = max(0, skip - len(node.tokens))
        stack.append(iter(node.children))


def _tree(tops: list[Node]) -> Unit:
    pieces: list[Piece] = []
    waiting = tops[::-1]
    while waiting:
        node = waiting.pop()
        pieces.append(Piece(node, 0, len(node.tokens)))
        waiting.extend(reversed(node.children))
    return Unit(tuple(pieces), tops[0].start)


def _chain(node: Node, skip: int, chain_tokens: int) -> Iterator[Unit]:
    for first in range(skip, len(node.tokens), chain_tokens):
        piece = Piece(node, first, min(first + chain_tokens, len(node.tokens)))
        yield Unit((piece,), piece.start)
