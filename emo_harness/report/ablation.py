"""Ablation views: gain against a factor in which the runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emo_harness.report.claims import FamilyClaim

# Factor to the settings that change along with it.
FACTORS = {
    "temperature": ("temperature", "do_sample", "repeats"),
    "num_fewshot": ("num_fewshot",),
    "placement": (),
}


@dataclass(frozen=True)
class AblationRow:
    """A family's gain at one value of one factor.

    Attributes:
        factor: `temperature`, `num_fewshot` or `placement`.
        series: what stays the same: model, benchmark, mode, family, other settings.
        value: the factor's value; `position` orders values (the number itself where it is one).
        within_sd_pp: standard deviation of scores over repeats of a question, percentage points;
            NaN without repeats.
    """

    factor: str
    series: str
    family: str
    value: str
    position: float
    n_questions: int
    gain_pp: float
    gain_low_pp: float
    gain_high_pp: float
    within_sd_pp: float


def ablations(claims: Iterable[FamilyClaim]) -> list[AblationRow]:
    """Rows of every factor in which claims, alike in the rest, differ."""
    claims = list(claims)
    return [row for factor in FACTORS for row in _rows(factor, claims)]


def _rows(factor: str, claims: list[FamilyClaim]) -> list[AblationRow]:
    loose: dict[tuple[str, ...], list[FamilyClaim]] = {}
    for claim in claims:
        if _value(factor, claim):
            loose.setdefault(_alike(claim, factor, FACTORS[factor]), []).append(claim)
    series: dict[tuple[str, ...], dict[str, FamilyClaim]] = {}
    for key, members in loose.items():
        values = [_value(factor, claim) for claim in members]
        # What else changed with the factor tells series apart where a value occurs twice.
        twice = len(set(values)) < len(values)
        for value, claim in zip(values, members, strict=True):
            own = _alike(claim, factor, FACTORS[factor][:1]) if twice else key
            series.setdefault(own, {})[value] = claim
    varied = {key: by_value for key, by_value in series.items() if len(by_value) > 1}
    rows = []
    for key, by_value in varied.items():
        ordered = sorted(by_value, key=lambda v: (_number(v, float("inf")), v))
        rows += [
            AblationRow(
                factor=factor,
                series=_name(key, varied),
                family=claim.family,
                value=value,
                position=_number(value, float(number)),
                n_questions=claim.n_questions,
                gain_pp=claim.gain_pp,
                gain_low_pp=claim.gain_low_pp,
                gain_high_pp=claim.gain_high_pp,
                within_sd_pp=claim.within_sd_pp,
            )
            for number, (value, claim) in enumerate((v, by_value[v]) for v in ordered)
        ]
    return rows


def _value(factor: str, claim: FamilyClaim) -> str:
    if factor == "placement":
        return claim.placement
    return str(json.loads(claim.settings).get(factor, ""))


def _alike(claim: FamilyClaim, factor: str, left_out: Sequence[str]) -> tuple[str, ...]:
    settings = json.loads(claim.settings)
    rest = sorted(f"{k}={v}" for k, v in settings.items() if k not in left_out)
    placement = "" if factor == "placement" else claim.placement
    return (
        claim.model,
        claim.benchmark,
        claim.mode,
        claim.asked,
        claim.family,
        placement,
        *rest,
    )


def _name(key: tuple[str, ...], others: Iterable[tuple[str, ...]]) -> str:
    """The model and whatever of the key is not common to all series."""
    keys = list(others)
    common = set(keys[0]).intersection(*keys[1:])
    told = [part for part in dict.fromkeys(key[1:]) if part and part not in common]
    return " · ".join([key[0], *told])


def _number(text: str, otherwise: float) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise
