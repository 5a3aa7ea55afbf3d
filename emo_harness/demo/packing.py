"""Many prompts in one row: a trie of token sequences, laid out depth first, and its attention mask.

Prompts that share their first tokens (one question under several arms) share those positions. A
token sees itself and its ancestors and has its depth as position id, so each prompt gets exactly
what it would get alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class PackedRow:
    """A trie of `n_nodes` tokens.

    token_ids, depths: (n_nodes,), int64; `depths` are position ids.
    ends: (n_nodes,), int64; node j's descendants are the nodes j + 1 to ends[j] - 1.
    paths: per sequence, in the order given, the nodes of its tokens.
    """

    token_ids: np.ndarray
    depths: np.ndarray
    ends: np.ndarray
    paths: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class PackedBatch:
    """Rows padded to one length.

    token_ids, depths: (n_rows, n_nodes), int64.
    visible: (n_rows, 1, n_nodes, n_nodes), bool; [r, 0, i, j] is whether token i sees token j.
    """

    token_ids: torch.Tensor
    depths: torch.Tensor
    visible: torch.Tensor


def pack_row(sequences: Sequence[Sequence[int]]) -> PackedRow:
    """The trie of token sequences, shared from the first token on as far as they agree."""
    order = sorted(range(len(sequences)), key=lambda index: list(sequences[index]))
    token_ids: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    paths: list[np.ndarray] = [np.empty(0, np.int64)] * len(sequences)
    path: list[int] = []
    for index in order:
        tokens = sequences[index]
        shared = 0
        while shared < min(len(path), len(tokens)) and token_ids[path[shared]] == tokens[shared]:
            shared += 1
        for node in path[shared:]:
            ends[node] = len(token_ids)
        del path[shared:]
        for token in tokens[shared:]:
            depths.append(len(path))
            path.append(len(token_ids))
            token_ids.append(token)
            ends.append(0)
        paths[index] = np.array(path, np.int64)
    for node in path:
        ends[node] = len(token_ids)
    return PackedRow(
        np.array(token_ids, np.int64),
        np.array(depths, np.int64),
        np.array(ends, np.int64),
        tuple(paths),
    )


def batch_rows(rows: Sequence[PackedRow], pad_id: int) -> PackedBatch:
    """Pad rows on the right to the longest; a padding token sees itself alone."""
    n_nodes = max(len(row.token_ids) for row in rows)
    token_ids = np.full((len(rows), n_nodes), pad_id, np.int64)
    depths = np.zeros((len(rows), n_nodes), np.int64)
    ends = np.tile(np.arange(1, n_nodes + 1), (len(rows), 1))
    for index, row in enumerate(rows):
        filled = len(row.token_ids)
        token_ids[index, :filled] = row.token_ids
        depths[index, :filled] = row.depths
        ends[index, :filled] = row.ends
    node = torch.arange(n_nodes)
    visible = (node[None, None, :] <= node[None, :, None]) & (
        node[None, :, None] < torch.from_numpy(ends)[:, None, :]
    )
    return PackedBatch(torch.from_numpy(token_ids), torch.from_numpy(depths), visible[:, None])
