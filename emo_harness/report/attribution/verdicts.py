"""Verdicts on methods: how far each may be trusted, in plain words."""

from __future__ import annotations

import math

from emo_harness.report.attribution.methods import (
    INTEGRATED,
    METHODS,
    REFERENCE,
    bounds,
    in_order,
    known,
)
from emo_harness.report.attribution.numbers import Attribution, Convergence, Method, RankAgreement
from emo_harness.report.numerals import JOIN, count, counted, gain, percent

# Rank correlations with leave-one-word-out that count as much the same, and as some likeness.
MUCH, SOME = 0.6, 0.3
# Rank correlations with a model of random weights: below, attributions changed; above, they stayed.
CHANGED, STAYED = 0.3, 0.5


def agreement_words(found: RankAgreement | None) -> str:
    """How a method ranks a prompt's words beside leave-one-word-out."""
    value, low, high = bounds(found.rank) if found else (math.nan,) * 3
    if math.isnan(value):
        return "not compared with leave-one-word-out"
    if high < 0:
        return "ranks words the other way round than leave-one-word-out"
    if not low > 0:
        return "shows no agreement with leave-one-word-out"
    if value >= MUCH:
        return "ranks words much as leave-one-word-out does"
    if value >= SOME:
        return "ranks words partly as leave-one-word-out does"
    return "hardly ranks words as leave-one-word-out does"


def change_words(found: RankAgreement | None) -> str:
    """Whether a method's attributions change when the model's weights are random."""
    value, low, high = bounds(found.rank) if found else (math.nan,) * 3
    if math.isnan(value):
        return "not tried"
    if max(abs(low), abs(high)) < CHANGED:
        return "yes"
    if min(abs(low), abs(high)) >= STAYED and low * high > 0:
        return "no, so it is not to be trusted"
    if abs(value) < CHANGED:
        return "yes as far as few prompts can tell"
    return "in part, so some of it is not what the model has learnt"


def untrusted(one: Attribution) -> set[Method]:
    """Methods whose attributions stay as they are when weights are random."""
    return {row.method for row in one.randomised if change_words(row).startswith("no,")}


def convergence_words(found: Convergence) -> str:
    """How many integrals settled, and in how many steps."""
    if not found.n:
        return f"{METHODS[INTEGRATED].name}: no prompt was computed."
    steps = ", ".join(
        f"{number} for {n:,}" for number, n in sorted(found.steps.items(), key=_steps)
    )
    share = f"{percent(100 * found.n_unconverged / found.n)}%"
    largest = known(found.largest_delta)
    delta = "" if math.isnan(largest) else f"; the largest error left is {abs(largest):.2g} nats"
    settled = (
        "all settled"
        if not found.n_unconverged
        else f"{count(found.n_unconverged)} ({share}) did not settle; they are flagged where shown "
        "and left out of all means"
    )
    told = f"Integrated gradients of {counted(found.n, 'prompt')}: {settled}{delta}."
    return f"{told} Steps taken: {steps}." if steps else told


def sentences(one: Attribution) -> list[str]:
    """One line per method, and one on convergence."""
    agreement = {row.method: row for row in one.agreement}
    random = {row.method: row for row in one.randomised}
    lines = []
    for method in in_order(one.methods):
        name = METHODS[method].name
        if one.unknown.get(method):
            lines.append(f"{name} is unknown here: {one.unknown[method]}.")
            continue
        changes = f"changes when weights are random: {change_words(random.get(method))}"
        changes += _rank(random.get(method))
        if method == REFERENCE:
            lines.append(f"{name} is the reference; {changes}.")
        else:
            found = agreement.get(method)
            lines.append(f"{name} {agreement_words(found)}{_rank(found)}; {changes}.")
    if one.convergence is not None:
        lines.append(convergence_words(one.convergence))
    return lines


def _rank(found: RankAgreement | None) -> str:
    value, low, high = bounds(found.rank) if found else (math.nan,) * 3
    if found is None or math.isnan(value):
        return ""
    n = counted(found.n_prompts, "prompt")
    return f" (rank correlation {gain(value, low, high, 2)}, {n})".replace(" [", f"{JOIN}[")


def _steps(item: tuple[str, int]) -> tuple[float, str]:
    name, _ = item
    return (float(name) if name.isdecimal() else math.inf, name)
