"""From the declarations in `tasks/` to lm-eval's YAML files, one per subtask and one per group.

The wheel is built with what `expanded` returns (as `lm_eval/tasks/emo_harness/`), `emo run`
writes the same files where no wheel has put them. Needs PyYAML alone, so that it can run at
build time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from emo_harness.resources import resource

SHIPPED_FAMILIES = ("attack", "prompt", "negative")
# Families of images; the tasks of a visual mode are called after what follows the dash.
VISUAL = "visual-"
VISUAL_FAMILIES = ("visual-attack", "visual-prompt")
# The family of meta prompts, which `emo decode` writes and nobody ships.
DECODED = "decoded"
TASK_CLASS = "emo_harness.lm_tasks.EmotionTask"
VISUAL_TASK_CLASS = "emo_harness.lm_tasks.VisualEmotionTask"


def metric_names(metric: str, family: str, visual: bool = False) -> list[str]:
    """The names under which a family's task may report a metric of its base task.

    With several families in one task (`all`) every family has its own set of metrics. A decoded
    set has plain ones where all was decoded from one family, else one set per such family.

    Args:
        visual: whether the task's stimuli are images, which have scrambled copies beside them.
    """
    shared = [f"{metric}_control", f"{metric}_placebo"]
    if visual:
        shared.append(f"{metric}_scrambled")
    if family == "all":
        families = VISUAL_FAMILIES if visual else SHIPPED_FAMILIES
        return shared + [n for f in families for n in family_metric_names(metric, f, f)]
    names = family_metric_names(metric, family)
    if family == DECODED:
        lineages = [f"{DECODED}-{source}" for source in SHIPPED_FAMILIES]
        names += [n for lineage in lineages for n in family_metric_names(metric, lineage, lineage)]
    return names + shared


def family_metric_names(metric: str, family: str, label: str = "") -> list[str]:
    """The metrics that depend on a family's stimuli, e.g. acc, acc_gain, acc_worst."""
    stem = f"{metric}_{label}" if label else metric
    names = [stem, f"{stem}_gain", f"{stem}_gain_vs_placebo", f"{stem}_worst"]
    if family.startswith(VISUAL):
        names.append(f"{stem}_gain_vs_scrambled")
    return [*names, f"{stem}_best"] if family in ("prompt", f"{VISUAL}prompt") else names


def declarations() -> list[dict[str, Any]]:
    """Every benchmark's declaration, in the order of their files' names."""
    return [yaml.safe_load(p.read_text("utf-8")) for p in sorted(resource("tasks").glob("*.yaml"))]


def expanded() -> Iterator[tuple[str, str]]:
    """Yield (relative path, YAML text) for every task and group."""
    for declared in declarations():
        for mode, facts in declared["modes"].items():
            for family in _families(declared, facts):
                yield from _expand_one(declared, mode, facts, family)


def groups() -> dict[str, list[str]]:
    """Every group and its tasks; a benchmark without subtasks is a task of its own, with none."""
    return {
        facts["group"].format(family=family): [
            f"{facts['group'].format(family=family)}_{subtask}"
            for subtask in _subtasks(declared, facts)
        ]
        for declared in declarations()
        for facts in declared["modes"].values()
        for family in _families(declared, facts)
    }


def task_names() -> list[str]:
    """Every expanded name, groups and tasks."""
    return [name for group, members in groups().items() for name in (group, *members)]


def write_expanded(folder: Path) -> None:
    """Write every task and group below `folder`."""
    for path, text in expanded():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _expand_one(
    declared: dict[str, Any], mode: str, facts: dict[str, Any], family: str
) -> Iterator[tuple[str, str]]:
    group = facts["group"].format(family=family)
    subtasks = _subtasks(declared, facts)
    visual = facts.get("visual", False)
    asked_for = f"{VISUAL}{family}" if visual and family != "all" else family
    folder = f"{declared['benchmark']}/{mode}/{family}"
    metadata = {"version": declared["version"]}
    leaves: list[str | None] = [*subtasks] or [None]
    for subtask in leaves:
        name = f"{group}_{subtask}" if subtask else group
        upstream = facts.get("upstream", "").format(subtask=subtask) or None
        yield (
            f"{folder}/{name}.yaml",
            _yaml(
                {
                    "task": name,
                    "output_type": facts["output_type"],
                    "emo_task": {
                        "benchmark": declared["benchmark"],
                        "subtask": subtask,
                        "mode": facts.get("mode", mode),
                        "family": asked_for,
                        **({"visual": True} if visual else {}),
                        "upstream": upstream,
                        "metric": facts["metrics"][0],
                        "filter": facts["filter"],
                    },
                    "metadata": metadata,
                },
                first=f"class: !function {VISUAL_TASK_CLASS if visual else TASK_CLASS}\n",
            ),
        )
    if subtasks:
        # Which sources were decoded is known at run time alone. lm-eval warns of every metric it
        # does not find under a named filter, and passes over it where it looks for filters itself.
        filters = None if family == DECODED else facts["filter"]
        aggregates = [
            {
                "metric": name,
                "aggregation": "mean",
                "weight_by_size": True,
                "filter_list": filters,
            }
            for metric in facts["metrics"]
            for name in metric_names(metric, asked_for, visual)
        ]
        yield (
            f"{folder}/{group}.yaml",
            _yaml(
                {
                    "group": group,
                    "task": [f"{group}_{subtask}" for subtask in subtasks],
                    "aggregate_metric_list": aggregates,
                    "metadata": metadata,
                }
            ),
        )


def _families(declared: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """A mode's own families, else the benchmark's."""
    families: list[str] = facts.get("families", declared.get("families", []))
    return families


def _subtasks(declared: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    return [s for s in declared.get("subtasks", []) if s not in facts.get("without", [])]


def _yaml(content: dict[str, Any], first: str = "") -> str:
    return first + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
