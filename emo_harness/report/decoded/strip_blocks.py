"""The decoded words by layer: a strip, and every token in its table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from emo_harness.report.blocks import Cell, Column, Figure, Table
from emo_harness.report.figures.token_strip import (
    JOINED,
    Chip,
    StripPanel,
    StripRow,
    escaped,
    shown_token,
    token_strip,
)
from emo_harness.report.numerals import JOIN, UNKNOWN, count_cell, text_cell

META, NEUTRAL = "meta", "neutral"
# Of more sources (stimuli one by one) a strip is shown folded.
MOST_OPEN = 4
KINDS = {"random": "random vectors", "permuted": "labels permuted", "shuffled": "words shuffled"}
COLUMNS = (
    Column("of", "source, or what a control is", filtered=True),
    Column("kind", filtered=True),
    Column("layer", numeric=True),
    Column("draw", "which one of several random ones", numeric=True),
    Column(
        "tokens",
        "as they were decoded, best or first one first, in quotation marks; · joins those that are "
        "written as one word",
    ),
    Column("lost", "tokens that the tokenizer does not give back from the text"),
    Column("overlap %", "share of the top tokens that the placebos' mean has too", numeric=True),
    Column("text", "what was or can be put into a prompt"),
    Column("id"),
)


@dataclass(frozen=True)
class Token:
    """One decoded token; `is_in_text`: it is part of the text, `is_lost`: not given back."""

    text: str
    is_lost: bool = False
    is_in_text: bool = True


@dataclass(frozen=True)
class Words:
    """What one vector was decoded to.

    Attributes:
        of: the source, with the stimulus where it is a single one; a control's own words.
        kind: `meta` or the control's kind.
        overlap: with the placebos' own decoding, a share; NaN where unknown.
    """

    of: str
    kind: str
    layer: int
    tokens: tuple[Token, ...]
    overlap: float
    text: str
    id: str
    draw: int = 0


def strip_name(source: str, kind: str, control_of: str | None, vector: str) -> str:
    """Whose words these are: the source, or the control of which source."""
    if kind == NEUTRAL:
        return "placebo"
    of = control_of or source
    of = of if vector == "contrast" else f"{of} {vector}"
    return of if kind == META else f"{of}: {KINDS.get(kind, kind)}"


def strip_figure(words: Sequence[Words], name: str, about: str, folded: str = "") -> Figure | None:
    """Meta prompts and neutral placebos as a strip; other controls are in the table alone.

    Args:
        words: of one model, in any order.
        name: of the figure, its anchor.
        about: what was decoded where and how.
        folded: see `blocks.Figure`.
    """
    shown = [one for one in words if one.kind == META]
    if not shown:
        return None
    sources = list(dict.fromkeys(one.of for one in shown))
    placebos = {one.layer: one for one in words if one.kind == NEUTRAL}
    shared = {layer: {token.text for token in one.tokens} for layer, one in placebos.items()}
    notes_are = "as the placebos" if any(not math.isnan(one.overlap) for one in shown) else ""
    panels = [
        StripPanel(of, [_row(one, shared) for one in _in_order(shown) if one.of == of], notes_are)
        for of in sources
    ]
    if placebos:
        panels.append(StripPanel("neutral placebos", [_row(placebos[k]) for k in sorted(placebos)]))
    beside = " At the right: share of the top tokens that the placebos have too." if shared else ""
    title = f"Decoded words by layer, {about}"
    alt = f"{title}. " + " ".join(_told(one) for one in _in_order(shown))
    return Figure(
        name,
        f"{title}. Every line is a layer, with its tokens as they were decoded.{beside}",
        alt,
        token_strip(panels, name, title, alt),
        Table(
            f"{name}-table", title, COLUMNS, [_cells(one) for one in _in_order(words)], search=True
        ),
        folded or (title if len(sources) > MOST_OPEN else ""),
    )


def _in_order(words: Iterable[Words]) -> list[Words]:
    """By kind, source and layer, in the order in which kinds and sources first come."""
    words = list(words)
    place = {key: i for i, key in enumerate(dict.fromkeys((one.kind, one.of) for one in words))}
    return sorted(words, key=lambda one: (place[one.kind, one.of], one.layer, one.draw))


def _row(one: Words, shared: dict[int, set[str]] | None = None) -> StripRow:
    beside = (shared or {}).get(one.layer, set())
    chips = [
        Chip(
            shown_token(token.text),
            token.text in beside,
            token.is_lost,
            not token.is_in_text,
            is_joined,
        )
        for token, is_joined in zip(one.tokens, _joined(one), strict=True)
    ]
    note = "" if shared is None or math.isnan(one.overlap) else f"{100 * one.overlap:.0f}%"
    return StripRow(str(one.layer), chips, note)


def _told(one: Words) -> str:
    return f"{one.of}, layer {one.layer}: {_in_a_row(one, shown_token)}."


def _in_a_row(one: Words, shown: Callable[[str], str], between: str = " ") -> str:
    """The tokens, with a sign between those that are written as one word."""
    told = ""
    for token, is_joined in zip(one.tokens, _joined(one), strict=True):
        told += (JOINED if is_joined else between if told else "") + shown(token.text)
    return told


def _joined(one: Words) -> list[bool]:
    """Of each token, whether it is written on to the one before it in the text, without a space.

    Looked up in the text, as far as its tokens can be found there one after another (a piece of a
    character cannot); else a token is written on unless white space begins it or ends the last.
    """
    found: list[bool] = []
    at, last = 0, ""
    for token in one.tokens:
        word = token.text.strip()
        if not token.is_in_text or not word:
            found.append(False)
            last = last if not token.is_in_text else " "
            continue
        place = len(one.text) - len(one.text[at:].lstrip())
        is_found = one.text.startswith(word, place)
        is_apart = place > at if is_found else token.text[:1].isspace() or last[-1:].isspace()
        found.append(bool(last.strip()) and not is_apart)
        at, last = (place + len(word) if is_found else at), token.text
    return found


def _cells(one: Words) -> list[Cell]:
    overlap = 100 * one.overlap
    return [
        text_cell(one.of),
        text_cell(one.kind),
        count_cell(one.layer),
        count_cell(one.draw),
        Cell(
            _in_a_row(one, lambda text: f"“{text}”"),
            _in_a_row(one, lambda text: f"“{_signs(text)}”", f"{JOIN} ") or UNKNOWN,
        ),
        text_cell(" ".join(f"“{_signs(token.text)}”" for token in one.tokens if token.is_lost)),
        Cell(overlap, UNKNOWN if math.isnan(overlap) else f"{overlap:.0f}"),
        text_cell(one.text),
        text_cell(one.id, "code"),
    ]


def _signs(token: str) -> str:
    """White space that HTML would swallow, and control characters, as signs."""
    return escaped(token).replace("  ", "␣␣")
