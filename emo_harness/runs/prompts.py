"""Prompts: every question of a run under every arm, as the model was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_harness.errors import UserError, nearest, quoted
from emo_harness.runs.answers import read_answers
from emo_harness.runs.arm_scores import ArmScores, occurrences
from emo_harness.runs.run_reader import read_runs
from emo_harness.runs.settings import shows_images

if TYPE_CHECKING:
    import pandas as pd

# Questions read back together: their answers are in memory too, and may be long.
AT_A_TIME = 200


def run_prompts(
    folders: Iterable[Path],
    *,
    tasks: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    n_questions: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Read the prompts of run folders.

    A question that is answered by log-likelihoods has one prompt per arm: what stands before its
    options. What several models or settings were asked alike comes once.

    Args:
        tasks: lm-eval's names of tasks, or of subtasks; all by default.
        arms: arm ids; all by default.
        n_questions: the first so many of each task; all by default.
        progress: show a bar, where there is a terminal.

    Returns:
        One row per task, question and arm: `text`; `task`, `benchmark`, `subtask`, `mode` and
        `placement`; `question` (lm-eval's hash of it), `occurrence` (how often it came before in
        its task) and `doc_id`; `arm`, `arm_kind` and `family`.

    Raises:
        UserError: runs that cannot be read, a task or arm that they have not, or images beside
            the text.
    """
    import pandas as pd

    scores = _one_per_task(read_runs(folders, count_tokens=False, progress=progress).scores)
    named = {name for one in scores for name in (one.task, one.subtask)}
    refuse_unknown("task", tasks, named)
    wanted = [o for o in scores if tasks is None or {o.task, o.subtask} & set(tasks)]
    refuse_images(wanted)
    refuse_unknown("arm", arms, {arm.id for one in wanted for arm in one.arms})
    rows = [row for one in wanted for row in _rows(one, arms, n_questions)]
    table = pd.DataFrame(rows)
    same = ["task", "placement", "question", "occurrence", "arm", "text"]
    return table.drop_duplicates(same, ignore_index=True)


def _one_per_task(scores: Sequence[ArmScores]) -> list[ArmScores]:
    """Of each task under one model and settings one filter's scores: their prompts are the same."""
    found: dict[tuple[Any, ...], ArmScores] = {}
    for one in scores:
        key = (one.model, one.task, one.placement, tuple(sorted(one.settings.items())))
        found.setdefault(key, one)
    return list(found.values())


def _rows(
    one: ArmScores, arms: Sequence[str] | None, n_questions: int | None
) -> Iterator[dict[str, Any]]:
    keys = occurrences(one.questions)[:n_questions]
    for first in range(0, len(keys), AT_A_TIME):
        some = range(first, min(first + AT_A_TIME, len(keys)))
        for row, answer in zip(some, read_answers(one.lines[i] for i in some), strict=True):
            for arm in one.arms:
                if arm.id not in answer.prompts or (arms is not None and arm.id not in arms):
                    continue
                yield {
                    "text": answer.prompts[arm.id],
                    "task": one.task,
                    "benchmark": one.benchmark,
                    "subtask": one.subtask,
                    "mode": one.mode,
                    "placement": one.placement,
                    "question": keys[row][0],
                    "occurrence": keys[row][1],
                    "doc_id": int(one.doc_ids[row]),
                    "arm": arm.id,
                    "arm_kind": arm.kind,
                    "family": arm.family,
                }


def refuse_images(scores: Sequence[ArmScores]) -> None:
    """Refuse prompts of which the text alone is known here.

    Raises:
        UserError: images stood beside the text of some.
    """
    shown = [one.task for one in scores if shows_images(one.settings)]
    if shown:
        raise UserError(
            "reading the prompts of a run",
            found=f"{quoted(dict.fromkeys(shown))}, whose prompts had images beside the text",
            expected="prompts of text alone",
            fix="name tasks without images, or a run of such tasks",
        )


def refuse_unknown(what: str, wanted: Sequence[str] | None, known: set[str]) -> None:
    """Refuse names that a run does not have.

    Args:
        what: they are names of, e.g. "arm".

    Raises:
        UserError: one of them is not known.
    """
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise UserError(
            f"choosing {what}s of a run",
            found=f"{what} {unknown[0]!r}{nearest(unknown[0], known)}",
            expected=quoted(sorted(known), 40),
            fix=f"name {what}s that the run has",
        )
