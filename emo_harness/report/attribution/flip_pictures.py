"""Flips as pictures: prompts under control and under a stimulus, shaded by each method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from emo_harness.report.attribution.excerpt import excerpts
from emo_harness.report.attribution.methods import (
    INTEGRATED,
    METHODS,
    REFERENCE,
    in_order,
    known,
)
from emo_harness.report.attribution.numbers import (
    AttributedSide,
    Attribution,
    Method,
    Piece,
    ShownFlip,
)
from emo_harness.report.attribution.scale import ShadeScale, scale_of
from emo_harness.report.attribution.verdicts import untrusted
from emo_harness.report.attribution.words_shaded import piece_text, shaded_runs, word_scores
from emo_harness.report.blocks import (
    Cell,
    Column,
    Raw,
    ShadedItem,
    ShadedPicture,
    ShadedSide,
    ShadedText,
    ShadedTexts,
    Table,
)
from emo_harness.report.numerals import JOIN, UNKNOWN, count, percent, pp, text_cell
from emo_harness.report.plain_text import shortened, slug

ANSWER_CHARS, TARGET_CHARS, STIMULUS_CHARS = 900, 400, 1200
# Words that are shown in the table of a flip, a side's own stimulus aside.
N_STRONGEST, N_STIMULUS = 10, 60
TONES = {"fixed": "up", "broke": "down"}
DONE = {"fixed": "fixed", "broke": "broken"}
CONTROL, ARM = "control", "with the stimulus"
NOT_TRUSTED = (
    "This method gives much the same picture when the model's weights are random: it is not to be "
    "trusted here."
)


def flip_pictures(one: Attribution, prefix: str) -> ShadedTexts | None:
    """The shown questions, in the file's order; None where there are none."""
    if not one.shown:
        return None
    methods = in_order(one.methods)
    # One scale per method, so that pictures can be compared.
    scales = {method: _scale(one.shown, method) for method in methods}
    trusted_not = untrusted(one)
    items = [
        _item(flip, scales, trusted_not, f"{prefix}-{number}-{slug(flip.subtask)}-{flip.doc_id}")
        for number, flip in enumerate(one.shown)
    ]
    chosen = all(flip.kind == "chosen" for flip in one.shown)
    heading = "Questions word by word" if chosen else "The strongest flips, word by word"
    if not chosen and one.n_flips is not None and one.n_flips > len(one.shown):
        heading += f" ({count(len(one.shown))} of {count(one.n_flips)})"
    return ShadedTexts(f"{prefix}-texts", heading, items, beside=True)


def _scale(shown: Sequence[ShownFlip], method: Method) -> ShadeScale:
    scores = (
        score
        for flip in shown
        for side in (flip.control, flip.arm_side)
        for score in word_scores(side.pieces, method)
    )
    return scale_of(scores, METHODS[method].signed)


def _item(
    flip: ShownFlip, scales: dict[Method, ShadeScale], untrusted: set[Method], name: str
) -> ShadedItem:
    sides = {CONTROL: flip.control, ARM: flip.arm_side}
    stretches = dict(zip(sides, excerpts(flip.control, flip.arm_side), strict=True))
    pictures = [
        ShadedPicture(
            METHODS[method].name,
            list(_remarks(flip, method, scale)),
            list(_warnings(flip, method, method in untrusted)),
            scale.key(),
            METHODS[method].unit,
            [
                ShadedText(heading, shaded_runs(side.pieces, stretches[heading], method, scale))
                for heading, side in sides.items()
            ],
        )
        for method, scale in scales.items()
    ]
    rows = [row for heading, side in sides.items() for row in _rows(heading, side, scales)]
    columns = [
        Column("under", "control or the stimulus", filtered=True),
        Column("place", "of the word in its prompt", numeric=True),
        Column("word"),
        Column("part", "stimulus, special, or a word of the rest", filtered=True),
        *(Column(METHODS[method].name, METHODS[method].unit, numeric=True) for method in scales),
    ]
    about = f"{flip.benchmark}, {flip.subtask} #{flip.doc_id}"
    table = Table(f"{name}-words", f"Words of {about}", columns, rows)
    return ShadedItem(
        name,
        f"{flip.subtask} #{flip.doc_id}",
        TONES.get(flip.kind, ""),
        _about(flip),
        [
            ("stimulus", shortened(f"{flip.arm}: {flip.stimulus_text}", STIMULUS_CHARS)),
            ("target", shortened(flip.target, TARGET_CHARS)),
            ("log-probability of the target", _change(flip)),
        ],
        [_side(heading, side) for heading, side in sides.items()],
        pictures,
        table,
        Table(f"{name}-strongest", "Words that contribute most", columns, _strongest(rows)),
        _numbers(flip, list(scales)),
    )


def _about(flip: ShownFlip) -> str:
    done = f"{DONE[flip.kind]} by {flip.arm}" if flip.kind in DONE else flip.arm
    change = known(flip.arm_side.log_probability) - known(flip.control.log_probability)
    benchmark = "" if flip.benchmark == flip.subtask else flip.benchmark
    return " · ".join(part for part in (done, flip.family, benchmark, _nats(change)) if part)


def _side(heading: str, side: AttributedSide) -> ShadedSide:
    told = f"log-probability of the target {_nats(known(side.log_probability))}"
    score = known(side.score)
    if not math.isnan(score):
        told += f" · score {score:.3g}"
    answer = None if side.answer is None else shortened(side.answer, ANSWER_CHARS)
    return ShadedSide(heading, told, answer)


def _change(flip: ShownFlip) -> str:
    control, arm = known(flip.control.log_probability), known(flip.arm_side.log_probability)
    return f"{pp(control, 2)} → {_nats(arm)} ({pp(arm - control, 2)} {ARM})"


def _nats(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{pp(value, 2)}{JOIN}nats"


def _remarks(flip: ShownFlip, method: Method, scale: ShadeScale) -> Iterator[str]:
    if method == REFERENCE:
        yield "the reference, exact for removing one word"
    else:
        ranks = [known(side.agreement.get(method)) for side in (flip.control, flip.arm_side)]
        control, arm = (pp(rank, 2) for rank in ranks)
        yield f"rank agreement with leave-one-word-out: {control} under {CONTROL}, {arm} {ARM}"
    pieces = flip.arm_side.pieces
    scored = word_scores(pieces, method)
    stimulus = word_scores(pieces, method, ("stimulus",))
    whole = sum(map(abs, scored))
    if not stimulus or not whole:
        return
    share = percent(100 * sum(map(abs, stimulus)) / whole, 0)
    equal = percent(100 * len(stimulus) / len(scored), 0)
    yield f"the stimulus is {equal}% of the words and has {share}% of all contribution"
    if scale.signed:
        yield f"its words add up to {scale.told(sum(stimulus))}{JOIN}{METHODS[method].unit}"


def _warnings(flip: ShownFlip, method: Method, is_untrusted: bool) -> Iterator[str]:
    if is_untrusted:
        yield NOT_TRUSTED
    if method != INTEGRATED:
        return
    sides = ((f"under {CONTROL}", flip.control), (ARM, flip.arm_side))
    where = [name for name, side in sides if side.converged is False]
    if where:
        yield f"The integral did not settle {' and '.join(where)}: do not rely on these shades."


def _rows(
    heading: str, side: AttributedSide, scales: dict[Method, ShadeScale]
) -> Iterator[list[Cell]]:
    words = (piece for piece in side.pieces if piece.role != "space")
    for place, piece in enumerate(words, 1):
        yield [
            text_cell("control" if heading == CONTROL else "stimulus"),
            Cell(place, str(place), sort=place),
            text_cell(piece_text(piece)),
            _part(piece),
            *(_score(piece, method, scale) for method, scale in scales.items()),
        ]


def _part(piece: Piece) -> Cell:
    told = "" if piece.role == "prompt" else piece.role
    return Cell(told, told, tone="strong" if told == "stimulus" else "")


def _score(piece: Piece, method: Method, scale: ShadeScale) -> Cell:
    value = known(piece.scores.get(method))
    return Cell(value, scale.told(value), sort=value)


def _strongest(rows: Sequence[Sequence[Cell]]) -> list[Sequence[Cell]]:
    """Of each side its stimulus and the strongest others by the first method, in their order."""
    kept: set[int] = set()
    for side in dict.fromkeys(row[0].value for row in rows):
        own = [number for number, row in enumerate(rows) if row[0].value == side]
        stimulus = [number for number in own if rows[number][3].value == "stimulus"]
        others = [number for number in own if _size(rows[number]) > 0 and number not in stimulus]
        others.sort(key=lambda number: -_size(rows[number]))
        kept |= {*stimulus[:N_STIMULUS], *others[:N_STRONGEST]}
    return [rows[number] for number in sorted(kept)]


def _size(row: Sequence[Cell]) -> float:
    value = row[4].value
    return abs(value) if isinstance(value, float) and not math.isnan(value) else 0.0


def _numbers(flip: ShownFlip, methods: Sequence[Method]) -> dict[str, Raw]:
    found: dict[str, Raw] = {
        name: getattr(flip, name)
        for name in ("benchmark", "subtask", "doc_id", "kind", "family", "arm", "target")
    }
    for name, side in (("control", flip.control), ("arm", flip.arm_side)):
        found |= {
            f"{name}_log_probability": side.log_probability,
            f"{name}_score": side.score,
            f"{name}_answer": side.answer,
            f"{name}_converged": side.converged,
        }
        found |= {f"{name}_agreement_{method}": side.agreement.get(method) for method in methods}
    return found
