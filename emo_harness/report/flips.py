"""Flips: the questions that a stimulus fixed or broke."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emo_harness.report.groups import Group
from emo_harness.report.plain_text import shortened, visible
from emo_harness.runs import Answer, ArmScores, SampleLine, read_answers

KINDS = ("fixed", "broke")
MOST = 300
# A flip is a score that crosses this: right or wrong, or more often right than wrong.
HALF = 0.5
_MOST_CHARS = 20_000
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Flip:
    """One question that one or more stimuli of a family fixed or broke.

    Attributes:
        label: the model's name as in the claims.
        kind: `fixed` (score below one half under control, not so under the stimulus) or `broke`.
        n_stimuli: stimuli of the family that did the same to this question, out of `of_stimuli`.
        stimulus: one of them, shown; `stimulus_text` its sentence.
        prompt_control, prompt_arm, answer_control, answer_arm, parsed_control, parsed_arm, target:
            as logged; shortened to a few thousand characters, which `shortened` tells.
        score_control, score_arm: 1.0 is right; mean over `n_repeats` responses.
    """

    label: str
    benchmark: str
    subtask: str
    mode: str
    family: str
    doc_id: int
    kind: str
    n_stimuli: int
    of_stimuli: int
    stimulus: str
    stimulus_text: str
    prompt_control: str
    prompt_arm: str
    answer_control: str
    answer_arm: str
    parsed_control: str
    parsed_arm: str
    target: str
    shortened: bool
    score_control: float
    score_arm: float
    n_repeats: int


def flip_table(groups: Iterable[Group]) -> pd.DataFrame:
    """Every question that a stimulus fixed or broke, one row each, without texts."""
    parts = []
    for group in groups:
        if not group.head.primary:
            continue
        doc_ids = np.concatenate([member.doc_ids for member in group.members])
        subtasks = np.array([visible(member.subtask) for member in group.members])
        for family, members in group.families.items():
            for kind in KINDS:
                flipped = _flips(group, members, kind)
                rows = np.flatnonzero(flipped.any(axis=1))
                ids = np.array([visible(group.arms[i].id) for i in members])
                parts.append(
                    pd.DataFrame(
                        {
                            "label": visible(group.label),
                            "benchmark": visible(group.head.benchmark),
                            "subtask": subtasks[group.strata[rows]],
                            "mode": group.head.mode,
                            "placement": group.head.placement,
                            "family": visible(family),
                            "doc_id": doc_ids[rows],
                            "kind": kind,
                            "n_stimuli": flipped[rows].sum(axis=1),
                            "of_stimuli": len(members),
                            "stimuli": [", ".join(ids[flipped[row]]) for row in rows],
                        }
                    )
                )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def most_flipped(groups: Iterable[Group], limit: int = MOST) -> list[Flip]:
    """The questions that most stimuli of a family fixed or broke.

    Models take turns, and within a model its families and kinds, so that each has some.

    Args:
        groups: those by whose metric and filter the benchmark is reported are looked at.
        limit: how many flips in all.
    """
    by_model: dict[str, list[list[_Candidate]]] = {}
    for group in groups:
        if not group.head.primary:
            continue
        for family, members in group.families.items():
            for kind in KINDS:
                found = _candidates(group, family, members, kind)
                by_model.setdefault(group.label, []).append(found)
    turns = _in_turn([list(_in_turn(own)) for own in by_model.values()])
    chosen = list(itertools.islice(turns, limit))
    answers = read_answers(_line(one) for one in chosen)
    return [_flip(one, answer) for one, answer in zip(chosen, answers, strict=True)]


@dataclass(frozen=True)
class _Candidate:
    group: Group
    family: str
    kind: str
    row: int
    n_stimuli: int
    of_stimuli: int
    column: int


def _flips(group: Group, members: Sequence[int], kind: str) -> NDArray[np.bool_]:
    """(n, members) whether the score crosses one half; where one is missing it does not."""
    arms, control = group.scores[:, list(members)], group.scores[:, [0]]
    if kind == "fixed":
        return (control < HALF) & (arms >= HALF)
    return (control >= HALF) & (arms < HALF)


def _in_turn(sequences: Sequence[Sequence[_Item]]) -> Iterator[_Item]:
    """The first of each, then the second of each, and so on."""
    for place in range(max(map(len, sequences), default=0)):
        yield from (one[place] for one in sequences if place < len(one))


def _candidates(group: Group, family: str, members: Sequence[int], kind: str) -> list[_Candidate]:
    flips = _flips(group, members, kind)
    n_changed = flips.sum(axis=1)
    order = np.argsort(-n_changed, kind="stable")
    found = []
    for row in order[:MOST].tolist():
        if n_changed[row] == 0:
            break
        difference = np.abs(group.scores[row, list(members)] - group.scores[row, 0])
        first = int(np.argmax(np.where(flips[row], difference, -1.0)))
        found.append(
            _Candidate(group, family, kind, row, int(n_changed[row]), len(members), members[first])
        )
    return found


def _line(one: _Candidate) -> Sequence[SampleLine]:
    member, row = _member(one)
    return member.lines[row]


def _member(one: _Candidate) -> tuple[ArmScores, int]:
    number = int(one.group.strata[one.row])
    return one.group.members[number], one.row - int(one.group.starts[number])


def _flip(one: _Candidate, answer: Answer) -> Flip:
    member, row = _member(one)
    arm = one.group.arms[one.column]
    control = one.group.arms[0].id
    texts = {
        "prompt_control": answer.prompts.get(control, ""),
        "prompt_arm": answer.prompts.get(arm.id, ""),
        "answer_control": _told(answer.responses.get(control, "")),
        "answer_arm": _told(answer.responses.get(arm.id, "")),
        "parsed_control": answer.parsed.get(control, ""),
        "parsed_arm": answer.parsed.get(arm.id, ""),
        "target": answer.target,
    }
    cut = {name: shortened(text, _MOST_CHARS) for name, text in texts.items()}
    return Flip(
        label=one.group.label,
        benchmark=member.benchmark,
        subtask=member.subtask,
        mode=member.mode,
        family=one.family,
        doc_id=int(member.doc_ids[row]),
        kind=one.kind,
        n_stimuli=one.n_stimuli,
        of_stimuli=one.of_stimuli,
        stimulus=arm.id,
        stimulus_text=arm.told,
        shortened=cut != texts,
        score_control=float(one.group.scores[one.row, 0]),
        score_arm=float(one.group.scores[one.row, one.column]),
        n_repeats=member.n_repeats,
        **cut,
    )


def _told(response: str | tuple[str, ...]) -> str:
    return response if isinstance(response, str) else "\n---\n".join(response)
