"""Series: meta prompts of one source over the layers, and the controls beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emo_harness.runs import RunArm
from emo_harness.runs.settings import plain_name
from emo_harness.stimuli import Decoding

META, EACH = "meta", "each"
# In the order in which they are shown.
CONTROLS = ("random", "neutral", "permuted", "shuffled")
_Key = tuple[object, ...]


@dataclass(frozen=True)
class DecodedSeries:
    """What was decoded alike at several layers: one row of the paper's figure, so to say.

    Attributes:
        head: one of its decodings; all but layer and text are equal in all, and the vector, where
            each is of a single stimulus.
        columns: of the meta prompts among the run's arms, by layer, the first layer first; several
            where stimuli were decoded one by one.
        controls: of each kind's arms by layer, one or more (draws) each.
    """

    head: Decoding
    columns: Mapping[int, tuple[int, ...]]
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
        """The source; with what was decoded where that was not its contrast with placebos."""
        told = {"contrast": "", "mean": " mean", EACH: ", each stimulus"}
        return f"{self.head.source}{told[what_of(self.head)]}"

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
    none, and the neutral placebos stand beside all. Stimuli decoded one by one make one series, as
    a family does; two texts of one vector and layer are of two series.
    """
    metas: dict[_Key, tuple[Decoding, dict[int, list[int]]]] = {}
    seen: Counter[_Key] = Counter()
    for column, arm in enumerate(arms):
        made = arm.decoded
        if arm.kind != "stimulus" or made is None or made.kind != META:
            continue
        text = (*_how(made), made.source, made.vector, made.layer)
        key = (*_how(made), made.source, what_of(made), seen[text])
        seen[text] += 1
        metas.setdefault(key, (made, {}))[1].setdefault(made.layer, []).append(column)
    return [
        DecodedSeries(
            head,
            {layer: tuple(own) for layer, own in sorted(columns.items())},
            {kind: found for kind in CONTROLS if (found := _controls(arms, head, kind))},
        )
        for head, columns in metas.values()
    ]


def what_of(made: Decoding) -> str:
    """What was decoded: `contrast` or `mean` of a family, or `each` of its stimuli."""
    return made.vector if made.vector in ("contrast", "mean") else EACH


def _controls(arms: Sequence[RunArm], head: Decoding, kind: str) -> dict[int, tuple[int, ...]]:
    """Columns by layer of the controls of a kind."""
    found: dict[bool, dict[int, list[int]]] = {True: {}, False: {}}
    for column, arm in enumerate(arms):
        made = arm.decoded
        if made is None or made.kind != kind or _how(made) != _how(head):
            continue
        if kind != "neutral" and made.control_of not in (None, head.source):
            continue
        own = what_of(made) == what_of(head) or kind == "neutral"
        found[own].setdefault(made.layer, []).append(column)
    chosen = found[True] or found[False]
    return {layer: tuple(columns) for layer, columns in sorted(chosen.items())}


def _how(made: Decoding) -> _Key:
    return (made.model, made.model_id, made.site, made.pooling, made.decoder)
