"""What belongs on one board: the single definition of when claims stand beside each other."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Asked(Protocol):
    """Scores of one task: what was asked, and how."""

    @property
    def benchmark(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def placement(self) -> str: ...
    @property
    def family(self) -> str: ...


class BoardKey(NamedTuple):
    """One benchmark, mode, placement, and family of the task that was run."""

    benchmark: str
    mode: str
    placement: str
    asked: str

    @classmethod
    def of(cls, scores: Asked) -> BoardKey:
        return cls(scores.benchmark, scores.mode, scores.placement, scores.family)
