"""What belongs on one board: the single definition of when claims stand beside each other."""

from __future__ import annotations

from collections.abc import Mapping
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
    @property
    def settings(self) -> Mapping[str, str]: ...


class BoardKey(NamedTuple):
    """One benchmark, mode, placement, and family of the task that was run.

    `control` is what control showed in a visual task, `none` or `grey`, since gains over the one
    are other numbers than gains over the other; "" in a text task.
    """

    benchmark: str
    mode: str
    placement: str
    asked: str
    control: str

    @classmethod
    def of(cls, scores: Asked) -> BoardKey:
        control = scores.settings.get("control_image", "")
        return cls(scores.benchmark, scores.mode, scores.placement, scores.family, control)
