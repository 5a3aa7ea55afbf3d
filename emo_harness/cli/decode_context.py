"""The instructions of benchmarks, behind which `emo decode --context` reads stimuli."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from emo_harness.errors import UserError, nearest, quoted


def instructions(names: Sequence[str]) -> list[str]:
    """What the prompts of tasks begin with, task by task.

    Args:
        names: of benchmarks ("bbh"), groups ("emo_bbh_mini_attack", "emo_bbh_mc") and tasks.

    Raises:
        UserError: there is no such task.
    """
    from emo_harness.lm_tasks.base_config import base_config

    known = list(_tasks())
    found: dict[tuple[str, str | None], str] = {}
    for name in names:
        declared = [one for also, one in known if name in also]
        if not declared:
            all_names = dict.fromkeys(n for also, _ in known for n in also)
            benchmarks = dict.fromkeys(one.benchmark for _, one in known)
            raise UserError(
                f"looking for the instruction of {name[:60]!r}",
                found=f"no such benchmark or task{nearest(name, all_names)}",
                expected=f"a benchmark ({quoted(benchmarks)}), or one of its groups or tasks",
                fix="`emo tasks list` shows them",
            )
        for one in declared:
            task = (one.benchmark, one.subtask)
            found.setdefault(task, str(base_config(one).get("description") or ""))
    return list(found.values())


def _tasks() -> Iterator[tuple[set[str], Any]]:
    """Every task under the names that mean it, and what it declares."""
    from emo_harness.lm_tasks.base_config import TaskDeclaration
    from emo_harness.lm_tasks.expand import declarations

    for declared in declarations():
        benchmark = declared["benchmark"]
        for number, (mode, facts) in enumerate(declared["modes"].items()):
            if facts.get("visual"):
                continue
            group = facts["group"]
            groups = {group.format(family=family) for family in declared["families"]}
            groups.add(group.removesuffix("_{family}"))
            if not number:
                groups |= {benchmark, f"emo_{benchmark}"}
            without = facts.get("without", [])
            for subtask in declared.get("subtasks") or [None]:
                if subtask in without:
                    continue
                leaves = {f"{one}_{subtask}" for one in groups} if subtask else set()
                upstream = facts.get("upstream", "").format(subtask=subtask) or None
                yield (
                    groups | leaves,
                    TaskDeclaration(
                        benchmark=benchmark,
                        subtask=subtask,
                        mode=mode,
                        family="all",
                        upstream=upstream,
                        metric=facts["metrics"][0],
                        filter=facts["filter"],
                    ),
                )
