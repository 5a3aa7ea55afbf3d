"""The plane as blocks: words along valence and arousal, and how well they fit."""

from __future__ import annotations

import numpy as np

from emo_harness.report.blocks import Block, Cell, Column, Figure, Table
from emo_harness.report.figures.word_plane import WordPoints, word_plane
from emo_harness.report.geometry.numbers import (
    AxisAngle,
    Estimated,
    GeometryNumbers,
    PlaneFit,
    PlaneNumbers,
)
from emo_harness.report.geometry.words import (
    estimate_cell,
    kind_of,
    known,
    number_cell,
    p_cell,
    told,
    told_estimate,
    used_kinds,
)
from emo_harness.report.numerals import count_cell, text_cell

CLEAR_P = 0.05
CORNERS = (
    "high valence, high arousal",
    "low valence, high arousal",
    "low valence, low arousal",
    "high valence, low arousal",
)
WORD_COLUMNS = (
    Column("word"),
    Column("lemma"),
    Column("list", filtered=True),
    Column("valence pole", "in the lists: +1 high, −1 low, 0 neutral", numeric=True),
    Column("arousal pole", "in the lists: +1 high, −1 low, 0 neutral", numeric=True),
    Column("valence", "class-mean distances", numeric=True),
    Column("arousal", "class-mean distances", numeric=True),
)
FIT_COLUMNS = (
    Column("coordinates along"),
    Column("against"),
    Column("what"),
    Column("value", "with 95% interval over lemmas", numeric=True),
    Column("p", "of exchanging words; none in sample", numeric=True),
    Column("words", numeric=True),
    Column("by chance", numeric=True),
)
LAYER_COLUMNS = (
    Column("coordinates along"),
    Column("layer", numeric=True),
    Column("right side, valence", "share of words on their pole's side", numeric=True),
    Column("right side, arousal", "share of words on their pole's side", numeric=True),
    Column("right quadrant", "share of crossed words; .25 by chance", numeric=True),
)


def plane_blocks(numbers: GeometryNumbers, prefix: str, most: int | None = None) -> list[Block]:
    """A figure per plane, and one table of fits.

    Args:
        prefix: of the ids.
        most: of the planes; held-out words come first then, as they are the honest ones.
    """
    planes = sorted(numbers.planes, key=lambda plane: plane.how != "held-out words")[:most]
    blocks: list[Block] = [_figure(numbers, plane, prefix) for plane in planes]
    if planes:
        blocks.append(_fit_table(planes, prefix))
        if most is None:
            blocks.append(_layer_table(planes, prefix))
    return blocks


def plane_sentences(numbers: GeometryNumbers, most: int | None = None) -> list[str]:
    """What the planes show, honest about nulls; held-out words first.

    Args:
        most: of the planes, and of the angles that of crossed words where there is one.
    """
    planes = sorted(numbers.planes, key=lambda plane: plane.how != "held-out words")[:most]
    angles = sorted(numbers.angles, key=lambda angle: angle.words != "crossed")[:most]
    return [text for plane in planes for text in _sentences(plane)] + [
        _angle_sentence(angle) for angle in angles
    ]


def _sentences(plane: PlaneNumbers) -> list[str]:
    found = []
    for fit in plane.fits:
        quadrants, angles = fit.quadrants, fit.angles
        if quadrants is not None and quadrants.value is not None:
            found.append(
                f"{_about(plane)}: of {quadrants.n} crossed words a share of "
                f"{told_estimate(quadrants)} lies in the quadrant of its poles (0.25 by chance)."
                f"{_verdict(quadrants, plane, 0.25, 'no quadrants shown')}"
            )
        if angles is not None and angles.error_deg.value is not None:
            found.append(
                f"{_about(plane)}: angles differ from those of the {fit.against} by a mean of "
                f"{told_estimate(angles.error_deg, 0, '°')} (90° by chance); circular "
                f"correlation {told_estimate(angles.correlation, sign=True)}."
                f"{_verdict(angles.error_deg, plane, 90, 'no circumplex shown')}"
            )
        if fit.against == "norms":
            ranks = "; ".join(
                f"{name} {told_estimate(rank, sign=True)}"
                for name, rank in fit.ranks.items()
                if rank.value is not None
            )
            found.append(f"{_about(plane)}: rank correlation with human norms: {ranks}.")
            laid = fit.procrustes
            if laid is not None and laid.fit.value is not None:
                mirrored = "; a mirror image would fit better" if laid.reflected else ""
                found.append(
                    f"{_about(plane)}: turned by {told(laid.rotation_deg, 0, True)}° and scaled, "
                    f"the words explain {told_estimate(laid.fit)} of the norms' variance{mirrored}."
                )
    return found


def _about(plane: PlaneNumbers) -> str:
    if plane.in_sample:
        return "Fitted axes, in sample (on the words that they were fitted on: too good)"
    return "Words held out" if plane.how == "held-out words" else "Fitted axes, other corpus"


def _verdict(found: Estimated, plane: PlaneNumbers, chance: float, otherwise: str) -> str:
    """Interval and p come from different resampling; both must leave chance out."""
    if plane.in_sample or found.p is None:
        return ""
    leaves_out = known(found.low) > chance or known(found.high) < chance
    return "" if found.p < CLEAR_P and leaves_out else f" Chance does as well: {otherwise}."


def _angle_sentence(angle: AxisAngle) -> str:
    kind = (
        "over the crossed words, quadrants weighted alike"
        if angle.words == "crossed"
        else "over all words of the lists (which may confound the two)"
    )
    degrees = told(float(np.degrees(np.arccos(np.clip(known(angle.cosine), -1, 1)))), 0)
    return (
        f"The directions of valence and arousal {kind} have a cosine of "
        f"{told(angle.cosine, 2, True)} [{told(angle.low, 2, True)}, "
        f"{told(angle.high, 2, True)}], an angle of {degrees}° ({angle.n} words)."
    )


def _figure(numbers: GeometryNumbers, plane: PlaneNumbers, prefix: str) -> Figure:
    places = np.array([[known(v) for v in point] for point in plane.points])
    kinds, kind = used_kinds([kind_of(w.valence, w.arousal) for w in numbers.words])
    points = WordPoints(places, tuple(w.word for w in numbers.words), tuple(kind))
    name = f"{prefix}-plane-{'held-out' if plane.how == 'held-out words' else 'fitted'}"
    along = (
        "axes that saw neither the word nor the templates it is read in"
        if plane.how == "held-out words"
        else "the fitted axes"
        + (", in sample: these very words were fitted" if plane.in_sample else "")
    )
    title = f"Words in the valence-arousal plane of {numbers.store.model}, along {along}"
    alt = f"{title}. " + " ".join(_sentences(plane))
    svg = word_plane(
        points,
        kinds,
        ("valence, class-mean distances", "arousal, class-mean distances"),
        CORNERS,
        name,
        title,
        alt,
    )
    rows: list[list[Cell]] = [
        [
            text_cell(word.word, "strong"),
            text_cell(word.lemma),
            text_cell(word.list),
            number_cell(word.valence, 0, True),
            number_cell(word.arousal, 0, True),
            number_cell(point[0], 3, True),
            number_cell(point[1], 3, True),
        ]
        for word, point in zip(numbers.words, plane.points, strict=True)
    ]
    caption = (
        f"{title}. A word is the mean of its non-negated prompts, each minus the mean of its "
        "template; 0 is halfway between the poles' words. Colour: the word's valence in the lists; "
        "shape: its arousal. Crowded words have no label; the table names all."
    )
    table = Table(f"{name}-table", title, WORD_COLUMNS, rows, search=len(rows) > 12)
    return Figure(name, caption, alt, svg, table)


def _fit_table(planes: list[PlaneNumbers], prefix: str) -> Table:
    rows: list[list[Cell]] = []
    breaks = set()
    for plane in planes:
        for fit in plane.fits:
            if rows:
                breaks.add(len(rows))
            rows += _fit_rows(plane, fit)
    return Table(
        f"{prefix}-fits",
        "How well words lie where their poles or norms say",
        FIT_COLUMNS,
        rows,
        breaks=frozenset(breaks),
    )


def _fit_rows(plane: PlaneNumbers, fit: PlaneFit) -> list[list[Cell]]:
    measured: list[tuple[str, Estimated, int, str]] = []
    if fit.quadrants is not None:
        measured.append(("in the right quadrant, share", fit.quadrants, 2, "0.25"))
    if fit.angles is not None:
        measured += [
            ("angular error, degrees", fit.angles.error_deg, 0, "90"),
            ("cosine of angular error", fit.angles.agreement, 2, "0"),
            ("circular correlation", fit.angles.correlation, 2, "0"),
        ]
    measured += [(f"{name}, rank correlation", rank, 2, "0") for name, rank in fit.ranks.items()]
    if fit.procrustes is not None:
        measured.append(("Procrustes, share of variance", fit.procrustes.fit, 2, ""))
    how = plane.how + (" (in sample)" if plane.in_sample else "")
    return [
        [
            text_cell(how),
            text_cell("human norms" if fit.against == "norms" else "poles"),
            text_cell(what),
            estimate_cell(found, decimals),
            p_cell(found.p),
            count_cell(found.n),
            text_cell(chance, "quiet"),
        ]
        for what, found, decimals, chance in measured
        if found.n
    ]


def _layer_table(planes: list[PlaneNumbers], prefix: str) -> Table:
    rows: list[list[Cell]] = [
        [
            text_cell(plane.how + (" (in sample)" if plane.in_sample else "")),
            count_cell(layer.layer),
            number_cell(layer.side_0),
            number_cell(layer.side_1),
            number_cell(layer.quadrants),
        ]
        for plane in planes
        for layer in plane.by_layer
    ]
    return Table(
        f"{prefix}-plane-layers", "The plane by layer", LAYER_COLUMNS, rows, collapsed=True
    )
