"""What `emo images check` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emo_harness.report.images.numbers import CheckedConcept, FactDifference, ImageCheckNumbers

_HEADINGS = ("concept", "family", "n", "accuracy", "chance", "against twin", "diversity", "alike")


def print_checks(told: ImageCheckNumbers, written: Sequence[Path], most_concepts: int) -> None:
    """Tables by concept and of facts, findings and warnings.

    Args:
        most_concepts: with more, families alone are told.
    """
    from emo_harness.cli.tables import console, print_table
    from emo_harness.report.images import about, sentences, varies, warnings

    where = console()
    concepts = told.concepts if len(told.concepts) <= most_concepts else []
    notes = [*(f"warning: {one}" for one in warnings(told)), *sentences(told)]
    if len(told.concepts) > most_concepts:
        notes.insert(0, f"{len(told.concepts):,} concepts: see the page, or --json")
    notes.append(
        "an encoder tells what an image shows, not what it makes anyone feel; its mean score is "
        "no test of emotion"
    )
    second = ("accuracy, 2nd",) if len(told.encoders) > 1 else ()
    print_table(
        where,
        about(told),
        (*_HEADINGS, *second),
        [(_row(part, bool(second)), part.concept is None) for part in (*concepts, *told.families)],
        notes,
        n_left=2,
        least=("diversity", "alike", *second, "chance"),
    )
    if told.matching:
        print_table(
            where,
            "images beside their neutral twins, in what is not emotion",
            ("fact", "family", "pairs", "images", "twins", "difference", "in sd", "p"),
            [(_fact(row), row.differs) for row in told.matching if varies(row)],
            (),
            n_left=2,
            least=("in sd", "images", "twins", "pairs"),
        )
    for path in written:
        where.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
    if not written:
        where.print("nothing was written: a shipped set stays as it is; say --out FOLDER")


def _row(part: CheckedConcept, has_second: bool) -> list[str]:
    from emo_harness.report.images.verdicts import bounds, chance_told, percent_with_bounds
    from emo_harness.report.numerals import mean

    cells = [
        part.concept or "all",
        part.family,
        str(part.n),
        percent_with_bounds(part.accuracy) if part.accuracy[0] is not None else "",
        "" if part.chance is None else chance_told(part.chance),
        mean(*bounds(part.contrast), part.n_pairs) if part.contrast[0] is not None else "",
        "" if part.diversity is None else f"{part.diversity:.3f}",
        str(part.n_duplicates or ""),
    ]
    if has_second:
        known = part.second is not None and part.second.accuracy[0] is not None
        cells.append(percent_with_bounds(part.second.accuracy) if part.second and known else "")
    return cells


def _fact(row: FactDifference) -> list[str]:
    from emo_harness.report.images.verdicts import FACT_NAMES, bounds, known
    from emo_harness.report.numerals import mean, pp, probability

    decimals = 0 if row.fact in ("n_bytes", "width", "height") else 4
    return [
        FACT_NAMES.get(row.fact, row.fact),
        row.family,
        str(row.difference.n),
        f"{known(row.images):.{decimals}f}",
        f"{known(row.twins):.{decimals}f}",
        mean(*bounds(row.difference.mean), row.difference.n, decimals),
        pp(known(row.difference.standardised), 2),
        probability(known(row.p_adjusted)),
    ]
