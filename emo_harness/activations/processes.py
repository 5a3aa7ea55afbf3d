"""Several processes that make one store: who makes what, and waiting for each other by files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from emo_harness.errors import UserError

POLL_S = 0.2
# Without any new shard for so long, or for so many times as the longest so far, one has died.
STALLED_S = 900.0
STALLED_TIMES = 20


@dataclass(frozen=True)
class Processes:
    """This process among those that `accelerate launch` started.

    Attributes:
        rank: of this one, from 0.
        n: how many there are.
        local_rank: among those on this machine: the number of its accelerator.
    """

    rank: int = 0
    n: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> Processes:
        """As RANK, WORLD_SIZE and LOCAL_RANK say; one alone where they say nothing."""
        rank, n, local = (
            int(os.environ.get(name) or default)
            for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        return cls(rank, n, local)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def makes(self, shard: int) -> bool:
        """Whether a shard is this process's to make."""
        return shard % self.n == self.rank

    def own_device(self, device: str | None) -> str | None:
        """What a user named; of several processes each has its own accelerator."""
        if self.n == 1 or device not in (None, "cuda"):
            return device
        import torch

        return f"cuda:{self.local_rank}" if torch.cuda.is_available() else device


def wait_until(n_missing: Callable[[], int], what: str, longest_s: float) -> None:
    """Wait until other processes have left nothing missing.

    Args:
        n_missing: how much is missing now.
        what: is awaited, for the message.
        longest_s: that one of them takes, as far as known.

    Raises:
        UserError: nothing has come for a long time.
    """
    patience_s = max(STALLED_S, STALLED_TIMES * longest_s)
    before, since = n_missing(), time.monotonic()
    while before:
        time.sleep(POLL_S)
        left = n_missing()
        if left != before:
            before, since = left, time.monotonic()
        elif time.monotonic() - since > patience_s:
            raise UserError(
                f"waiting for {what} of other processes",
                found=f"{left} missing, and none has come for {patience_s:.0f} s",
                expected="every process to make its part",
                fix="see why another process ended; the same command goes on with what is missing",
            )
