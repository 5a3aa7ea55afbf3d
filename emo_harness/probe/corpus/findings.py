"""Findings: what a lint has to say about a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from emo_harness.errors import quoted

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that a lint found.

    Attributes:
        level: an error makes labels wrong; a warning is a confound or a leak to know about when
            numbers are read; a note is a property that the protocols take care of.
        check: the lint's name.
        where: the file, without its suffix.
        message: one sentence.
        entries: the words or templates it is about, all of them.
    """

    level: Level
    check: str
    where: str
    message: str
    entries: tuple[str, ...] = ()

    def __str__(self) -> str:
        examples = f": {quoted(self.entries, 5)}" if self.entries else ""
        return f"{self.level}: {self.where}: {self.message}{examples}"


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then warnings, then notes; else as they came."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
