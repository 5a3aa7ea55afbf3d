"""`posthoc/decode.json`: what `emo decode --run` read in the model of a run, and its strip."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from emo_harness.report.blocks import Block, Prose
from emo_harness.report.decoded.series import how_told
from emo_harness.report.decoded.strip_blocks import Token, Words, strip_figure, strip_name
from emo_harness.report.numerals import counted
from emo_harness.validation import Strict

# Shown of a vector whose tokens cannot stand in a text.
FIRST_TOKENS = 8


class DecodedToken(Strict):
    """One token of a vector; `in_text` and `survives` are of the text that was made of them."""

    token: str
    id: int
    logit: float | None
    probability: float | None
    printable: bool
    special: bool
    in_text: bool
    survives: bool


class DecodedVector(Strict):
    """One vector, or one of a position, with its best tokens first."""

    id: str | None
    source: str
    kind: str
    control_of: str | None
    vector: str
    layer: int
    draw: int
    position: int | None
    n_averaged: int
    overlap: float | None
    text: str
    tokens: list[DecodedToken]


class DecodeFile(Strict):
    """The file, as `emo decode` writes it.

    Attributes:
        context: where the stimuli stood when they were read.
        forced: how the model read differs from the run's, None where it does not.
        families: number of stimuli by family.
    """

    schema_version: int
    model: str
    model_id: str | None
    site: str
    pooling: str
    decoder: str
    vector: str
    layers: list[int]
    n_layers: int
    k: int
    context: str
    n_questions: int | None
    left_out: dict[str, int] = Field(default_factory=dict)
    seed: int
    forced: str | None
    families: dict[str, int]
    entries: list[DecodedVector]


def file_blocks(files: Sequence[DecodeFile]) -> list[Block]:
    """The strip of each file, with what it was read in."""
    blocks: list[Block] = []
    for number, one in enumerate(files):
        figure = strip_figure(
            _words(one.entries),
            f"decoded-file-{number}",
            f"read in {one.model} ({how_told(one.site, one.pooling, one.decoder)})",
            folded="",
        )
        blocks.append(Prose(_about(one)))
        if one.forced:
            blocks.append(
                Prose(f"Read in another model than the one that was asked: {one.forced}", "warning")
            )
        if figure is not None:
            blocks.append(figure)
    return blocks


def _about(one: DecodeFile) -> str:
    families = ", ".join(f"{n} of {family}" for family, n in one.families.items())
    return (
        f"Read in {one.model} over these runs: {families}, context: {one.context}; "
        f"{len(one.layers)} of {counted(one.n_layers, 'layer')}, vector: {one.vector}."
    )


def _words(entries: Sequence[DecodedVector]) -> list[Words]:
    """Entries of one vector's positions put together."""
    vectors: dict[tuple[object, ...], list[DecodedVector]] = {}
    for entry in entries:
        key = (entry.source, entry.kind, entry.control_of, entry.vector, entry.layer, entry.draw)
        vectors.setdefault(key, []).append(entry)
    return [_one(sorted(own, key=_position)) for own in vectors.values()]


def _position(entry: DecodedVector) -> int:
    return -1 if entry.position is None else entry.position


def _one(entries: Sequence[DecodedVector]) -> Words:
    first = entries[0]
    known = [entry.overlap for entry in entries if entry.overlap is not None]
    tokens = (
        _ranked(first.tokens)
        if first.position is None
        else [_of_position(entry.tokens) for entry in entries if entry.tokens]
    )
    return Words(
        of=strip_name(first.source, first.kind, first.control_of, first.vector),
        kind=first.kind,
        layer=first.layer,
        tokens=tuple(tokens),
        overlap=sum(known) / len(known) if known else math.nan,
        text=first.text,
        id=first.id or "",
        draw=first.draw,
    )


def _ranked(tokens: Sequence[DecodedToken]) -> list[Token]:
    """The text's tokens, and those better ones that were left out of it."""
    last = max((i for i, token in enumerate(tokens) if token.in_text), default=FIRST_TOKENS - 1)
    return [_token(token) for token in tokens[: last + 1]]


def _of_position(tokens: Sequence[DecodedToken]) -> Token:
    """The token that stands in the text for this position, else the best one."""
    return _token(next((token for token in tokens if token.in_text), tokens[0]))


def _token(token: DecodedToken) -> Token:
    return Token(token.token, token.in_text and not token.survives, token.in_text)
