"""Comparable: which runs may stand in one report, and why others may not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from emo_harness.errors import UserError, quoted
from emo_harness.runs.arm_scores import ArmScores, occurrences
from emo_harness.runs.results import RunTask
from emo_harness.runs.settings import PROMPT_SETTINGS, decodings

# Hash and run of what each question, by its occurrence, was first seen with.
_Known = dict[tuple[str, int], tuple[str, ArmScores]]
_APART = "report them one by one, into folders of their own"


def refuse_other_stimuli(tasks: Iterable[RunTask]) -> None:
    """One arm id must be one sentence, or image (and one kind of arm), throughout a benchmark.

    Decoded stimuli are other sentences under one id in every decoding, and images others in every
    image set; settings keep these apart.

    Raises:
        UserError: two runs have different texts, images or kinds under one id.
    """
    known: dict[tuple[object, ...], tuple[tuple[object, ...], RunTask]] = {}
    for task in tasks:
        decoding = tuple(decodings(task.arms).items())
        for arm in task.arms:
            is_now = (arm.content, arm.kind, arm.placebo)
            made = decoding if arm.decoded else arm.image.set if arm.image else None
            key = (task.record.benchmark, arm.id, made)
            was, before = known.setdefault(key, (is_now, task))
            if was != is_now:
                what = _told_apart(was, is_now)
                raise UserError(
                    f"comparing runs of {task.record.benchmark}",
                    found=f"{what} under the one arm id {arm.id} ({_task(before)}; {_task(task)})",
                    expected="one stimulus under one id in all runs",
                    fix=f"{_APART}, or give the changed stimulus an id of its own",
                )


def refuse_other_prompts(scores: Iterable[ArmScores]) -> None:
    """Equal questions must have equal targets, and equal prompts where settings are equal.

    A question that occurs twice within a run may be asked with other worked examples each time.

    Raises:
        UserError: two runs differ there, so their controls are not the same condition.
    """
    targets: dict[tuple[str, ...], _Known] = {}
    prompts: dict[tuple[str, ...], _Known] = {}
    for one in _one_per_samples_file(scores):
        asked = _asked(one)
        shaped = tuple(one.settings.get(name, "") for name in PROMPT_SETTINGS)
        _refuse_change(one, one.targets, targets.setdefault(asked, {}), "target")
        _refuse_change(one, one.prompts, prompts.setdefault((*asked, *shaped), {}), "prompt")


def refuse_other_questions(scores: Iterable[ArmScores]) -> None:
    """Runs of one subtask must have asked the same questions.

    Raises:
        UserError: another `--limit`, or other data.
    """
    known: dict[tuple[str, ...], tuple[dict[str, int], ArmScores]] = {}
    for one in _one_per_samples_file(scores):
        counts: dict[str, int] = {}
        for question in one.questions:
            counts[question] = counts.get(question, 0) + 1
        expected, before = known.setdefault(_asked(one), (counts, one))
        if counts != expected:
            both = sum(min(n, counts.get(question, 0)) for question, n in expected.items())
            raise UserError(
                f"comparing runs of {one.benchmark} {one.subtask} ({one.mode})",
                found=f"other questions: {_run(before)} has {len(before.questions)}, "
                f"{_run(one)} {len(one.questions)}, {both} are in both",
                expected="the same questions in all runs of one subtask",
                fix=f"run again with the same data and --limit, or {_APART}",
            )


def refuse_other_data(repeated: Sequence[ArmScores]) -> None:
    """Runs that are to become one must have numbered the same questions.

    Raises:
        UserError: one number stands for two questions, so the data were others.
    """
    known: dict[int, tuple[str, ArmScores]] = {}
    for one in repeated:
        for number, question in zip(one.doc_ids.tolist(), one.questions, strict=True):
            was, before = known.setdefault(number, (question, one))
            if was != question:
                raise UserError(
                    f"putting together runs of {one.task} by {one.model} with equal settings",
                    found=f"different questions under number {number} in "
                    f"{before.facts.results_file} and {one.facts.results_file}",
                    expected="runs of one task that asked the same questions",
                    fix=f"the data changed between the runs; {_APART}",
                )


def version_remarks(scores: Iterable[ArmScores]) -> list[str]:
    """Runs by several versions of lm-eval are allowed, their prompts being equal; it is told."""
    versions = sorted({s.facts.lm_eval_version for s in scores if s.facts.lm_eval_version})
    if len(versions) < 2:
        return []
    return [
        f"Runs were made by several versions of lm-eval ({quoted(versions)}); "
        "where their settings are equal, so are their control prompts."
    ]


def _refuse_change(one: ArmScores, hashes: Sequence[str], known: _Known, what: str) -> None:
    for number, (question, is_now) in enumerate(
        zip(occurrences(one.questions), hashes, strict=True)
    ):
        was, before = known.setdefault(question, (is_now, one))
        if was != is_now:
            raise UserError(
                f"comparing runs of {one.benchmark} {one.subtask} ({one.mode})",
                found=f"another {'control prompt' if what == 'prompt' else what} for the same "
                f"question (number {one.doc_ids[number]}) in {_run(before)} and {_run(one)}",
                expected="the same questions asked in the same words"
                if what == "prompt"
                else "one target for one question",
                fix=f"the task or its data changed between the runs; {_APART}",
            )


def _one_per_samples_file(scores: Iterable[ArmScores]) -> list[ArmScores]:
    """Metrics and filters of one samples file have the same questions."""
    return list({s.lines[0][0].file: s for s in reversed(list(scores))}.values())[::-1]


def _asked(one: ArmScores) -> tuple[str, ...]:
    """What tells question sets apart; generated questions of another seed are others."""
    source = one.settings.get("questions", "")
    seed = source if source.startswith("generated") else ""
    return (one.benchmark, one.subtask, one.mode, seed)


def _told_apart(was: tuple[Any, ...], is_now: tuple[Any, ...]) -> str:
    """What two arms of one id are: (text and pixels, kind, kind of placebo)."""
    (text, pixels), (other_text, other_pixels) = was[0], is_now[0]
    if text != other_text:
        return f"{text[:60]!r} and {other_text[:60]!r}"
    if pixels != other_pixels:
        return f"the images {pixels[:12] or 'none'} and {other_pixels[:12] or 'none'} (SHA-256)"
    return f"a {was[2] or was[1]} and a {is_now[2] or is_now[1]}"


def _task(task: RunTask) -> str:
    return f"{task.model} in {task.facts.results_file}"


def _run(one: ArmScores) -> str:
    return f"{one.facts.results_file} ({one.model})"
