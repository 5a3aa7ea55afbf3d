"""Units and passes: each token once, after what it sees, within limits, seeing its ancestors."""

from __future__ import annotations

from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emo_harness.prefix import Limits, build_trie
from emo_harness.prefix.prefill import Pass, ends_in, passes
from emo_harness.prefix.units import Unit, units_of
from tests.prefix.sequences import SMALLEST, any_limits, as_tokens, branching, prefixes

sequence_sets = branching(vocabulary=9)


def paths_of(units: list[Unit]) -> list[tuple[int, ...]]:
    """For every packed token in order, the tokens on its path from the root, itself included."""
    found = []
    for unit in units:
        for piece in unit.pieces:
            node, path = piece.node, []
            while node is not None:
                path = [*node.tokens.tolist(), *path]
                node = node.parent
            found += [tuple(path[: piece.start + i + 1]) for i in range(len(piece))]
    return found


def cut(sequences: list[list[int]], limits: Limits) -> list[Unit]:
    return list(units_of(build_trie([as_tokens(s) for s in sequences])[0], limits))


@given(sequence_sets, any_limits)
def test_every_distinct_token_is_in_one_unit(sequences: list[list[int]], limits: Limits) -> None:
    paths = paths_of(cut(sequences, limits))
    assert len(paths) == len(set(paths))
    assert set(paths) == prefixes(sequences)


@given(sequence_sets, any_limits)
def test_tokens_and_positions_are_those_of_the_path(
    sequences: list[list[int]], limits: Limits
) -> None:
    units = cut(sequences, limits)
    paths = paths_of(units)
    assert list(chain.from_iterable(u.tokens.tolist() for u in units)) == [p[-1] for p in paths]
    positions = chain.from_iterable(u.positions.tolist() for u in units)
    assert list(positions) == [len(p) - 1 for p in paths]


@given(sequence_sets, any_limits)
def test_chains_and_trees_keep_their_limits(sequences: list[list[int]], limits: Limits) -> None:
    for unit in cut(sequences, limits):
        assert len(unit) <= max(limits.tree_tokens, limits.pass_tokens if unit.is_chain else 0)


@given(sequence_sets, any_limits)
def test_a_units_path_is_what_lies_before_its_first_token(
    sequences: list[list[int]], limits: Limits
) -> None:
    for unit in cut(sequences, limits):
        befores = {path[: unit.offset] for path in paths_of([unit])}
        assert len(befores) == 1
        assert unit.offset == unit.positions.min()


@given(sequence_sets, any_limits)
def test_a_units_path_is_what_earlier_units_left_in_the_buffer(
    sequences: list[list[int]], limits: Limits
) -> None:
    units = cut(sequences, limits)
    buffer: dict[int, tuple[int, ...]] = {}
    for unit in units:
        paths = paths_of([unit])
        assert [buffer[d] for d in range(unit.offset)] == [
            paths[0][: d + 1] for d in range(unit.offset)
        ]
        buffer |= {unit.offset + i: path for i, path in enumerate(paths)}


@given(sequence_sets, any_limits)
def test_a_token_sees_its_ancestors_and_itself(sequences: list[list[int]], limits: Limits) -> None:
    for unit in cut(sequences, limits):
        paths = paths_of([unit])
        sees = [[row[: len(column)] == column for column in paths] for row in paths]
        np.testing.assert_array_equal(unit.visible(), sees)


@given(sequence_sets, any_limits, st.integers(0, 12))
def test_skipped_tokens_are_the_only_ones_left_out(
    sequences: list[list[int]], limits: Limits, skip: int
) -> None:
    beginning = list(range(12))
    trie, _ = build_trie([as_tokens([*beginning, *s]) for s in sequences])
    whole = paths_of(list(units_of(trie, limits)))
    rest = paths_of(list(units_of(trie, limits, skip=skip)))
    assert set(whole) - set(rest) == {tuple(beginning[:n]) for n in range(1, skip + 1)}
    assert len(rest) == len(whole) - skip


@given(sequence_sets, any_limits)
def test_passes_hold_every_unit_once_and_keep_their_limits(
    sequences: list[list[int]], limits: Limits
) -> None:
    units = cut(sequences, limits)
    found = list(passes(units, limits, ends_in))
    assert [unit for one in found for unit in one.units] == units
    for one in found:
        n_wanted = sum(map(ends_in, one.units))
        within = len(one.tokens) <= limits.pass_tokens and n_wanted <= limits.wanted
        assert within or len(one.units) == 1


@given(sequence_sets, any_limits)
def test_every_sequence_ends_in_one_pass_at_its_last_token(
    sequences: list[list[int]], limits: Limits
) -> None:
    trie, _ = build_trie([as_tokens(s) for s in sequences])
    ends: dict[int, tuple[int, ...]] = {}
    for one in passes(units_of(trie, limits), limits, ends_in):
        rows, places = one.ends()
        paths = paths_of(list(one.units))
        assert not ends.keys() & set(places)
        ends |= {place: paths[row] for row, place in zip(rows, places, strict=True)}
        assert len(rows) == sum(map(ends_in, one.units))
    assert ends == {place: tuple(s.tolist()) for place, s in enumerate(trie.sequences)}


def test_the_smallest_limits_compute_one_token_at_a_time() -> None:
    units = cut([[1, 2, 3], [1, 2, 4], [5]], SMALLEST)
    assert [len(unit) for unit in units] == [1] * 5
    assert [len(one.tokens) for one in passes(units, SMALLEST, ends_in)] == [1] * 5


def test_small_tries_side_by_side_are_one_unit() -> None:
    units = cut([[token, 5] for token in range(6)], Limits(pass_tokens=64, tree_tokens=64))
    assert [len(unit) for unit in units] == [12]


def test_a_deep_trie_is_cut_without_recursion() -> None:
    sequences = [list(range(length)) for length in range(1, 1500)]
    units = cut(sequences, Limits(pass_tokens=64, tree_tokens=16))
    assert sum(map(len, units)) == 1499


def test_a_pass_gives_its_units_in_order() -> None:
    units = cut([[1, 2, 3], [1, 2, 4]], Limits(pass_tokens=2, tree_tokens=1))
    whole = Pass(tuple(units))
    assert whole.tokens.tolist() == [1, 2, 3, 4]
    assert whole.positions.tolist() == [0, 1, 2, 2]
    assert whole.ends() == ([2, 3], [0, 1])
