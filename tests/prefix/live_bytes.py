"""What tensors hold while something runs: their bytes, now and at most."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts storages that operations make while it is active, until each is freed.

    What a kernel takes and gives back within one operation is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    @property
    def now(self) -> int:
        self._live = {k: one for k, one in self._live.items() if not one[0].expired()}
        return sum(n_bytes for _, n_bytes in self._live.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        known = {one.cdata for one in map(StorageWeakRef, _storages((args, kwargs)))}
        for storage in _storages(found):
            one = StorageWeakRef(storage)
            if one.cdata not in known:
                self._live[one.cdata] = (one, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return found


def _storages(nested: Any) -> list[torch.UntypedStorage]:
    return [x.untyped_storage() for x in tree_leaves(nested) if isinstance(x, torch.Tensor)]
