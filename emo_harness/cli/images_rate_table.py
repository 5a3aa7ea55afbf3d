"""Ratings of images at the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emo_harness.cli.tables import console, print_table
from emo_harness.report.numerals import UNKNOWN, count, gain, mean

if TYPE_CHECKING:
    from emo_harness.rating import RatingResult

# Concepts beyond these are told by family alone.
MOST_CONCEPTS = 40
ALL = "(all)"


def print_ratings(result: RatingResult) -> None:
    """Mean rating by concept, over twins, and against norms."""
    names = list(result.ratings)
    columns = ["concept", "family", "images"]
    for name in names:
        columns += [name, f"{name} over twins"] if result.over_twins else [name]
    print_table(
        console(),
        f"Ratings from 1 to 9 by {result.model} ({result.name}, {result.method})",
        columns,
        list(_rows(result, names)),
        list(_notes(result)),
        n_left=2,
        least=("images",),
    )


def _rows(result: RatingResult, names: Sequence[str]) -> Iterator[tuple[list[str], bool]]:
    concepts = _concepts(result)
    for family in dict.fromkeys(family for family, _ in concepts):
        own = [concept for of, concept in concepts if of == family]
        if len(concepts) > MOST_CONCEPTS:
            own = [ALL]
        elif len(own) > 1:
            own = [ALL, *own]
        for concept in own:
            members = [
                i
                for i, entry in enumerate(result.entries)
                if entry.family == family and concept in (ALL, entry.concept)
            ]
            cells = [concept, family, count(len(members))]
            for name in names:
                values = result.ratings[name].expected[members]
                found = result.over_twins.get((family, concept, name))
                cells.append(_mean_rating(values))
                if result.over_twins:
                    cells.append(
                        mean(found.mean, found.low, found.high, found.n) if found else UNKNOWN
                    )
            yield cells, concept == ALL


def _notes(result: RatingResult) -> Iterator[str]:
    n = len(_concepts(result))
    if n > MOST_CONCEPTS:
        yield f"{count(n)} concepts: see --out or --json for each"
    untold = set(result.why_no_norms.values())
    if len(untold) == 1 and "" not in untold:
        yield f"human norms: {untold.pop()}"
    else:
        for name, found in result.norms.items():
            rank = gain(found.value, found.low, found.high, decimals=2)
            yield f"{name} against human norms: " + (
                result.why_no_norms[name] or f"rank correlation {rank} over {count(found.n)} images"
            )
    for told in result.remarks:
        yield f"warning: {told}"


def _concepts(result: RatingResult) -> list[tuple[str, str]]:
    """Family and concept of the images that are no twins, in their order."""
    return list(dict.fromkeys((e.family, e.concept) for e in result.entries if e.twin_of is None))


def _mean_rating(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    return f"{known.mean():.1f}" if len(known) else UNKNOWN
