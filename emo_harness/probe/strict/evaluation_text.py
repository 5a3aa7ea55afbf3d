"""An evaluation as tables: a probe's accuracies, and its controls under them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_harness.probe.evaluation import Evaluation
from emo_harness.probe.strict.controls import LAYER_0
from emo_harness.probe.strict.splits import PARTS

Row = Mapping[str, Any]
PROBES = ("logistic", "ridge", "lda", "mean-difference", "knn")
READING = (
    "E1 unseen word, E2 unseen template, E3 both seen but not together, E4 both unseen. In "
    "brackets 95% intervals, clustered by word and template; chance is .50."
)
READING_EMO_LLM = (
    "E1 unseen adjective in any template, E2 unseen template, E3 both seen but not together. In "
    "brackets 95% intervals, clustered by adjective and template; chance is .50. This protocol has "
    "no controls: see --protocol strict."
)
UNINFORMATIVE = "(!) at chance by construction: it cannot put word and negation together"


@dataclass(frozen=True)
class Table:
    """One table for the terminal: cells by row, and whether a row is set bold."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[tuple[str, ...], bool]]
    notes: tuple[str, ...]


def tables(evaluation: Evaluation) -> list[Table]:
    """Per dimension: all prompts by features, then within negated and not negated prompts."""
    found = []
    for dimension in evaluation.dimensions:
        own = [
            row
            for row in evaluation.results
            if row["dimension"] == dimension and row["statistic"] == "accuracy"
        ]
        features = list(dict.fromkeys(row["features"] for row in own))
        site = own[0]["site"] if own else ""
        rows = []
        for feature in sorted(features, key=len):
            rows.append(((f"{feature} activations", *[""] * len(PARTS)), True))
            rows += _probes([row for row in own if row["features"] == feature])
        controls = _controls([row for row in own if row["features"] == "raw"], "all")
        notes: tuple[str, ...] = (READING_EMO_LLM,)
        if controls:
            rows += [(("controls", *[""] * len(PARTS)), True), *controls]
            notes = (READING, UNINFORMATIVE)
        found.append(Table(f"{dimension} at {site}", ("", *PARTS), rows, notes))
        within = [
            line
            for subset in ("not negated", "negated")
            for line in _within([row for row in own if row["features"] == "raw"], subset)
        ]
        if within:
            found.append(
                Table(
                    f"{dimension} at {site}, "
                    + ("fitted and asked" if controls else "fitted on all, asked")
                    + " within prompts of one kind",
                    ("", *PARTS),
                    within,
                    ("here a control that is additive can be right",) if controls else (),
                )
            )
    return found


def _probes(rows: Sequence[Row]) -> list[tuple[tuple[str, ...], bool]]:
    found = []
    everywhere = [r for r in rows if r["subset"] == "all" and r["head"] is None]
    for method in PROBES:
        own = [r for r in everywhere if r["method"] == method and r["kind"] == "probe"]
        pooled = [r for r in own if r["layer"] is None]
        twin = [r for r in everywhere if r["of"] == method and r["layer"] is None]
        found += _line(f"  {method}, all layers", pooled)
        found += _line("    shuffled labels", [r for r in twin if r["method"].startswith("shuf")])
        found += _line("    control task", [r for r in twin if r["method"].startswith("random")])
        layered = [r for r in own if r["layer"] is not None and r["split"] == "E4"]
        if layered:
            best = max(layered, key=lambda r: _sortable(r["accuracy"]))["layer"]
            text = f"  {method}, layer {best} (best at E4)"
            found += _line(text, [r for r in own if r["layer"] == best])
    return found


def _controls(rows: Sequence[Row], subset: str) -> list[tuple[tuple[str, ...], bool]]:
    found = []
    own = [r for r in rows if r["kind"] == "control" and r["subset"] == subset]
    for name in dict.fromkeys(r["method"] for r in own if not r["of"]):
        named = [r for r in own if r["method"] == name]
        mark = "" if named[0]["informative"] else " (!)"
        found += _line(f"  {name}{mark}", named)
    for of in PROBES:
        named = [r for r in own if r["method"] == LAYER_0 and r["of"] == of and r["head"] is None]
        found += _line(f"  {LAYER_0}, {of}", named)
    return found


def _within(rows: Sequence[Row], subset: str) -> list[tuple[tuple[str, ...], bool]]:
    pooled = [
        r for r in rows if r["subset"] == subset and r["kind"] == "probe" and r["layer"] is None
    ]
    if not pooled:
        return []
    lines = [((f"{subset} prompts", *[""] * len(PARTS)), True)]
    for method in PROBES:
        lines += _line(f"  {method}, all layers", [r for r in pooled if r["method"] == method])
    return lines + _controls(rows, subset)


def _line(name: str, rows: Iterable[Row]) -> list[tuple[tuple[str, ...], bool]]:
    cells = {row["split"]: _cell(row) for row in rows}
    return [((name, *(cells.get(part, "") for part in PARTS)), False)] if cells else []


def _cell(row: Row) -> str:
    flag = "?" if row.get("converged") is False else ""
    interval = ""
    if _sortable(row["low"]) > -1:
        interval = f" [{_share(row['low'])}, {_share(row['high'])}]"
    return f"{_share(row['accuracy'])}{flag}{interval}"


def _share(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2f}".removeprefix("0")


def _sortable(value: float | None) -> float:
    return -1.0 if value is None or math.isnan(value) else value


def conclusions(evaluation: Evaluation) -> list[str]:
    """Verdicts on unseen words in unseen templates (E4), and how dimensions relate."""
    lines = [
        one["text"]
        for one in evaluation.verdicts
        if one["split"] == "E4" and one["subset"] == "all" and one["layer"] is None
    ]
    for row in evaluation.results:
        if row["split"].startswith("from ") and row["method"] == "mean-difference":
            lines.append(
                f"{row['dimension']} read by the axis of {row['of']}: {_cell(row)} (chance .50)"
            )
    for pair, found in evaluation.robustness.items():
        for one in found.get("angles", []):
            if one["layer"] is None:
                lines.append(
                    f"angle between {pair}, all layers: {one['angle_degrees']:.0f} degrees, cosine "
                    f"{one['cosine']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"
                )
    return lines
