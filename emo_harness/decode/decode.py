"""Decoding: what stimuli mean at every layer as the model's own tokens, and controls beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emo_harness.decode.decoders import Decoders
from emo_harness.decode.family_vectors import generator
from emo_harness.decode.layer_vectors import LayerVector, LayerVectors
from emo_harness.decode.meta_prompt import LENGTH, DecodeSettings, MetaPrompt, RankedTokens
from emo_harness.decode.meta_text import best_tokens_text, position_text, shuffled_text
from emo_harness.decode.pooling import PooledStimuli
from emo_harness.decode.vocabulary import Vocabulary

# Tokens looked at first for a text of n: four times as many, some of them cannot stand in one.
POOL_FACTOR = 4
SMALLEST_POOL = 32
LARGEST_POOL = 4096


@dataclass(frozen=True)
class Decoded:
    """All meta prompts of a decoding, layer by layer, and what is to be told of them."""

    prompts: tuple[MetaPrompt, ...]
    remarks: tuple[str, ...] = ()


def decode_stimuli(
    pooled: PooledStimuli,
    sources: Sequence[str],
    decoders: Decoders,
    vocabulary: Vocabulary,
    n_tokens: int,
    settings: DecodeSettings,
    advance: Callable[[int], object] = lambda n_layers: None,
) -> Decoded:
    """Decode families, and controls beside them, one layer at a time.

    Of every source and layer: its meta prompt (or, under `each`, one per stimulus), random vectors
    as long as its own, its labels dealt anew between stimuli and placebos, and the meta prompt's
    words in another order. Of every layer: the mean of the placebos.

    Args:
        pooled: what was read.
        sources: groups of `pooled`.
        decoders: from vectors to tokens.
        vocabulary: of the same model.
        n_tokens: how many tokens the model knows.
        advance: told when a layer is done.

    Raises:
        UserError: a contrast without placebos, or vectors that cannot be decoded.
    """
    vectors = LayerVectors(pooled, sources, settings)
    prompts: list[MetaPrompt] = []
    n_unshuffled = 0
    for place, layer in enumerate(vectors.layers):
        wanted = list(vectors.at(place))
        found = _decoded(wanted, decoders, layer, vocabulary, n_tokens, settings)
        for one in _with_overlaps(found, settings.k):
            prompts.append(one)
            if one.kind != "meta" or not one.text.text:
                continue
            mixed = _shuffled(one, vocabulary, settings.seed)
            prompts += [mixed] if mixed else []
            n_unshuffled += mixed is None
        advance(1)
    remarks = list(vectors.remarks)
    if n_unshuffled:
        remarks.append(
            f"{n_unshuffled} meta prompts are one token, or one many times: they have no shuffled "
            "control"
        )
    n_empty = sum(not one.text.text for one in prompts)
    if n_empty:
        remarks.append(
            f"{n_empty} decodings have no token that can stand in a text: no stimulus is made of "
            "them"
        )
    return Decoded(tuple(prompts), tuple(remarks))


def spread_layers(layers: Sequence[int], n: int = 12) -> list[int]:
    """At most n layers, spread evenly over the depth, the last one among them.

    >>> spread_layers(range(40))
    [2, 6, 9, 12, 16, 19, 22, 26, 29, 32, 36, 39]
    """
    known = sorted(layers)
    n = min(n, len(known))
    # In whole numbers, halves upwards: floats would round some depths otherwise than others.
    return [known[(2 * (i + 1) * len(known) + n) // (2 * n) - 1] for i in range(n)]


def _decoded(
    wanted: Sequence[LayerVector],
    decoders: Decoders,
    layer: int,
    vocabulary: Vocabulary,
    n_tokens: int,
    settings: DecodeSettings,
) -> list[MetaPrompt]:
    """Everything of one layer, with as many of the best tokens as its texts need."""
    length = 1 if settings.pooling == "positions" else settings.length or LENGTH
    pool = max(settings.k, min(max(POOL_FACTOR * length, SMALLEST_POOL), n_tokens))
    found: dict[int, MetaPrompt] = {}
    missing = list(range(len(wanted)))
    while missing:
        short = []
        for i, ranked in _ranked(wanted, missing, decoders, layer, pool):
            found[i] = _prompt(wanted[i], layer, ranked, vocabulary, settings)
            if len(found[i].text.tokens) < length * len(ranked):
                short.append(i)
        larger = min(8 * pool, max(LARGEST_POOL, pool), n_tokens)
        if larger <= pool:
            break
        pool, missing = larger, short
    return [_cut(found[i], settings.k) for i in range(len(wanted))]


def _ranked(
    wanted: Sequence[LayerVector], which: Sequence[int], decoders: Decoders, layer: int, pool: int
) -> Iterator[tuple[int, tuple[RankedTokens, ...]]]:
    """The best tokens of some vectors, in one go of each decoder."""
    for is_difference in (False, True):
        own = [i for i in which if wanted[i].is_difference is is_difference]
        if not own:
            continue
        decoder = decoders.of_differences if is_difference else decoders.of_vectors
        top = decoder.top(np.concatenate([wanted[i].vectors for i in own]), layer, pool)
        ends = np.cumsum([len(wanted[i].vectors) for i in own]).tolist()
        for i, (start, end) in zip(own, pairwise([0, *ends]), strict=True):
            yield (
                i,
                tuple(
                    RankedTokens(top.ids[row], top.logits[row], top.probabilities[row], count)
                    for row, count in zip(range(start, end), wanted[i].counts, strict=True)
                ),
            )


def _prompt(
    wanted: LayerVector,
    layer: int,
    ranked: tuple[RankedTokens, ...],
    vocabulary: Vocabulary,
    settings: DecodeSettings,
) -> MetaPrompt:
    if settings.pooling == "positions":
        ids = [one.ids.tolist() for one in ranked]
        text = position_text(ids, vocabulary, settings.unprintable)
    else:
        text = best_tokens_text(
            ranked[0].ids.tolist(), settings.length or LENGTH, vocabulary, settings.unprintable
        )
    return MetaPrompt(
        source=wanted.source,
        kind=wanted.kind,
        control_of=wanted.control_of,
        vector=wanted.vector,
        layer=layer,
        draw=wanted.draw,
        ranked=ranked,
        text=text,
        by_position=settings.pooling == "positions",
    )


def _cut(prompt: MetaPrompt, k: int) -> MetaPrompt:
    """Without the tokens that are neither among the first k nor looked at for the text."""
    last = dict.fromkeys(range(len(prompt.ranked)), k)
    for position, rank in prompt.text.places:
        last[position] = max(last[position], rank + 1)
    ranked = tuple(
        replace(
            one,
            ids=one.ids[: last[position]],
            logits=one.logits[: last[position]],
            probabilities=one.probabilities[: last[position]],
        )
        for position, one in enumerate(prompt.ranked)
    )
    return replace(prompt, ranked=ranked)


def _with_overlaps(prompts: Sequence[MetaPrompt], k: int) -> list[MetaPrompt]:
    """Every decoding of a layer set beside that of the placebos, position by position."""
    of_placebos = next((one.ranked for one in prompts if one.kind == "neutral"), ())

    def overlap(position: int, ids: NDArray[np.int64]) -> float | None:
        if position >= len(of_placebos):
            return None
        shared = np.isin(ids[:k], of_placebos[position].ids[:k])
        return float(shared.mean())

    return [
        replace(
            one,
            ranked=tuple(
                replace(of, overlap=overlap(place, of.ids)) for place, of in enumerate(one.ranked)
            ),
        )
        for one in prompts
    ]


def _shuffled(meta: MetaPrompt, vocabulary: Vocabulary, seed: int) -> MetaPrompt | None:
    rng = generator(seed, f"shuffled:{meta.source}:{meta.vector}", meta.layer)
    text = shuffled_text(meta.text, vocabulary, rng)
    if text is None:
        return None
    return replace(meta, kind="shuffled", control_of=meta.source, text=text)
