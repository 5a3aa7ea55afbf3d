"""What tensors hold while something runs: their bytes, now and at most."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts storages that operations make while it is active, until each is freed.

    What a kernel takes and gives back within one operation is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        # A view shares its storage with what it views; a result that is an argument, too.
        known = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(found):
            if storage._cdata not in known:
                known.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, storage.nbytes()).atexit = False
        self.peak = max(self.peak, self.now)
        return found

    def _freed(self, n_bytes: int) -> None:
        self.now -= n_bytes


def _storages(nested: Any) -> list[torch.UntypedStorage]:
    return [x.untyped_storage() for x in tree_leaves(nested) if isinstance(x, torch.Tensor)]
