"""What `emo attribute` shows at the terminal: shares, words, and how far to believe them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Words of a family that are shown.
MOST_WORDS = 8
ALL_SUBTASKS = "(all)"
_SKIPPED = {
    "too_long": "longer than the context window, or cut by the run",
    "without_target": "without a target",
    "stimulus_not_found": "in which the stimulus does not stand as it was recorded",
}
Bounds = Sequence[float | None]


def print_attribution(result: Mapping[str, Any]) -> None:
    """Tables of every group, then of the methods.

    Args:
        result: what `attribution.json` holds.
    """
    from emo_harness.cli.tables import console, print_table
    from emo_harness.report.numerals import counted

    where = console()
    for group in result["groups"]:
        named = f"{group['model']}: {group['benchmark']}, {group['mode']}, {group['asked']}, "
        named += f"{group['placement']}, {counted(group['n_questions'], 'question')}"
        print_table(
            where,
            f"{named}: what falls on the stimulus",
            ("family", "method", "questions", "share of all words", "if all were equal"),
            [(row, False) for row in _shares(group)],
            _whole(group),
        )
        method = result["methods"][0]
        print_table(
            where,
            f"{named}: words that matter most, {method}, {_unit(method)}",
            ("word", "family", "stimuli", "questions", "contribution", "q"),
            [(row, is_clear) for row, is_clear in _top_words(group, method)],
            (),
        )
    print_table(
        where,
        "how far to believe the methods: rank correlations over the words of a prompt",
        ("method", "with leave-one-out", "prompts", "with random weights", "prompts"),
        [(row, False) for row in _methods(result)],
        _remarks(result),
    )


def _shares(group: Mapping[str, Any]) -> Iterator[list[str]]:
    for row in group["shares"]:
        if row["subtask"] == ALL_SUBTASKS:
            yield [
                row["family"],
                row["method"],
                str(row["n"]),
                _percents(row["share"]),
                _percents([row["equal_share"], None, None]),
            ]


def _whole(group: Mapping[str, Any]) -> Iterator[str]:
    for row in group["whole"]:
        if row["arm"] is None and row["subtask"] == ALL_SUBTASKS:
            yield (
                f"{row['family']}: the stimulus as a whole changes the right answer's "
                f"log-probability by {_bounds(row['contribution'])} nats"
            )


def _top_words(group: Mapping[str, Any], method: str) -> Iterator[tuple[list[str], bool]]:
    counted: dict[str, int] = {}
    for row in group["top_words"]:
        family = row["family"]
        if row["method"] != method or counted.get(family, 0) == MOST_WORDS:
            continue
        counted[family] = counted.get(family, 0) + 1
        q = row["q"]
        told = "" if q is None else f"{q:.3f}"
        yield (
            [
                row["word"],
                family,
                str(row["n_arms"]),
                str(row["n"]),
                _bounds(row["contribution"]),
                told,
            ],
            q is not None and q < 0.05,
        )


def _methods(result: Mapping[str, Any]) -> Iterator[list[str]]:
    agreement = {row["method"]: row for row in result["agreement"]}
    randomised = {row["method"]: row for row in result["randomised"]}
    for method in result["methods"]:
        cells = [method]
        for rows in (agreement, randomised):
            row = rows.get(method)
            cells += [_bounds(row["rank"]), str(row["n_prompts"])] if row else ["", ""]
        yield cells


def _remarks(result: Mapping[str, Any]) -> Iterator[str]:
    found = result["convergence"]
    if found is not None:
        steps = ", ".join(f"{n} at {steps}" for steps, n in found["steps"].items())
        yield (
            f"integrated gradients: {found['n_unconverged']} of {found['n']} prompts did not "
            f"converge and are left out of means; steps: {steps}; baseline: {result['baseline']}"
        )
    for method, why in result["unknown"].items():
        yield f"{method}: unknown for some prompts ({why})"
    for name, n in result["skipped"].items():
        if n:
            yield f"left out: {n} prompts {_SKIPPED[name]}"
    n_flips = result["n_flips"]
    n_shown = sum(one["kind"] != "chosen" for one in result["shown"])
    if n_flips:
        yield f"flips between control and a stimulus: {n_flips}, of which {n_shown} are shown"
    else:
        yield "no answer flipped between control and a stimulus: sampled prompts are shown"
    if result["forced"]:
        yield f"not the model of the run: {result['forced']}"


def _unit(method: str) -> str:
    units = {"gradient-norm": "nats per unit of embedding", "attention-rollout": "share"}
    return units.get(method, "nats")


def _bounds(values: Bounds) -> str:
    value, low, high = values
    if value is None:
        return "unknown"
    if low is None or high is None:
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _percents(values: Bounds) -> str:
    value, low, high = values
    if value is None:
        return "unknown"
    told = f"{100 * value:.1f}%"
    return told if low is None or high is None else f"{told} [{100 * low:.1f}, {100 * high:.1f}]"
