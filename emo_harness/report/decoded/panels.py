"""Panels: one per model and board, what was decoded in itself first, then what came from others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from emo_harness.report.blocks import Block, Prose, Verdicts
from emo_harness.report.boards import MODES
from emo_harness.report.decoded.depth import DecodedDepth
from emo_harness.report.decoded.depth_blocks import curve_figure, gains_shown, map_figure
from emo_harness.report.decoded.depth_words import flat_sentence, verdict_of
from emo_harness.report.decoded.strip_blocks import Token, Words, strip_figure, strip_name
from emo_harness.report.figures.heat_map import step_for
from emo_harness.runs import RunArm

MOST_OPEN, MOST_DRAWN = 4, 24
LIMITED = "A part of the questions was asked: not for reporting."
CORRECTED = (
    "A trend is tested by dealing the layers' gains to the layers in every order (or 9,999 drawn "
    "ones): hard questions cannot make one. Its p-values are corrected together (Holm) over the "
    "trends of this report; neighbouring layers whose words are nearly the same make p too small. "
    "Intervals are over questions and take the words as they are. The verdicts on the families as "
    "a whole are above, among the other claims, and corrected with them."
)


def depth_panels(depths: Sequence[DecodedDepth]) -> list[Block]:
    """Verdicts, words, maps and curves of everything that was asked."""
    if not depths:
        return []
    step_pp = step_for(gains_shown(depths))
    blocks: list[Block] = []
    if any(depth.limited for depth in depths):
        blocks.append(Prose(LIMITED, "warning"))
    flat = flat_sentence(depths)
    if flat:
        blocks.append(Prose(flat))
    seen: set[tuple[str, ...]] = set()
    number = 0
    for panel in _panels(depths):
        anchor = f"decoded-panel-{number}"
        told = [verdict_of(depth) for depth in panel]
        blocks.append(Verdicts(anchor, _heading(panel), told))
        words = [arm.text for depth in panel for own in depth.texts for arm in own]
        texts = (panel[0].series.decoded_in, *words)
        if texts not in seen:
            seen.add(texts)
            blocks += _strips(panel, f"{anchor}-words")
        for depth in panel:
            if number < MOST_DRAWN:
                blocks += _figures(depth, f"decoded-{number}", step_pp, number >= MOST_OPEN)
            number += 1
    if number > MOST_DRAWN:
        blocks.append(
            Prose(f"{number - MOST_DRAWN} more are not drawn; see effects.parquet.", "note")
        )
    blocks.append(Prose(CORRECTED, "note"))
    return blocks


def words_of(arm: RunArm) -> Words | None:
    """What an arm of a run was decoded to; None where it was not decoded."""
    made = arm.decoded
    if made is None:
        return None
    return Words(
        of=strip_name(made.source, made.kind, made.control_of, made.vector),
        kind=made.kind,
        layer=made.layer,
        tokens=tuple(Token(text, i in made.lost) for i, text in enumerate(made.tokens)),
        overlap=math.nan if made.overlap is None else made.overlap,
        text=arm.text,
        id=arm.id,
        draw=made.draw,
    )


def _panels(depths: Iterable[DecodedDepth]) -> list[list[DecodedDepth]]:
    """Those of one model, board and decoding together."""
    panels: dict[tuple[object, ...], list[DecodedDepth]] = {}
    for depth in depths:
        key = (depth.label, depth.board, depth.series.decoded_in)
        panels.setdefault(key, []).append(depth)
    return list(panels.values())


def _heading(panel: Sequence[DecodedDepth]) -> str:
    told = _told(panel[0])
    return f"Transfer: {told}" if panel[0].is_transfer else told[0].upper() + told[1:]


def _told(depth: DecodedDepth) -> str:
    """Where it was decoded, and what was asked under it."""
    board = depth.board
    asked = f"{board.benchmark}, {MODES.get(board.mode, board.mode)}, placement {board.placement}"
    return f"decoded in {depth.series.decoded_in}, asked of {_asked_of(depth)} ({asked})"


def _asked_of(depth: DecodedDepth) -> str:
    """The label; without where it was decoded, which is told beside it."""
    name, _, settings = depth.label.removesuffix("]").rpartition(" [")
    kept = [part for part in settings.split(", ") if not part.startswith("decoded_in=")]
    if not name or not depth.label.endswith("]"):
        return depth.label
    return f"{name} [{', '.join(kept)}]" if kept else name


def _strips(panel: Sequence[DecodedDepth], anchor: str) -> list[Block]:
    """The words of a panel, those that were decoded in one way together."""
    words: dict[str, dict[str, Words]] = {}
    for depth in panel:
        known = words.setdefault(depth.series.how, {})
        for arm in (*itertools.chain.from_iterable(depth.texts), *depth.beside):
            found = words_of(arm)
            if found is not None:
                known.setdefault(arm.id, found)
    figures = [
        strip_figure(
            list(known.values()),
            f"{anchor}-{number}",
            f"read in {panel[0].series.decoded_in} ({how})",
        )
        for number, (how, known) in enumerate(words.items())
    ]
    return [figure for figure in figures if figure is not None]


def _figures(depth: DecodedDepth, name: str, step_pp: float, is_folded: bool) -> list[Block]:
    about = f"{depth.series.name}, {_told(depth)}"
    folded = f"Map: {about}" if is_folded else ""
    curve = curve_figure(depth, f"{name}-curve", about, folded and f"Curve: {about}")
    made: list[Block] = [map_figure(depth, f"{name}-map", about, step_pp, folded)]
    return made if curve is None else [*made, curve]
