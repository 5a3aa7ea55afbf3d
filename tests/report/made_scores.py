"""Scores made in memory, as `runs.read_runs` would give them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emo_harness.report.groups import Group, groups_of
from emo_harness.runs import ArmScores, RunArm, SampleLine
from emo_harness.runs.facts import header_facts

_NUMBER = itertools.count()
CONTROL = RunArm("control", "control", "control", None, "")


def arm(name: str, family: str = "attack", placebo: str | None = None, **tags: Any) -> RunArm:
    kind = "stimulus" if placebo is None else "placebo"
    return RunArm(name, kind, family, placebo, tags.pop("text", f"Sentence {name}."), **tags)


NEUTRAL = arm("neutral-5", "placebo", "neutral", text="The table is made of wood.")
SELF_CHECK = arm("self-check", "placebo", "self-check", text="Check your answer.")


def made_scores(
    scores: Mapping[str, ArrayLike],
    arms: Sequence[RunArm] = (),
    *,
    subtask: str = "navigate",
    model: str = "org/m",
    settings: Mapping[str, str] | None = None,
    placement: str = "suffix",
    family: str = "attack",
    unparsed: Mapping[str, ArrayLike] | None = None,
    questions: Sequence[str] | None = None,
    **other: Any,
) -> ArmScores:
    """Scores by arm id; arms that are not named are attacks, "neutral-5" and the like placebos."""
    known = {a.id: a for a in (CONTROL, NEUTRAL, SELF_CHECK, *arms)}
    listed = tuple(known.get(name, arm(name)) for name in scores)
    matrix = np.stack([np.asarray(s, dtype=np.float64) for s in scores.values()], axis=1)
    n = len(matrix)
    file = Path(f"samples_{next(_NUMBER)}.jsonl")
    flags = np.zeros(matrix.shape, dtype=bool)
    for name, values in (unparsed or {}).items():
        flags[:, list(scores).index(name)] = values
    fields = {
        "task": f"emo_bbh_{family}_{subtask}",
        "benchmark": "bbh",
        "mode": "zeroshot",
        "metric": "exact_match",
        "filter": "flexible-extract",
        "primary": True,
        "n_available": n,
        "limit": None,
        "stimuli_sha256": "0" * 64,
        "prompts": tuple(f"prompt {i}" for i in range(n)),
        "targets": tuple(f"target {i}" for i in range(n)),
        "doc_ids": np.arange(n),
        "truncated": None,
        "refused": np.zeros(matrix.shape, dtype=bool),
        "answer_chars": np.full(matrix.shape, 3.0),
        "prompt_chars": np.full(matrix.shape, 99.0),
        "n_repeats": 1,
        "within_variance": None,
        "lines": tuple((SampleLine(file, i),) for i in range(n)),
        "facts": header_facts(Path("results_x.json"), "x", {}, {}, {"t": {}}),
        **other,
    }
    return ArmScores(
        model=model,
        subtask=subtask,
        family=family,
        placement=placement,
        settings=dict(settings or {}),
        arms=listed,
        questions=tuple(questions or (f"{subtask} {i}" for i in range(n))),
        scores=matrix,
        unparsed=flags,
        **fields,
    )


def one_group(*scores: ArmScores) -> Group:
    (group,) = groups_of(scores)
    return group
