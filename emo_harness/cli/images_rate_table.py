"""Ratings of images at the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emo_harness.cli.tables import console, print_table
from emo_harness.report.numerals import MINUS, UNKNOWN

if TYPE_CHECKING:
    from emo_harness.rating import RatingResult

# A model that gives the nine ratings less together would rather say something else.
LITTLE_MASS = 0.5


def print_ratings(result: RatingResult) -> None:
    """Mean rating by concept, over twins, and against norms."""
    names = list(result.ratings)
    columns = ["family", "concept", "images"]
    for name in names:
        columns += [name, f"{name} over twins"]
    print_table(
        console(),
        f"Ratings from 1 to 9 by {result.model} ({result.name}, {result.method})",
        columns,
        list(_rows(result, names)),
        list(_notes(result)),
        n_left=2,
    )


def _rows(result: RatingResult, names: Sequence[str]) -> Iterator[tuple[list[str], bool]]:
    concepts = dict.fromkeys((e.family, e.concept) for e in result.entries if e.twin_of is None)
    families = dict.fromkeys(family for family, _ in concepts)
    for family in families:
        own = [concept for of, concept in concepts if of == family]
        for concept in (["(all)"] if len(own) > 1 else []) + own:
            members = [
                i
                for i, entry in enumerate(result.entries)
                if entry.family == family and concept in ("(all)", entry.concept)
            ]
            cells = [family, concept, str(len(members))]
            for name in names:
                values = result.ratings[name].expected[members]
                found = result.over_twins.get((family, concept, name))
                cells.append(_number(float(np.nanmean(values))) if _any(values) else UNKNOWN)
                cells.append(
                    UNKNOWN if found is None else _interval(found.mean, found.low, found.high)
                )
            yield cells, concept == "(all)"


def _notes(result: RatingResult) -> Iterator[str]:
    for name, found in result.norms.items():
        if found.n:
            shown = _interval(found.value, found.low, found.high, decimals=2)
            yield f"{name} against human norms: rank correlation {shown} over {found.n} images."
    if not any(found.n for found in result.norms.values()):
        yield "The set has no human norms to compare with."
    for name, rated in result.ratings.items():
        known = rated.mass[~np.isnan(rated.mass)]
        if len(known) and float(np.median(known)) < LITTLE_MASS:
            yield (
                f"{name}: the nine ratings together have a probability of {np.median(known):.2f} "
                "(median): the model would rather answer something else."
            )
        n_unread = int(np.isnan(rated.expected).sum())
        if n_unread:
            yield f"{name}: {n_unread} of {len(rated.expected)} answers name no number from 1 to 9."


def _interval(value: float, low: float, high: float, decimals: int = 1) -> str:
    if math.isnan(value):
        return UNKNOWN
    ends = "" if math.isnan(low) else f" [{_signed(low, decimals)}, {_signed(high, decimals)}]"
    return f"{_signed(value, decimals)}{ends}"


def _signed(value: float, decimals: int) -> str:
    return f"{value:+.{decimals}f}".replace("-", MINUS)


def _number(value: float) -> str:
    return f"{value:.1f}"


def _any(values: np.ndarray) -> bool:
    return bool((~np.isnan(values)).any())
