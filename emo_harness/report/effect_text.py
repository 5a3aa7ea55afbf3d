"""The effect table as text: what the terminal and `effects.md` show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from emo_harness.effects import DIFFERING_FOR_T
from emo_harness.report.board_table import interval
from emo_harness.report.effect_table import EffectRow
from emo_harness.report.placed import placement_title
from emo_harness.stimuli import VISUAL


def markdown(rows: Sequence[EffectRow]) -> str:
    """The rows that a benchmark is reported by, one table per model, benchmark and family."""
    parts = ["# Effects", "", READING, ""]
    for title, shown in reported_tables(rows):
        parts += [f"## {title}", ""]
        parts += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        parts += ["| " + " | ".join(cells(row)) + " |" for row in shown]
        parts += ["", *notes(shown), ""]
    return "\n".join(parts)


READING = (
    "Gain: score under the arm minus score of the untouched prompt, paired by question, in "
    "percentage points with its 95% interval. Against placebo: minus the neutral sentence nearest "
    "in length; of an image minus its own neutral twin, and of a mean over images the mean over "
    "those that have one. Unparsed and cut: share of answers that the filter "
    "could not read, and of prompts that did not fit the context, control > arm."
)
COLUMNS = (
    "stimulus",
    "n",
    "control %",
    "arm %",
    "gain pp [95% interval]",
    "against placebo pp",
    "unparsed %",
    "cut %",
)


def reported_tables(rows: Iterable[EffectRow]) -> list[tuple[str, list[EffectRow]]]:
    """(title, rows) per model, benchmark, mode, placement and family asked, subtasks together."""
    tables: dict[tuple[str, str, str], list[EffectRow]] = {}
    for row in rows:
        # Controls of decoded stimuli are many; their means stand for them.
        if not row.primary or row.kind == "theory" or row.is_decoded_control:
            continue
        title = (
            f"{row.label}: {row.benchmark} {row.mode} {row.asked}",
            row.placement,
            f"({row.metric}, {row.filter})",
        )
        shown = tables.setdefault(title, [])
        # The first rows of a group are those of all its subtasks together.
        if not shown or row.subtask == shown[0].subtask:
            shown.append(row)
    return [
        (f"{who}, {placement_title(shown)} {scored}, {_asked(shown[0])}", shown)
        for (who, _, scored), shown in tables.items()
    ]


def _asked(row: EffectRow) -> str:
    return f"{row.n_subtasks} subtasks" if row.n_subtasks > 1 else row.subtask


def cells(row: EffectRow) -> list[str]:
    """A row's cells, in the order of `COLUMNS`."""
    name = {
        "family": f"{row.family}: mean of {row.n_stimuli}",
        "controls": f"{row.stimulus}: mean of {row.n_stimuli}",
    }.get(row.kind, row.stimulus)
    return [
        name,
        str(row.n_questions),
        f"{row.control_pct:.1f}",
        f"{row.arm_pct:.1f}",
        interval(row.gain_pp, row.gain_low_pp, row.gain_high_pp),
        interval(row.gain_vs_placebo_pp, row.gain_vs_placebo_low_pp, row.gain_vs_placebo_high_pp),
        _change(row.unparsed_control_pct, row.unparsed_arm_pct),
        _change(row.truncated_control_pct, row.truncated_arm_pct),
    ]


def notes(rows: Sequence[EffectRow]) -> list[str]:
    """What a reader of these rows must know."""
    told = []
    if any(row.limited for row in rows):
        told.append("A part of the questions was asked (--limit or --samples): not for reporting.")
    if any("score" in row.gain_method for row in rows):
        told.append(
            f"Where fewer than {DIFFERING_FOR_T} questions differ, or nearly all one way, the "
            "interval is a score interval; elsewhere Student's t over questions."
        )
    if any(row.n_lost for row in rows):
        told.append(
            f"Up to {max(row.n_lost for row in rows)} questions have no score under some arm and "
            "are left out of that arm's pairs."
        )
    unknown = [row for row in rows if math.isnan(row.truncated_control_pct)]
    if unknown and all(row.asked.startswith(VISUAL) for row in unknown):
        told.append(
            "Cut is unknown: tokens of images are not counted here. emo-vlm cuts text alone, and "
            "its results say under which arms."
        )
    elif unknown:
        told.append(
            "Cut is unknown: the run's tokenizer is not at hand here (lengths are in words). If "
            "the run named a model folder by a relative path, report from where it was run."
        )
    return told


def _change(control: float, arm: float) -> str:
    return "unknown" if math.isnan(control) else f"{control:.0f} > {arm:.0f}"
