"""Merging: runs of one task under equal settings become one, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emo_harness.errors import UserError, quoted
from emo_harness.runs.arm_scores import ArmScores, SampleLine, occurrences
from emo_harness.runs.comparable import refuse_other_data
from emo_harness.runs.record import RunArm

_KIND_ORDER = {"control": 0, "placebo": 1, "stimulus": 2}
SAME = 1e-9


def merge(scores: Iterable[ArmScores]) -> tuple[list[ArmScores], list[str]]:
    """Put together what has the same model, settings, task, placement, metric and filter.

    Questions and arms are united; a cell that several runs have counts once and must agree; a
    cell that none has is NaN. A question that occurs twice within a run is two questions.

    Returns:
        The scores, and one sentence for each set of runs that was put together.

    Raises:
        UserError: runs disagree in a score.
    """
    groups: dict[tuple[object, ...], list[ArmScores]] = {}
    for one in scores:
        settings = tuple(sorted(one.settings.items()))
        key = (one.model, settings, one.task, one.placement, one.metric, one.filter)
        groups.setdefault(key, []).append(one)
    told: dict[tuple[str, ...], _Told] = {}
    merged = []
    for group in groups.values():
        if len(group) == 1:
            merged.append(group[0])
            continue
        refuse_other_data(group)
        one, n_shared = _merged(sorted(group, key=lambda s: s.facts.date))
        merged.append(one)
        names = (one.model, *(s.facts.results_file for s in group))
        told.setdefault(names, _Told()).add(one.task, n_shared)
    return merged, [entry.sentence(*names) for names, entry in told.items()]


class _Told:
    """What is said of one set of runs that was put together."""

    def __init__(self) -> None:
        self._n_shared: dict[str, int] = {}

    def add(self, task: str, n_shared: int) -> None:
        self._n_shared[task] = max(n_shared, self._n_shared.get(task, 0))

    def sentence(self, model: str, *results_files: str) -> str:
        names = list(self._n_shared)
        tasks = names[0] if len(names) == 1 else f"{len(names)} tasks"
        shared = sum(self._n_shared.values())
        again = f"{shared} scores are in more than one of them, agree, and count once"
        return (
            f"Merged {len(results_files)} runs of {tasks} by {model} "
            f"({quoted(results_files, 4)}): {again if shared else 'no score is in two of them'}."
        )


def _merged(group: Sequence[ArmScores]) -> tuple[ArmScores, int]:
    """The union of runs, oldest first, and how many cells several of them had."""
    newest = group[-1]
    arms = united_arms(group)
    column_of = {arm.id: i for i, arm in enumerate(arms)}
    rows: dict[tuple[str, int], int] = {}
    places: list[tuple[ArmScores, NDArray[np.intp], NDArray[np.intp]]] = []
    for one in group:
        row_numbers = [rows.setdefault(key, len(rows)) for key in occurrences(one.questions)]
        column_numbers = [column_of[arm.id] for arm in one.arms]
        places.append((one, np.array(row_numbers), np.array(column_numbers)))
    shape = (len(rows), len(arms))
    scores = np.full(shape, np.nan)
    filled = {
        "unparsed": np.zeros(shape, dtype=bool),
        "refused": np.zeros(shape, dtype=bool),
        "answer_chars": np.full(shape, np.nan),
        "prompt_chars": np.full(shape, np.nan),
        "truncated": np.zeros(shape, dtype=bool),
        "within_variance": np.full(shape, np.nan),
    }
    n_shared = 0
    for one, own, columns in places:
        cells = np.ix_(own, columns)
        before = scores[cells]
        both = ~np.isnan(before) & ~np.isnan(one.scores)
        disagree = both & (np.abs(before - one.scores) > SAME)
        if disagree.any():
            raise _disagreement(group, one, int(disagree.sum()), int(both.sum()))
        n_shared += int(both.sum())
        new = np.isnan(before) & ~np.isnan(one.scores)
        scores[cells] = np.where(new, one.scores, before)
        for name, whole in filled.items():
            value = getattr(one, name)
            if value is not None:
                whole[cells] = np.where(new, value, whole[cells])
    texts: dict[str, dict[int, str]] = {"questions": {}, "prompts": {}, "targets": {}}
    lines: dict[int, tuple[SampleLine, ...]] = {}
    doc_ids = np.zeros(len(rows), dtype=np.int64)
    for one, own, _ in places:
        for i, row in enumerate(own.tolist()):
            for name, known in texts.items():
                known.setdefault(row, getattr(one, name)[i])
            lines[row] = (*lines.get(row, ()), *one.lines[i])
        doc_ids[own] = one.doc_ids
    in_order = range(len(rows))
    known_truncated = all(one.truncated is not None for one in group)
    known_variance = all(one.within_variance is not None for one in group)
    return (
        replace(
            newest,
            n_available=max(one.n_available for one in group),
            stimuli_sha256=_stimuli_hash(group, arms),
            arms=arms,
            questions=tuple(texts["questions"][row] for row in in_order),
            prompts=tuple(texts["prompts"][row] for row in in_order),
            targets=tuple(texts["targets"][row] for row in in_order),
            doc_ids=doc_ids,
            scores=scores,
            unparsed=filled["unparsed"],
            truncated=filled["truncated"] if known_truncated else None,
            refused=filled["refused"],
            answer_chars=filled["answer_chars"],
            prompt_chars=filled["prompt_chars"],
            within_variance=filled["within_variance"] if known_variance else None,
            lines=tuple(lines[row] for row in in_order),
        ),
        n_shared,
    )


def united_arms(group: Sequence[ArmScores]) -> tuple[RunArm, ...]:
    """The arms of all runs: control, placebos, stimuli, each in the order of its first run."""
    seen = {arm.id: arm for one in reversed(group) for arm in one.arms}
    order = {arm.id: None for one in group for arm in one.arms}
    return tuple(sorted((seen[i] for i in order), key=lambda arm: _KIND_ORDER.get(arm.kind, 3)))


def _stimuli_hash(group: Sequence[ArmScores], arms: Sequence[RunArm]) -> str:
    """The runs' own hash where it is one; else that of the united arms, made in the same way."""
    hashes = {one.stimuli_sha256 for one in group}
    if len(hashes) == 1:
        return hashes.pop()
    from emo_harness.stimuli import DECODED, Stimulus, content_hash

    return content_hash(
        Stimulus.model_construct(
            id=a.id,
            text=a.text,
            family=DECODED if a.decoded and a.kind == "stimulus" else a.family,
            placebo=a.placebo,
            image=a.image,
        )
        for a in arms
        if a.kind != "control"
    )


def _disagreement(
    group: Sequence[ArmScores], one: ArmScores, n_disagree: int, n_shared: int
) -> UserError:
    others = [s.facts.results_file for s in group if s is not one]
    return UserError(
        f"putting together runs of {one.task} by {one.model} with equal settings",
        found=f"{n_disagree} of {n_shared} scores ({one.metric}, {one.filter}) in "
        f"{one.facts.results_file} differ from those in {quoted(others, 3)}",
        expected="equal scores for equal questions, arms and settings",
        fix="name only one of the runs; where answers are sampled, run again with another --seed, "
        "or ask for several answers at once with the option `repeats`",
    )
