"""Series: meta prompts of one source over the layers, and the controls beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emo_harness.runs import RunArm
from emo_harness.runs.settings import plain_name
from emo_harness.stimuli import Decoding

META = "meta"
# In the order in which they are shown.
CONTROLS = ("random", "neutral", "permuted", "shuffled")
_Key = tuple[object, ...]


@dataclass(frozen=True)
class DecodedSeries:
    """What was decoded alike at several layers: one row of the paper's figure, so to say.

    Attributes:
        head: one of its decodings; all but layer, text and draw are equal in all.
        columns: of the meta prompts among the run's arms, by layer, the first layer first.
        controls: of each kind's arms by layer, one or more (draws) each.
    """

    head: Decoding
    columns: Mapping[int, int]
    controls: Mapping[str, Mapping[int, tuple[int, ...]]]

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.columns)

    @property
    def decoded_in(self) -> str:
        """The model's name, without the path to it."""
        return plain_name(self.head.model)

    @property
    def name(self) -> str:
        """The source; with the stimulus where a single one was decoded."""
        head = self.head
        if head.vector == "contrast":
            return head.source
        return f"{head.source} {head.vector}"

    @property
    def how(self) -> str:
        """Where it was read and how it was decoded, in words; see `how_told`."""
        return how_told(self.head.site, self.head.pooling, self.head.decoder)


POOLING = {
    "content": "last content token",
    "mean": "mean over the stimulus's tokens",
    "positions": "position by position",
}


def how_told(site: str, pooling: str, decoder: str) -> str:
    """Where vectors were read, and how they became words."""
    return f"{site}, {POOLING.get(pooling, pooling)}, {decoder}"


def series_of(arms: Sequence[RunArm]) -> list[DecodedSeries]:
    """All series of a run, in the order of their first arm.

    A control stands beside the meta prompts that it names and that were decoded in the same way; a
    control of the family's vector also stands beside the family's single stimuli where these have
    none, and the neutral placebos stand beside all.
    """
    metas: dict[_Key, dict[int, int]] = {}
    for column, arm in enumerate(arms):
        if arm.kind == "stimulus" and arm.decoded is not None and arm.decoded.kind == META:
            _first_free(metas, (*_how(arm.decoded), arm.decoded.source, arm.decoded.vector), arm)[
                arm.decoded.layer
            ] = column
    return [
        DecodedSeries(
            head,
            dict(sorted(columns.items())),
            {kind: found for kind in CONTROLS if (found := _controls(arms, head, kind))},
        )
        for columns in metas.values()
        if (head := arms[next(iter(columns.values()))].decoded) is not None
    ]


def _first_free(metas: dict[_Key, dict[int, int]], key: _Key, arm: RunArm) -> dict[int, int]:
    """The series that the arm belongs to; another one where its layer is taken."""
    layer = arm.decoded.layer if arm.decoded else -1
    number = 0
    while layer in metas.get((*key, number), {}):
        number += 1
    return metas.setdefault((*key, number), {})


def _controls(arms: Sequence[RunArm], head: Decoding, kind: str) -> dict[int, tuple[int, ...]]:
    """Columns by layer of the controls of a kind."""
    found: dict[bool, dict[int, list[int]]] = {True: {}, False: {}}
    for column, arm in enumerate(arms):
        made = arm.decoded
        if made is None or made.kind != kind or _how(made) != _how(head):
            continue
        if kind != "neutral" and made.control_of not in (None, head.source):
            continue
        own = made.vector == head.vector or kind == "neutral"
        found[own].setdefault(made.layer, []).append(column)
    chosen = found[True] or found[False]
    return {layer: tuple(columns) for layer, columns in sorted(chosen.items())}


def _how(made: Decoding) -> _Key:
    return (made.model, made.model_id, made.site, made.pooling, made.decoder)
