"""Depth: what meta prompts and their controls do to scores, layer by layer."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emo_harness.effects import (
    MARGIN_PP,
    UNKNOWN,
    Gain,
    Trend,
    benjamini_hochberg,
    holm,
    layer_contrasts,
    layer_trend,
    paired_gain,
    sign_flip_test,
    trend_word,
    united,
)
from emo_harness.report.board_key import BoardKey
from emo_harness.report.decoded.series import DecodedSeries, series_of
from emo_harness.report.groups import Floats, Group
from emo_harness.report.scope import Scope, scopes_of
from emo_harness.runs import ArmScores, RunArm
from emo_harness.runs.settings import plain_name

SEED = 0
NAN = float("nan")
N_FLIPS = 9_999


@dataclass(frozen=True, eq=False)
class LayerRow:
    """Gains on all questions together, one per layer of the series.

    Attributes:
        kind: `meta`, or the control's kind.
        arms: ids of the arms that each layer's gain averages over (draws of a random control).
        gains: over control; `UNKNOWN` where there is no such arm.
        q: (L,) Benjamini-Hochberg over the rows of the series together.
    """

    kind: str
    arms: tuple[tuple[str, ...], ...]
    gains: tuple[Gain, ...]
    q: Floats


@dataclass(frozen=True, eq=False)
class DecodedDepth:
    """One series asked of one model on one board.

    Attributes:
        label: the model that was asked, as in the claims.
        series: what was decoded, from which model.
        texts: the meta prompts' arms, one or more per layer.
        beside: the arms of all controls beside them.
        subtasks: those asked; a single one is not told apart from all.
        cells: (subtasks, layers) gains of the meta prompts; `cells_q` over the map.
        rows: all subtasks together, the meta prompts' first.
        trend: over layers with a text of their own; `p_holm` over the trends of the report, `word`
            what may be said.
        against_random: meta prompt minus the random vectors of its layer; `random_q` over layers.
        random_trend: trend of that difference.
        random_together: its mean over the layers that have random vectors.
        is_transfer: the texts come from another model than the one asked.
        p_random: of no difference from random vectors at any layer (signs of the layers' mean
            differences flipped); NaN without random vectors.
    """

    label: str
    board: BoardKey
    limited: bool
    series: DecodedSeries
    texts: tuple[tuple[RunArm, ...], ...]
    beside: tuple[RunArm, ...]
    subtasks: tuple[str, ...]
    cells: tuple[tuple[Gain, ...], ...]
    cells_q: Floats
    rows: tuple[LayerRow, ...]
    n_texts: int
    trend: Trend
    against_random: tuple[Gain, ...]
    random_q: Floats
    random_trend: Trend
    random_together: Gain
    p_random: float
    margin_pp: float
    is_transfer: bool
    p_holm: float = NAN
    word: str = "unknown"

    @property
    def layers(self) -> tuple[int, ...]:
        return self.series.layers

    @property
    def meta(self) -> LayerRow:
        return self.rows[0]

    def row(self, kind: str) -> LayerRow | None:
        return next((row for row in self.rows if row.kind == kind), None)


def decoded_depths(
    groups: Iterable[Group], margin_pp: float = MARGIN_PP
) -> tuple[DecodedDepth, ...]:
    """Every series of every group, by the metric and filter that the benchmark reports.

    Holm's correction runs over the trends of the whole report. What a model was asked of its own
    comes before what was decoded in another.
    """
    drafts = [
        _depth(group, scopes, series, margin_pp)
        for group in groups
        if group.head.primary and (found := series_of(group.arms))
        for scopes in [list(scopes_of(group))]
        for series in found
    ]
    adjusted = holm([draft.trend.p for draft in drafts]).tolist()
    made = [
        replace(draft, p_holm=p, word=trend_word(draft.trend, p, margin_pp))
        for draft, p in zip(drafts, adjusted, strict=True)
    ]
    return tuple(sorted(made, key=lambda depth: depth.is_transfer))


def _depth(
    group: Group, scopes: Sequence[Scope], series: DecodedSeries, margin_pp: float
) -> DecodedDepth:
    columns = list(series.columns.values())
    scores, control, strata = group.scores, group.scores[:, 0], group.strata
    by_layer = np.stack([scores[:, list(own)].mean(axis=1) for own in columns], axis=1)
    texts = tuple(tuple(group.arms[i] for i in own) for own in columns)
    units = _units(texts)
    depth = united(np.array(series.layers, dtype=np.float64), units)
    random = [
        scores[:, list(series.controls.get("random", {}).get(layer, ()))] for layer in series.layers
    ]
    against, random_q = layer_contrasts(by_layer, random, strata)
    with_random = [place for place, base in enumerate(random) if base.shape[1]]
    bases = np.stack([random[i].mean(axis=1) for i in with_random], axis=1) if with_random else None
    cells = _cells(group, scopes, columns)
    metas = united(by_layer, units)
    return DecodedDepth(
        label=group.label,
        board=group.board,
        limited=group.limited,
        series=series,
        texts=texts,
        beside=_beside(group, series),
        subtasks=tuple(member.subtask for member in group.members),
        cells=cells,
        cells_q=benjamini_hochberg([[gain.p for gain in row] for row in cells]),
        rows=_rows(group, series, columns),
        n_texts=len(set(units)),
        trend=layer_trend(metas, control, depth, _rng(group, series), strata),
        against_random=tuple(against),
        random_q=random_q,
        random_trend=layer_trend(
            by_layer[:, with_random],
            control if bases is None else bases,
            [series.layers[i] for i in with_random],
            _rng(group, series),
            strata,
        ),
        random_together=(
            UNKNOWN if bases is None else paired_gain(by_layer[:, with_random], bases, strata)
        ),
        p_random=_p_random(against, units, _rng(group, series)),
        margin_pp=margin_pp,
        is_transfer=not _is_own(group.head, series),
    )


def _is_own(asked: ArmScores, series: DecodedSeries) -> bool:
    """Whether a model was asked its own: by what stands behind both names, else by the names."""
    ids = (asked.facts.asked.identities.get("pretrained") or "", series.head.model_id or "")
    if ids[0].partition(" ")[0] == ids[1].partition(" ")[0] != "":
        return ids[0] == ids[1]
    return plain_name(asked.model) == series.decoded_in


def _units(texts: tuple[tuple[RunArm, ...], ...]) -> list[int]:
    """Numbers of the different texts, in the order of the layers."""
    told = [tuple(sorted(arm.text for arm in own)) for own in texts]
    number = {text: i for i, text in enumerate(dict.fromkeys(told))}
    return [number[text] for text in told]


def _cells(
    group: Group, scopes: Sequence[Scope], columns: list[tuple[int, ...]]
) -> tuple[tuple[Gain, ...], ...]:
    def gain(number: int, scope: Scope, own: tuple[int, ...]) -> Gain:
        if len(own) == 1:
            return scope.single(own[0]).gain
        rows = group.strata == number
        return paired_gain(group.scores[rows][:, list(own)], group.scores[rows, 0])

    apart = list(enumerate(scopes[1:] or scopes))
    return tuple(tuple(gain(number, scope, own) for own in columns) for number, scope in apart)


def _rows(
    group: Group, series: DecodedSeries, columns: list[tuple[int, ...]]
) -> tuple[LayerRow, ...]:
    by_kind: dict[str, list[tuple[int, ...]]] = {"meta": columns}
    for kind, by_layer in series.controls.items():
        by_kind[kind] = [by_layer.get(layer, ()) for layer in series.layers]
    control = group.scores[:, 0]
    gains = [
        tuple(
            paired_gain(group.scores[:, list(own)], control, group.strata) if own else UNKNOWN
            for own in members
        )
        for members in by_kind.values()
    ]
    q = benjamini_hochberg([[gain.p for gain in row] for row in gains])
    return tuple(
        LayerRow(kind, tuple(tuple(group.arms[i].id for i in own) for own in members), row, values)
        for (kind, members), row, values in zip(by_kind.items(), gains, q, strict=True)
    )


def _beside(group: Group, series: DecodedSeries) -> tuple[RunArm, ...]:
    by_layer = [columns for kind in series.controls.values() for columns in kind.values()]
    return tuple(group.arms[i] for columns in by_layer for i in columns)


def _p_random(against: list[Gain], units: list[int], rng: np.random.Generator) -> float:
    means: NDArray[np.float64] = np.array([gain.mean_pp for gain in against])
    known = ~np.isnan(means)
    by_text = united(means[known], np.array(units)[known]) if known.any() else means[known]
    return sign_flip_test(by_text, rng, N_FLIPS) if by_text.size > 1 else NAN


def _rng(group: Group, series: DecodedSeries) -> np.random.Generator:
    """The same for the same model and series, whatever else is in the report."""
    name = "/".join((group.head.model, *filter(None, group.board), series.decoded_in, series.name))
    return np.random.default_rng([SEED, zlib.crc32(name.encode("utf-8", "replace"))])
