"""Boards: what may be compared side by side, the rest of the report being grouped by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from emo_harness.report.claims import FamilyClaim
from emo_harness.report.contents import ReportContents
from emo_harness.report.effect_table import ALL_SUBTASKS, EffectRow
from emo_harness.report.placed import placement_title

Key = tuple[str, str, str, str, str, str]
CONTROLS = {"none": "over no image", "grey": "over a grey image"}
MODES = {"zeroshot": "zero-shot", "mc": "mc (log-likelihood)", "cot": "cot (worked examples)"}


@dataclass(frozen=True)
class Board:
    """One benchmark, mode, placement and family, with every model that was asked it.

    Attributes:
        title: what it is; `short` leaves out what all boards of the report have in common.
        rows: its primary rows: those by which the benchmark is reported.
    """

    title: str
    short: str
    claims: tuple[FamilyClaim, ...]
    rows: tuple[EffectRow, ...]

    @property
    def family(self) -> str:
        return self.claims[0].family

    @property
    def is_decoded(self) -> bool:
        """Whether its stimuli were decoded: these are shown by layer, in a section of their own."""
        return any(row.decoded_kind for row in self.rows if row.kind == "stimulus")

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(claim.label for claim in self.claims)

    def whole(self, label: str, *kinds: str) -> list[EffectRow]:
        """A model's rows of these kinds on all questions together."""
        return whole([row for row in self.rows if row.label == label and row.kind in kinds])

    def by_subtask(self, label: str, kind: str) -> list[EffectRow]:
        """A model's rows of a kind on single subtasks; none where there is but one."""
        own = [row for row in self.rows if row.label == label and row.kind == kind]
        apart = [row for row in own if row.subtask != ALL_SUBTASKS]
        return apart if len(apart) < len(own) else []


def boards(contents: ReportContents) -> list[Board]:
    """All boards, in the order of the claims."""
    claims: dict[Key, list[FamilyClaim]] = {}
    for claim in contents.claims:
        claims.setdefault(_key(claim), []).append(claim)
    rows: dict[Key, list[EffectRow]] = {key: [] for key in claims}
    for row in contents.rows:
        if not row.primary:
            continue
        for key in [_key(row)] if row.kind != "placebo" else _asked_like(row, claims):
            if key in rows:
                rows[key].append(row)
    differing = [i for i in range(6) if len({key[i] for key in claims}) > 1]
    return [
        Board(
            title=_title(own, range(6)),
            short=_title(own, differing),
            claims=tuple(own),
            rows=tuple(rows[key]),
        )
        for key, own in claims.items()
    ]


def _key(item: FamilyClaim | EffectRow) -> Key:
    return (*item.board, item.family)


def _asked_like(row: EffectRow, keys: dict[Key, list[FamilyClaim]]) -> list[Key]:
    """Placebos were asked beside every family of their task."""
    return [key for key in keys if key[:-1] == _key(row)[:-1]]


def _title(claims: Sequence[FamilyClaim], parts: Sequence[int]) -> str:
    benchmark, mode, _, asked, control, family = _key(claims[0])
    words = {
        0: benchmark,
        1: MODES.get(mode, mode),
        2: placement_title(claims),
        5: family,
    }
    if control:
        words[4] = CONTROLS.get(control, control)
    if 3 in parts and asked != family:
        words[3] = f"asked as {asked}"
    return " · ".join(words[i] for i in sorted(words) if i in parts)


def whole(rows: Sequence[EffectRow]) -> list[EffectRow]:
    """Those on all questions together; all of them where there is but one subtask."""
    together = [row for row in rows if row.subtask == ALL_SUBTASKS]
    return together or list(rows)


def typical_half_widths(rows: Sequence[EffectRow | FamilyClaim]) -> list[float]:
    """Half the width of each row's interval, in pp."""
    return [
        (row.gain_high_pp - row.gain_low_pp) / 2 for row in rows if not math.isnan(row.gain_low_pp)
    ]
