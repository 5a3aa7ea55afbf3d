"""Flips on the page: prompts side by side, the stimulus marked, shared text told once."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import emo_harness.report.flips as flips_module
from emo_harness.report.blocks import Passage
from emo_harness.report.flips import Flip, flip_table, most_flipped
from emo_harness.report.groups import groups_of
from emo_harness.report.page import write_page
from emo_harness.report.sections.flips import arm_passages
from emo_harness.runs import Answer
from tests.report.made_scores import made_scores
from tests.report.synthetic import contents


def test_the_stimulus_is_marked_and_the_rest_is_the_prompt() -> None:
    control = "Sort the words.\n\nQ: pear apple\nA:"
    arm = "Sort the words.\n\nQ: pear apple\nYour friend Bob is sick.\nA:"
    passages = arm_passages(control, arm, "Your friend Bob is sick.")
    assert "".join(p.text for p in passages) == arm
    assert Passage("Your friend Bob is sick.", "stimulus") in passages


def test_a_stimulus_that_was_changed_on_its_way_is_found_by_what_differs() -> None:
    passages = arm_passages("Q: 1 + 1\nA:", "Q: 1 + 1\nBOB IS SICK\nA:", "Bob is sick")
    marked = [p.text for p in passages if p.mark == "stimulus"]
    assert len(marked) == 1 and "BOB IS SICK" in marked[0]


def test_long_shared_text_is_shown_once(tmp_path: Path) -> None:
    made = contents(models=1, subtasks=1, stimuli=2, flips=12)
    examples = "Q: a worked example that every prompt begins with\nA: yes\n" * 30
    flips = tuple(
        replace(f, prompt_control=examples + f.prompt_control, prompt_arm=examples + f.prompt_arm)
        for f in made.flips
    )
    write_page(replace(made, flips=flips), tmp_path)
    markup = (tmp_path / "report.html").read_text("utf-8")
    assert markup.count("a worked example that every prompt begins with") <= 40
    assert markup.count("shown once above") == len(flips)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers without files."""
    answer = Answer("q", "t", {}, {}, {})
    monkeypatch.setattr(flips_module, "read_answers", lambda lines: [answer for _ in lines])


@pytest.mark.usefixtures("answered")
def test_a_stimulus_without_a_score_is_never_shown() -> None:
    nan = math.nan
    groups = groups_of(
        [made_scores({"control": [0, 1, 0, nan], "a": [nan, nan, nan, 1], "b": [1, 0, nan, 0]})]
    )
    shown = {(flip.doc_id, flip.kind, flip.stimulus) for flip in most_flipped(groups)}
    assert shown == {(0, "fixed", "b"), (1, "broke", "b")}
    assert len(flip_table(groups)) == 2


@pytest.mark.usefixtures("answered")
def test_repeats_flip_where_the_share_right_crosses_one_half(tmp_path: Path) -> None:
    scores = {"control": [1 / 3, 1 / 3, 1, 2 / 3, 0], "a": [2 / 3, 0, 2 / 3, 0, 0.5]}
    groups = groups_of([made_scores(scores, n_repeats=3)])
    found = most_flipped(groups)
    assert sorted((flip.doc_id, flip.kind) for flip in found) == [
        (0, "fixed"),
        (3, "broke"),
        (4, "fixed"),
    ]
    made = replace(contents(models=1, subtasks=1, stimuli=1), flips=tuple(found), n_flips=3)
    write_page(made, tmp_path)
    markup = (tmp_path / "report.html").read_text("utf-8")
    assert "fixed by the stimulus · 1 of 3 right → 2 of 3 right" in markup
    assert "first response read as" in markup and "<p>read as" not in markup
    assert "crosses one half" in markup


@pytest.mark.usefixtures("answered")
def test_every_model_has_some_flips_where_there_are_too_many() -> None:
    rng = np.random.default_rng(5)

    def asked(model: str, family: str) -> dict[str, np.ndarray]:
        return {name: rng.integers(0, 2, 40).astype(float) for name in ("control", "a", "b")}

    groups = groups_of(
        [
            made_scores(asked(model, family), model=model, family=family)
            for model in ("m1", "m2", "m3")
            for family in ("attack", "prompt", "negative")
        ]
    )
    for limit in (3, 7, 30):
        found = most_flipped(groups, limit)
        counts = Counter(flip.label for flip in found)
        assert len(found) == limit and max(counts.values()) - min(counts.values()) <= 1
        assert len(counts) == 3


def test_groups_with_most_flips_come_first(tmp_path: Path) -> None:
    made = contents(models=1, subtasks=3, stimuli=2, flips=9)
    first = made.flips[0]

    def of(subtask: str, n: int) -> list[Flip]:
        return [replace(first, subtask=subtask, doc_id=i) for i in range(n)]

    flips = (*of("c", 1), *of("b", 2), *of("a", 1), *of("d", 5))
    write_page(replace(made, flips=flips), tmp_path)
    markup = (tmp_path / "report.html").read_text("utf-8")
    places = [markup.index(f"<summary>{name} ·") for name in "dbac"]
    assert places == sorted(places)
