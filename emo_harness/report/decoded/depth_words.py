"""What may be said of gains over layers, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np

from emo_harness.effects import Gain, Trend
from emo_harness.report.blocks import Raw, Verdict
from emo_harness.report.decoded.depth import DecodedDepth
from emo_harness.report.numerals import JOIN, MINUS, counted, gain, pp, probability

ALPHA = 0.05
TONES = {"rises": "up", "falls": "down", "no difference larger than the margin": "same"}


def verdict_of(depth: DecodedDepth) -> Verdict:
    """The trend's verdict, and what stands beside it."""
    return Verdict(
        about=f"{depth.series.name} · {_layers(depth)}",
        word=depth.word,
        tone=TONES.get(depth.word, "open"),
        sentence=trend_sentence(depth),
        beyond=" ".join([last_sentence(depth), random_sentence(depth)]).strip(),
        numbers=_numbers(depth),
    )


def trend_sentence(depth: DecodedDepth) -> str:
    """Slope, its permutation p, and how many layers and questions it rests on."""
    trend = depth.trend
    if len(depth.layers) < 2:
        return "One layer makes no trend: decode several with --layers."
    if depth.n_texts < 2:
        return f"All {len(depth.layers)} layers decode to the same words, so there is no trend."
    if math.isnan(trend.slope.low_pp):
        return "No trend: fewer than two questions have a score under every layer."
    first, last = depth.layers[0], depth.layers[-1]
    same = (
        f", {depth.n_texts} of which have words of their own"
        if depth.n_texts < len(depth.layers)
        else ""
    )
    ranked = (
        ""
        if math.isnan(trend.rank_correlation)
        else f"; rank correlation {_correlation(trend.rank_correlation)}, {_p(trend.p_rank)}"
    )
    told = (
        f"From layer {first} to layer {last} the fitted gain changes by {_told(trend.slope)} pp "
        f"(interval over questions: these meta prompts on other questions; n = "
        f"{counted(trend.n, 'question')}, {counted(len(depth.layers), 'layer')}{same}; whether "
        f"depth orders the gains, layers permuted: {_p(trend.p)}"
        f"{_corrected(trend.p, depth.p_holm)}{ranked}; margin {depth.margin_pp:g} pp)."
    )
    is_tilted = trend.slope.low_pp > 0 or trend.slope.high_pp < 0
    if trend.least_p > ALPHA:
        told += f" {trend.n_layers} layers cannot give a p below {probability(trend.least_p)}."
    elif is_tilted and not depth.p_holm <= ALPHA:
        told += " These words do not all act alike, but depth orders them no better than chance."
    return told


def last_sentence(depth: DecodedDepth) -> str:
    """The last layers against the rest: the paper's claim in its narrow form."""
    trend = depth.trend
    if math.isnan(trend.last.low_pp):
        return ""
    which = "The last layer" if trend.n_last == 1 else f"The last {trend.n_last} layers"
    low, high = trend.last.low_pp, trend.last.high_pp
    clear = trend.p_last <= ALPHA and (low > 0 or high < 0)
    word = ("better" if low > 0 else "worse") if clear else "not clearly better or worse"
    is_few = trend.least_p <= ALPHA < trend.least_p_last
    few = f", at the least {probability(trend.least_p_last)}" if is_few else ""
    return (
        f"{which} against the rest: {word}, {_told(trend.last)} pp (interval over "
        f"questions; layers permuted: {_p(trend.p_last)}{few})."
    )


def random_sentence(depth: DecodedDepth) -> str:
    """How many layers are told from their random vectors, and all of them together."""
    known = [g for g in depth.against_random if not math.isnan(g.mean_pp)]
    if not known:
        return "No random vectors were asked, so nothing tells meaning from any odd text."
    n_told = int((depth.random_q <= ALPHA).sum())
    told = (
        f"{n_told or 'None'} of {counted(len(known), 'layer')} can be told from random vectors of "
        "equal norm (q ≤ 0.05)"
    )
    if math.isnan(depth.p_random):
        return f"{told}."
    together = depth.random_together
    if math.isnan(together.low_pp):
        mean = float(np.mean([g.mean_pp for g in known]))
        shown = f"{pp(mean)} pp (interval unknown"
    else:
        shown = f"{_told(together)} pp (interval over questions"
    return (
        f"{told}; on all layers together {shown}; signs of the layers flipped: "
        f"{_p(depth.p_random)})."
    )


def flat_sentence(depths: Sequence[DecodedDepth]) -> str:
    """What to say where nothing at all can be told; "" where something can."""
    if any(_shows_something(depth) for depth in depths):
        return ""
    beside = "from control"
    if any(depth.row("random") for depth in depths):
        beside += " or from random vectors"
    return (
        f"No effect is shown: no meta prompt can be told {beside}, at any layer or on any subtask, "
        "and no trend over the layers is clear."
    )


def _shows_something(depth: DecodedDepth) -> bool:
    # That layers differ by no more than the margin is a finding too.
    if depth.word in TONES or depth.p_random <= ALPHA:
        return True
    clear = [depth.cells_q, depth.meta.q, depth.random_q]
    return any(bool((q <= ALPHA).any()) for q in clear)


def _layers(depth: DecodedDepth) -> str:
    layers = depth.layers
    most = max(len(own) for own in depth.texts)
    each = f", mean of {most} meta prompts each" if most > 1 else ""
    if len(layers) == 1:
        return f"layer {layers[0]} of {depth.series.head.n_layers}{each}"
    return f"{len(layers)} of {depth.series.head.n_layers} layers{each}"


def _told(found: Gain) -> str:
    return gain(found.mean_pp, found.low_pp, found.high_pp, 2 if _is_narrow(found) else 1)


def _is_narrow(found: Gain) -> bool:
    return (found.high_pp - found.low_pp) / 2 < 2


def _corrected(p: float, p_holm: float) -> str:
    """The corrected p, where it is another."""
    return "" if math.isnan(p_holm) or p_holm == p else f", corrected {probability(p_holm)}"


def _p(p: float) -> str:
    shown = probability(p)
    return "".join(("p", JOIN, "<" if shown.startswith("<") else "=", JOIN, shown.lstrip("<")))


def _correlation(value: float) -> str:
    return f"{value:+.2f}".replace("-", MINUS)


def _numbers(depth: DecodedDepth) -> dict[str, Raw]:
    """All that the sentences tell, and what they rest on."""
    series, head = depth.series, depth.series.head
    return {
        "label": depth.label,
        "benchmark": depth.board.benchmark,
        "mode": depth.board.mode,
        "placement": depth.board.placement,
        "asked": depth.board.asked,
        "limited": depth.limited,
        "source": head.source,
        "vector": head.vector,
        "site": head.site,
        "pooling": head.pooling,
        "decoder": head.decoder,
        "decoded_in": series.decoded_in,
        "is_transfer": depth.is_transfer,
        "layers": tuple(depth.layers),
        "n_texts": depth.n_texts,
        "margin_pp": depth.margin_pp,
        "verdict": depth.word,
        "p_holm": depth.p_holm,
        "p_random": depth.p_random,
        "random_together_pp": _bounds(depth.random_together),
        "n_told_from_random": int((depth.random_q <= ALPHA).sum()),
        **dict(_flat("trend", depth.trend)),
        **dict(_flat("against_random", depth.random_trend)),
    }


def _bounds(found: Gain) -> tuple[float, float, float]:
    return (found.mean_pp, found.low_pp, found.high_pp)


def _flat(name: str, trend: Trend) -> Iterator[tuple[str, Raw]]:
    for field in fields(trend):
        value = getattr(trend, field.name)
        if isinstance(value, Gain):
            yield f"{name}_{field.name}_pp", _bounds(value)
            if field.name == "slope":
                yield f"{name}_method", value.method
        else:
            yield f"{name}_{field.name}", value
