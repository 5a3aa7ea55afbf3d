"""Reading runs: from folders to comparable scores, on all processors, from the store if it can."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emo_harness.errors import UserError, quoted
from emo_harness.runs import store
from emo_harness.runs.arm_scores import ArmScores, arm_scores
from emo_harness.runs.comparable import (
    refuse_other_prompts,
    refuse_other_questions,
    refuse_other_stimuli,
    version_remarks,
)
from emo_harness.runs.facts import RunFacts
from emo_harness.runs.merge import merge
from emo_harness.runs.results import RunTask, find_tasks
from emo_harness.runs.samples import SamplesReading, read_samples

# Starting a process takes as long as reading about so much.
BYTES_WORTH_A_PROCESS = 64_000_000
MOST_PROCESSES = 8


@dataclass(frozen=True)
class RunsRead:
    """What run folders hold: scores that may be compared, facts, and what to know about them.

    Attributes:
        scores: merged, one per model, settings, task, metric and filter.
        facts: one per results file, oldest first.
        remarks: what was merged or is to be known, one sentence each.
    """

    scores: list[ArmScores]
    facts: list[RunFacts]
    remarks: list[str]


def read_runs(
    folders: Iterable[Path],
    *,
    count_tokens: bool = True,
    progress: bool = True,
    n_processes: int | None = None,
) -> RunsRead:
    """Read run folders, refuse what cannot be compared, merge what was asked again.

    Args:
        count_tokens: look for truncated prompts where a run's tokenizer is at hand.
        progress: show a bar, where there is a terminal.
        n_processes: read with so many; None for as many processors as there are and files are
            large.

    Raises:
        UserError: folders or files that cannot be read, or runs that are not comparable.
    """
    tasks = find_tasks(folders)
    refuse_other_stimuli(tasks)
    readings = dict(_readings(tasks, count_tokens, progress, n_processes))
    parts: dict[Path, list[tuple[RunTask, SamplesReading]]] = {}
    for i, task in enumerate(tasks):
        parts.setdefault(task.results_file, []).append((task, readings[i]))
    facts = {path: _whole_facts(own) for path, own in parts.items()}
    scores = [
        one
        for i, task in enumerate(tasks)
        for one in arm_scores(task, readings[i], facts[task.results_file])
    ]
    refuse_other_prompts(scores)
    merged, remarks = merge(scores)
    refuse_other_questions(merged)
    remarks += version_remarks(scores)
    remarks += _lost(tasks, readings)
    remarks += dict.fromkeys(remark for r in readings.values() for remark in r.remarks)
    in_order = sorted(facts.values(), key=lambda f: (f.date, f.results_file))
    return RunsRead(merged, in_order, remarks)


def read_scores(task: RunTask, count_tokens: bool = True) -> list[ArmScores]:
    """Read one task's samples: one `ArmScores` per metric and filter, not merged with others.

    Raises:
        UserError: see `read_samples`.
    """
    reading = _read(task, count_tokens)
    return arm_scores(task, reading, _whole_facts([(task, reading)]))


def _readings(
    tasks: Sequence[RunTask], count_tokens: bool, progress: bool, n_processes: int | None
) -> Iterator[tuple[int, SamplesReading]]:
    """(index of the task, its reading), from the store first, then large files before small."""
    from tqdm import tqdm

    sizes = [task.samples_file.stat().st_size for task in tasks]
    bar = tqdm(
        total=sum(sizes),
        desc="reading samples",
        unit="B",
        unit_scale=True,
        disable=None if progress else True,
    )
    with bar:
        unread = []
        for i, task in enumerate(tasks):
            path = store.stored_file(task, count_tokens)
            stored = store.load(path) if path else None
            if stored is None:
                unread.append(i)
                continue
            bar.update(sizes[i])
            yield i, stored
        unread.sort(key=sizes.__getitem__, reverse=True)
        n = n_processes or _worth_processes(sum(sizes[i] for i in unread), len(unread))
        for i, reading in _read_all({i: tasks[i] for i in unread}, count_tokens, n):
            bar.update(sizes[i])
            yield i, reading


def _worth_processes(n_bytes: int, n_files: int) -> int:
    try:
        n_processors = len(os.sched_getaffinity(0))
    except AttributeError:
        n_processors = os.cpu_count() or 1
    return max(min(n_processors, n_files, MOST_PROCESSES, n_bytes // BYTES_WORTH_A_PROCESS), 1)


def _read_all(
    tasks: Mapping[int, RunTask], count_tokens: bool, n_processes: int
) -> Iterator[tuple[int, SamplesReading]]:
    left = dict(tasks)
    if n_processes > 1 and len(left) > 1:
        try:
            for i, reading in _read_in_processes(left, count_tokens, n_processes):
                del left[i]
                yield i, reading
        except BrokenProcessPool:
            # Where processes cannot be started, or were killed, the rest is read here.
            pass
    for i, task in left.items():
        yield i, _read(task, count_tokens)


def _read_in_processes(
    tasks: Mapping[int, RunTask], count_tokens: bool, n_processes: int
) -> Iterator[tuple[int, SamplesReading]]:
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_processes, mp_context=spawning)
    try:
        futures: dict[Future[SamplesReading | tuple[str, ...]], int] = {
            pool.submit(_read_or_refuse, task, count_tokens): i for i, task in tasks.items()
        }
        for future in as_completed(futures):
            result = future.result()
            if isinstance(result, tuple):
                doing, found, expected, fix = result
                raise UserError(doing, found=found, expected=expected, fix=fix)
            yield futures[future], result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_or_refuse(task: RunTask, count_tokens: bool) -> SamplesReading | tuple[str, ...]:
    """In a process of its own: the reading, or the four parts of what is wrong."""
    try:
        return _read(task, count_tokens)
    except UserError as error:
        return (error.doing, error.found, error.expected, error.fix)


def _read(task: RunTask, count_tokens: bool) -> SamplesReading:
    path = store.stored_file(task, count_tokens)
    stored = store.load(path) if path else None
    if stored is not None:
        return stored
    reading = read_samples(task, count_tokens)
    # The key holds the file's age before it was read: a file that grew meanwhile is another one.
    if path is not None and path == store.stored_file(task, count_tokens):
        store.save(path, reading)
    return reading


def _lost(tasks: Sequence[RunTask], readings: Mapping[int, SamplesReading]) -> list[str]:
    """What is said of arms without any score in a task, though its samples name them."""
    lost: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], dict[str, int]] = {}
    for i, task in enumerate(tasks):
        reading = readings[i]
        slots: dict[tuple[str, ...], list[str]] = {}
        for (metric, filter_name), scores in zip(reading.slots, reading.scores, strict=True):
            unknown = np.flatnonzero(np.isnan(scores).all(axis=0))
            ids = tuple(task.arms[column].id for column in unknown)
            slots.setdefault(ids, []).append(f"{metric} under {filter_name}")
        for ids, names in slots.items():
            if ids:
                key = (task.model, task.facts.results_file, ids, tuple(names))
                lost.setdefault(key, {})[task.task] = len(reading.questions)
    return [
        f"No score of {quoted(ids)} in {quoted(counts)} by {model} ({quoted(names)}; "
        f"{results_file}): all {sum(counts.values())}{'' if len(ids) == 1 else ' of each'} are "
        "null or NaN, and count as unknown."
        for (model, results_file, ids, names), counts in lost.items()
    ]


def _whole_facts(parts: Sequence[tuple[RunTask, SamplesReading]]) -> RunFacts:
    """A results file's facts with what its samples add."""
    prompt_chars = [float(np.nansum(reading.prompt_chars)) for _, reading in parts]
    answer_chars = [float(np.nansum(r.answer_chars)) * r.n_repeats for _, r in parts]
    per_char = [reading.tokens_per_char for _, reading in parts]
    return replace(
        parts[0][0].facts,
        samples_bytes=sum(task.samples_file.stat().st_size for task, _ in parts),
        prompt_chars=sum(prompt_chars),
        answer_chars=sum(answer_chars),
        prompt_tokens=sum(n * t for n, (t, _) in zip(prompt_chars, per_char, strict=True)),
        answer_tokens=float(
            sum(n * t for n, (_, t) in zip(answer_chars, per_char, strict=True) if n > 0)
        ),
    )
