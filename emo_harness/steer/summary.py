"""What the measures of a steering come to: curves, slopes, and the test against the controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_harness.steer.controls import Kind
from emo_harness.steer.dose_response import (
    Estimate,
    anti_steered,
    interaction,
    mean_estimate,
    slopes,
    spearman,
)

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DosePoint:
    """One dose of one direction; changes are from a dose of 0.

    Attributes:
        log_odds: mean over prompts, nats.
        change: of the log-odds, with its interval over prompts.
        kl_nats: mean over prompts.
        positive, negative: mean change of log-probability of continuations of either class, nats
            per token; NaN where there are none.
        perplexity_ratio: of continuations of neutral prompts (of all where there are none),
            exp(-mean change of log-probability per token): 1.1 is a perplexity 10% higher.
        sample_value, sample_perplexity: of new continuations, mean over prompts: value of their
            words in the lexicon, and perplexity under the unsteered model; NaN where not sampled.
    """

    dose: float
    log_odds: float
    change: Estimate
    kl_nats: float
    positive: float
    negative: float
    perplexity_ratio: float
    sample_value: float
    sample_perplexity: float


@dataclass(frozen=True)
class DirectionSummary:
    """An axis or a control.

    Attributes:
        curve: by dose.
        slope: of log-odds on dose, over prompts.
        spearman: of dose and mean log-odds; 1 where every step raises them.
        anti_steered: share of prompts whose slope is below 0.
        interaction: how much more a unit of dose raises the log-probability of continuations of
            the positive class than of the negative one, nats per token; None without both classes.
        main_effect: how much it raises both alike.
        value_slope: of the new continuations' lexicon value on dose; None where not sampled.
    """

    name: str
    kind: Kind
    curve: tuple[DosePoint, ...]
    slope: Estimate
    spearman: float
    anti_steered: Estimate
    interaction: Estimate | None
    main_effect: Estimate | None
    value_slope: Estimate | None


@dataclass(frozen=True)
class Summary:
    """An axis beside its controls.

    Attributes:
        axis: what was tested.
        controls: random and orthogonal directions.
        verdicts: in words.
    """

    axis: DirectionSummary
    controls: tuple[DirectionSummary, ...]
    verdicts: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(measured: pd.DataFrame) -> Summary:
    """Sum up what `measures.measure` found."""
    found = [
        _direction(str(name), rows) for name, rows in measured.groupby("direction", sort=False)
    ]
    axis = next(one for one in found if one.kind == "axis")
    controls = tuple(one for one in found if one.kind != "axis")
    return Summary(axis, controls, tuple(_verdicts(axis, controls)))


def _direction(name: str, rows: pd.DataFrame) -> DirectionSummary:
    odds, kl, own = (
        _matrix(rows[rows["measure"] == measure])
        for measure in ("log_odds", "kl_nats", "log_probability")
    )
    doses = odds.doses
    own_slopes = slopes(doses, odds.values)
    changes = own.values - own.values[:, [int(np.flatnonzero(doses == 0)[0])]]
    tested, alike = None, None
    classed = own.poles != 0
    if {1, -1} <= set(own.poles.tolist()):
        of_classes = slopes(doses, own.values[classed])
        clusters, poles = own.clusters[classed], own.poles[classed]
        tested = interaction(of_classes, poles > 0, clusters)
        alike = mean_estimate(_means(of_classes, clusters))
    values = _matrix(rows[rows["measure"] == "sample_value"], by="cluster")
    sampled_at = {dose: place for place, dose in enumerate(values.doses.tolist())}
    perplexities = _matrix(rows[rows["measure"] == "sample_log_probability"], by="cluster")
    before = odds.values[:, int(np.flatnonzero(doses == 0)[0])]
    curve = tuple(
        DosePoint(
            dose=float(dose),
            log_odds=float(odds.values[:, place].mean()),
            change=mean_estimate(odds.values[:, place] - before),
            kl_nats=float(kl.values[:, place].mean()),
            positive=_mean(changes[own.poles > 0, place]),
            negative=_mean(changes[own.poles < 0, place]),
            perplexity_ratio=math.exp(
                -_mean(changes[own.poles == 0 if (own.poles == 0).any() else classed, place])
            ),
            sample_value=_mean(values.values[:, sampled_at[dose]])
            if dose in sampled_at
            else math.nan,
            sample_perplexity=math.exp(-_mean(perplexities.values[:, sampled_at[dose]]))
            if dose in sampled_at
            else math.nan,
        )
        for place, dose in enumerate(doses.tolist())
    )
    return DirectionSummary(
        name=name,
        kind=rows["kind"].iloc[0],
        curve=curve,
        slope=mean_estimate(own_slopes),
        spearman=spearman(doses, odds.values.mean(axis=0)),
        anti_steered=anti_steered(own_slopes),
        interaction=tested,
        main_effect=alike,
        value_slope=_slope_of(values),
    )


@dataclass(frozen=True)
class _Matrix:
    """Values (n, n_doses) of one measure, with the poles (n,) and clusters (n,) of its rows."""

    doses: Floats
    values: Floats
    poles: NDArray[np.int64]
    clusters: NDArray[np.str_]


def _matrix(rows: pd.DataFrame, by: str = "item") -> _Matrix:
    wide = rows.pivot_table(index=by, columns="dose", values="value", aggfunc="mean", dropna=False)
    first = rows.drop_duplicates(by).set_index(by).loc[wide.index]
    return _Matrix(
        wide.columns.to_numpy(np.float64),
        wide.to_numpy(np.float64),
        first["pole"].to_numpy(np.int64),
        first["cluster" if by != "cluster" else "direction"].to_numpy(np.str_),
    )


def _slope_of(values: _Matrix) -> Estimate | None:
    whole = values.values[~np.isnan(values.values).any(axis=1)]
    if len(values.doses) < 2 or not len(whole):
        return None
    return mean_estimate(slopes(values.doses, whole))


def _means(values: Floats, clusters: NDArray[np.str_]) -> Floats:
    return np.array([values[clusters == one].mean() for one in np.unique(clusters)])


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _verdicts(axis: DirectionSummary, controls: Sequence[DirectionSummary]) -> list[str]:
    told = [_of_log_odds(axis, controls), _of_interaction(axis, controls)]
    wrong = axis.anti_steered
    told.append(
        f"{wrong.value:.0%} of {wrong.n_clusters} prompts move the wrong way "
        f"({wrong.low:.0%} to {wrong.high:.0%})"
    )
    return told


def _of_log_odds(axis: DirectionSummary, controls: Sequence[DirectionSummary]) -> str:
    moves = {1: "rise with every step of dose", -1: "fall with every step of dose"}.get(
        _monotone(axis), f"do not follow dose step by step (rank correlation {axis.spearman:.2f})"
    )
    told = f"word log-odds {moves}: {axis.slope.value:+.3f} nats per unit of dose"
    if not controls:
        return told
    others = [one.slope.value for one in controls]
    beyond = abs(axis.slope.value) > max(map(abs, others))
    rising = sum(_monotone(one) == 1 for one in controls)
    # Any direction moves them in a straight line at small doses: its sign and size tell, not that.
    return (
        f"{told}, {'further' if beyond else 'no further'} than along controls "
        f"({min(others):+.3f} to {max(others):+.3f}; {rising} of {len(controls)} rise with every "
        "step)"
    )


def _monotone(direction: DirectionSummary) -> int:
    """1 where log-odds rise with every step of dose, -1 where they fall, else 0."""
    return round(direction.spearman) if abs(direction.spearman) > 1 - 1e-9 else 0


def _of_interaction(axis: DirectionSummary, controls: Sequence[DirectionSummary]) -> str:
    found = axis.interaction
    if found is None:
        return "no test: the prompts are not of two classes"
    others = [one.interaction.value for one in controls if one.interaction is not None]
    beyond = all(abs(found.value) > abs(other) for other in others)
    if math.isnan(found.p):
        outcome = "not tested: fewer than two clusters of a class"
    elif found.p > ALPHA:
        outcome = "the classes do not part beyond chance"
    elif found.value < 0:
        outcome = "the classes part, but the wrong way"
    elif not beyond:
        outcome = "the classes part, but no further than along a direction without meaning"
    else:
        outcome = "the classes part as the axis says, further than along any control"
    beside = f"; controls {min(others):+.4f} to {max(others):+.4f}" if others else ""
    return (
        f"interaction {found.value:+.4f} nats per token and unit of dose "
        f"[{found.low:+.4f}, {found.high:+.4f}], p = {found.p:.3g}{beside}: {outcome}"
    )
