"""Flips on the page: prompts side by side, the stimulus marked, shared text told once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emo_harness.report.blocks import Passage
from emo_harness.report.page import write_page
from emo_harness.report.sections.flips import arm_passages
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
