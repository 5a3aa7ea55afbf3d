"""Shades: scales, excerpts and runs of words, each by what it promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_harness.report.attribution.excerpt import MOST_PIECES, excerpts
from emo_harness.report.attribution.numbers import AttributedSide, Piece
from emo_harness.report.attribution.scale import ShadeScale, scale_of
from emo_harness.report.attribution.words_shaded import shaded_runs
from emo_harness.report.blocks import ShadedRun
from tests.report.synthetic_attribution import side

NUMBERS = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-9)


def made_side(*parts: tuple[str, str], **changes: Any) -> AttributedSide:
    made = side(parts, np.random.default_rng(3), ("leave-one-out",), **changes)
    return AttributedSide.model_validate(made)


def text_of(runs: list[ShadedRun]) -> str:
    return "".join(word.text for run in runs for word in run.words)


@given(st.lists(NUMBERS, max_size=60), st.booleans())
def test_a_scale_holds_nearly_all_values_and_is_as_fine_as_it_can_be(
    values: list[float], signed: bool
) -> None:
    scale = scale_of(values, signed)
    beyond = sum(abs(v) > 4 * scale.step * (1 + 1e-9) for v in values)
    assert beyond <= 0.02 * len(values)
    if any(values):
        # The next finer step, half or two fifths of this one, would not hold as many.
        finer = sum(abs(v) > 4 * 0.4 * scale.step for v in values)
        assert finer > 0.02 * len(values) or not finer


@given(NUMBERS)
def test_shades_tell_direction_and_are_symmetric(value: float) -> None:
    scale = ShadeScale(0.5, signed=True)
    shade, mirrored = scale.shade(value), scale.shade(-value)
    assert (shade == "") == (abs(value) < 0.25)
    if shade:
        assert shade[0] == ("u" if value > 0 else "d")
        assert mirrored[0] != shade[0] and mirrored[1:] == shade[1:]
    assert ShadeScale(0.5, signed=False).shade(value)[:1] in ("", "s")


def test_the_key_bounds_what_the_shades_do() -> None:
    for signed in (True, False):
        scale = ShadeScale(0.02, signed)
        for shade, bound in scale.key():
            if not shade:
                continue
            number = float(bound.lstrip("≤≥ +").replace("\u2212", "-"))
            inward = number * (1 - 1e-6)
            assert scale.shade(number * (1 + 1e-6)) == shade != scale.shade(inward)


def test_unknown_and_endless_numbers_have_no_shade() -> None:
    assert scale_of([], True).shade(math.nan) == ""
    assert scale_of([0.0, 0.0, math.nan], True).shade(0.0) == ""


def test_all_of_a_short_prompt_is_shown_and_joins_to_it() -> None:
    text = "Q: 1 + 1\n\n  é🙂\tA"
    one = made_side((text, "prompt"), ("Be sure of it.", "stimulus"), ("\nA:", "prompt"))
    stretches, _ = excerpts(one, one)
    runs = shaded_runs(one.pieces, stretches, "leave-one-out", scale_of([1.0], True))
    assert text_of(runs[1:]) == text + "Be sure of it." + "\nA:"
    assert [runs[0].mark, text_of(runs[:1])] == ["special", "special token"]
    stimulus = [run for run in runs if run.mark == "stimulus"]
    assert len(stimulus) == 1 and text_of(stimulus) == "Be sure of it."


@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
def test_a_long_prompt_is_cut_around_the_stimulus(place: float) -> None:
    before = "word " * int(4000 * place)
    after = " word" * int(4000 * (1 - place)) + " END"
    arm = made_side((before, "prompt"), ("Bob is sick.", "stimulus"), (after, "prompt"))
    control = made_side((before + after, "prompt"))
    for one, stretches in zip((control, arm), excerpts(control, arm), strict=True):
        runs = shaded_runs(one.pieces, stretches, "leave-one-out", scale_of([1.0], True))
        shown = sum(stretch.stop - stretch.start for stretch in stretches)
        assert shown <= 1.2 * MOST_PIECES
        assert text_of(runs).endswith("END")
        left_out = [text_of([run]) for run in runs if run.mark == "left-out"]
        assert left_out and all("words, together" in text for text in left_out)
    assert any(text_of([run]) == "Bob is sick." for run in runs if run.mark == "stimulus")


def test_what_is_left_out_is_counted_and_added_up() -> None:
    scores = {"leave-one-out": 0.25}
    pieces = [
        Piece(text="w", role="prompt", scores=scores)
        if i % 2
        else Piece(text=" ", role="space", scores={})
        for i in range(100)
    ]
    runs = shaded_runs(pieces, [slice(0, 20), slice(60, 100)], "leave-one-out", scale_of([1], True))
    (told,) = (text_of([run]) for run in runs if run.mark == "left-out")
    assert "20 words" in told and "+5.00" in told


def test_the_strongest_word_is_shown_wherever_it_stands() -> None:
    one = made_side(("word " * 3000, "prompt"), ("Bob is sick.", "stimulus"))
    pieces = list(one.pieces)
    pieces[1000] = Piece(text="DECIDES", role="prompt", scores={"leave-one-out": 9.0})
    arm = one.model_copy(update={"pieces": pieces})
    _, stretches = excerpts(arm, arm)
    assert any(stretch.start <= 1000 < stretch.stop for stretch in stretches)


def test_a_stimulus_longer_than_the_excerpt_shows_both_ends() -> None:
    arm = made_side(("Q:", "prompt"), ("FIRST " + "word " * 3000 + "LAST", "stimulus"))
    _, stretches = excerpts(arm, arm)
    runs = shaded_runs(arm.pieces, stretches, "leave-one-out", scale_of([1.0], True))
    assert "FIRST" in text_of(runs) and "LAST" in text_of(runs)
    assert len(text_of(runs)) < 6000


def test_one_endless_word_is_shortened() -> None:
    arm = made_side(("x" * 100_000, "prompt"))
    stretches, _ = excerpts(arm, arm)
    runs = shaded_runs(arm.pieces, stretches, "leave-one-out", scale_of([1.0], True))
    assert len(text_of(runs)) < 400
