"""Packing: every prompt sees exactly its own tokens, at its own positions."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from emo_harness.demo.packing import batch_rows, pack_row

sequences_strategy = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=7), min_size=1, max_size=6
)


@given(sequences_strategy)
def test_a_path_spells_its_sequence_and_is_all_its_last_token_sees(
    sequences: list[list[int]],
) -> None:
    row = pack_row(sequences)
    visible = batch_rows([row], pad_id=9).visible[0, 0]
    for sequence, path in zip(sequences, row.paths, strict=True):
        assert row.token_ids[path].tolist() == sequence
        assert row.depths[path].tolist() == list(range(len(sequence)))
        for length in range(1, len(sequence) + 1):
            seen = np.flatnonzero(visible[path[length - 1]].numpy())
            assert seen.tolist() == path[:length].tolist()


@given(sequences_strategy)
def test_common_beginnings_are_stored_once(sequences: list[list[int]]) -> None:
    prefixes = {tuple(s[:length]) for s in sequences for length in range(1, len(s) + 1)}
    assert len(pack_row(sequences).token_ids) == len(prefixes)


def test_padding_sees_itself_alone_and_is_seen_by_nobody() -> None:
    batch = batch_rows([pack_row([[1, 2, 3]]), pack_row([[4]])], pad_id=9)
    assert batch.token_ids.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert torch.equal(batch.visible[1, 0], torch.eye(3, dtype=torch.bool))
