"""Flips: the questions that stimuli fixed or broke, side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from emo_harness.report.blocks import (
    Block,
    FlipGroup,
    FlipItem,
    FlipList,
    Passage,
    Prose,
    Section,
    Side,
)
from emo_harness.report.boards import MODES
from emo_harness.report.contents import ReportContents
from emo_harness.report.flips import Flip
from emo_harness.report.numerals import UNKNOWN, count
from emo_harness.report.plain_text import shortened

ORDER = 90
PROMPT_CHARS = 2000
ANSWER_CHARS = 900
# A beginning that prompts have in common is told once where it is longer than this.
LEAST_SHARED_CHARS = 240
# What is shown around the stimulus where the rest of the prompt stands beside it.
AROUND_CHARS = 120
DONE = {"fixed": "fixed", "broke": "broken"}
NUMBERS = (
    "label",
    "benchmark",
    "subtask",
    "mode",
    "family",
    "doc_id",
    "kind",
    "n_stimuli",
    "of_stimuli",
    "stimulus",
    "target",
    "parsed_control",
    "parsed_arm",
    "shortened",
    "score_control",
    "score_arm",
    "n_repeats",
)

INTRO = (
    "A flip is a question that was wrong under control and right under a stimulus (fixed), or "
    "the other way round (broken). Flips go both ways by chance alone, so read them to see what "
    "kind of answer changes, not to count them. Those that most stimuli flipped come first."
)
CROSSING = (
    "Where a question was asked repeatedly, or its score lies between right and wrong, a flip is a "
    "score that crosses one half: less than half right under control and at least half under the "
    "stimulus, or the other way round."
)
FILE = (
    "flips.parquet lists all of them by model, subtask, family and number of the question, with "
    "which stimuli did it; prompts and answers are in the runs' samples files."
)


def section(contents: ReportContents) -> Section | None:
    """Build the section."""
    if not contents.flips:
        return None
    groups: dict[tuple[str, str, str], list[Flip]] = {}
    for flip in contents.flips:
        groups.setdefault((flip.benchmark, flip.subtask, flip.mode), []).append(flip)
    several = len({flip.label for flip in contents.flips}) > 1
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    n = len(contents.flips)
    told = "" if contents.n_flips <= n else f"{count(n)} of {count(contents.n_flips)} flips shown. "
    blocks: list[Block] = [Prose(told + FILE, "note")]
    if any(_between(flip) for flip in contents.flips):
        blocks.append(Prose(CROSSING, "note"))
    blocks.append(FlipList("flips-list", [_group(key, flips, several) for key, flips in ordered]))
    return Section("flips", "Flips", INTRO, blocks)


def _group(key: tuple[str, str, str], flips: Sequence[Flip], several: bool) -> FlipGroup:
    benchmark, subtask, mode = key
    named = (subtask, benchmark, MODES.get(mode, mode))
    flips = sorted(flips, key=lambda flip: -flip.n_stimuli / max(flip.of_stimuli, 1))
    shared = _shared([flip.prompt_control for flip in flips])
    return FlipGroup(
        f"{' · '.join(dict.fromkeys(named))}: {count(len(flips))} shown",
        shortened(shared, 2 * PROMPT_CHARS),
        [_item(flip, shared, several) for flip in flips],
    )


def _shared(prompts: Sequence[str]) -> str:
    """The beginning that all prompts have in common, up to a line's end; "" where it is short."""
    if len(prompts) < 2:
        return ""
    common = _common_start(prompts)
    common = common[: common.rfind("\n") + 1]
    return common if len(common) >= LEAST_SHARED_CHARS else ""


def _item(flip: Flip, shared: str, several: bool) -> FlipItem:
    stimuli = f"{flip.n_stimuli} of {flip.of_stimuli} stimuli"
    if flip.of_stimuli == 1:
        stimuli = "the stimulus"
    first = "first response read as" if flip.n_repeats > 1 else "read as"
    shares = [_score(flip, score) for score in (flip.score_control, flip.score_arm)]
    change = " → ".join(shares) if _between(flip) else ""
    about = f"{flip.label}, {flip.family}" if several else flip.family
    return FlipItem(
        title=f"{flip.subtask} #{flip.doc_id}",
        tone="up" if flip.kind == "fixed" else "down",
        about=" · ".join(
            part
            for part in (f"{DONE.get(flip.kind, flip.kind)} by {stimuli}", change, about)
            if part
        ),
        stimulus=f"{flip.stimulus}: {flip.stimulus_text}",
        target=flip.target,
        control=Side(
            _control_passages(flip.prompt_control, shared),
            shortened(flip.answer_control, ANSWER_CHARS),
            shortened(flip.parsed_control, ANSWER_CHARS),
            first,
            shares[0] if change else "",
        ),
        arm=Side(
            arm_passages(flip.prompt_control, flip.prompt_arm, flip.stimulus_text),
            shortened(flip.answer_arm, ANSWER_CHARS),
            shortened(flip.parsed_arm, ANSWER_CHARS),
            first,
            shares[1] if change else "",
        ),
        numbers={name: getattr(flip, name) for name in NUMBERS},
    )


def _between(flip: Flip) -> bool:
    """Whether right or wrong alone do not tell the scores."""
    return flip.n_repeats > 1 or not {flip.score_control, flip.score_arm} <= {0.0, 1.0}


def _score(flip: Flip, score: float) -> str:
    """A score in words: how many of the responses are right, where they are right or wrong.

    >>> from types import SimpleNamespace
    >>> _score(SimpleNamespace(n_repeats=3), 2 / 3), _score(SimpleNamespace(n_repeats=1), 0.4)
    ('2 of 3 right', 'score 0.40')
    """
    if math.isnan(score):
        return f"score {UNKNOWN}"
    n_right = score * flip.n_repeats
    if flip.n_repeats > 1 and abs(n_right - round(n_right)) < 1e-6:
        return f"{round(n_right)} of {flip.n_repeats} right"
    return f"score {score:.2f}"


def _control_passages(prompt: str, shared: str) -> list[Passage]:
    if not shared:
        return [Passage(shortened(prompt, PROMPT_CHARS))]
    left_out = f"[… {count(len(shared))} characters, shown once above …]\n"
    return [
        Passage(left_out, "left-out"),
        Passage(shortened(prompt[len(shared) :], PROMPT_CHARS)),
    ]


def arm_passages(control: str, arm: str, stimulus_text: str) -> list[Passage]:
    """The arm's prompt with the stimulus marked; text that stands beside it is left out."""
    start, end = _inserted(control, arm, stimulus_text)
    before, after = arm[:start], arm[end:]
    # All else must be the control prompt, line breaks around the stimulus aside.
    same = control.startswith(before.rstrip()) and control.endswith(after.lstrip())
    if not same:
        before, after = shortened(before, PROMPT_CHARS), shortened(after, PROMPT_CHARS)
        return [Passage(before), Passage(arm[start:end], "stimulus"), Passage(after)]
    passages = []
    if len(before) > 2 * AROUND_CHARS:
        passages.append(Passage("[… as beside …] ", "left-out"))
        before = before[-AROUND_CHARS:]
    passages += [Passage(before), Passage(arm[start:end], "stimulus")]
    if len(after) > 2 * AROUND_CHARS:
        passages += [Passage(after[:AROUND_CHARS]), Passage(" [… as beside …]", "left-out")]
    else:
        passages.append(Passage(after))
    return [passage for passage in passages if passage.text]


def _inserted(control: str, arm: str, stimulus_text: str) -> tuple[int, int]:
    """Where the stimulus stands in the arm's prompt: its own words, else what differs."""
    left = len(_common_start([control, arm]))
    found = arm.find(stimulus_text, max(left - len(stimulus_text), 0)) if stimulus_text else -1
    if found >= 0:
        return found, found + len(stimulus_text)
    right = len(_common_start([control[left:][::-1], arm[left:][::-1]]))
    return left, len(arm) - right


def _common_start(texts: Sequence[str]) -> str:
    return os.path.commonprefix(list(texts))  # noqa: RUF071, character by character is meant
