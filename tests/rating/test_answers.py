"""Ratings in answers: a number counts, the scale that an answer repeats does not."""

from __future__ import annotations

import math

import pytest

from emo_harness.rating.answers import rating_in
from emo_harness.rating.questions import QUESTIONS, RATINGS

SCALES = (
    "1 to 9",
    "1-9",
    "1 – 9",
    "1..9",
    "from 1 .. 9",
    "from 1 (very unpleasant) to 9 (very pleasant)",
    "between 1 and 9",
    "9 to 1",
    "1 = very unpleasant, 9 = very pleasant",
    "1 = very calm, 5 = neutral, 9 = very exciting",
    "1 (very calm), 9 (very exciting)",
    "1 being the lowest and 9 the highest",
    "1: very calm; 9: very exciting",
    "a 9-point scale",
    "out of 9",
)
AROUND = (
    "{}",
    "{}.",
    "Rating: {}",
    "I would say {}.",
    "**{}**",
    "{}/9",
    "{} / 9",
    "{} out of 9",
    "{} of 9",
    "a score of {}",
    "{} (quite so)",
    "{}, since it is calm",
    "{} = my rating",
    "{}.0",
    "{}, or {}/9",
)


@pytest.mark.parametrize("rating", RATINGS)
@pytest.mark.parametrize("around", AROUND)
def test_the_rating_is_read_whatever_stands_around_it(rating: int, around: str) -> None:
    assert rating_in(around.format(rating, rating)) == rating


@pytest.mark.parametrize("rating", RATINGS)
@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_is_not_the_rating(rating: int, scale: str) -> None:
    for answer in (
        f"On a scale {scale}, I would say {rating}.",
        f"{scale}: {rating}",
        f"Rating ({scale}): {rating}",
        f"{rating} ({scale})",
        f"I say {rating}, {scale.upper()}",
    ):
        assert rating_in(answer) == rating, answer


@pytest.mark.parametrize("scale", (*SCALES, *(question.text for question in QUESTIONS)))
def test_a_scale_alone_names_no_rating(scale: str) -> None:
    assert math.isnan(rating_in(scale))


@pytest.mark.parametrize("one", RATINGS)
@pytest.mark.parametrize("other", (*RATINGS, 0, 10, 12))
def test_different_numbers_name_no_rating(one: int, other: int) -> None:
    for answer in (f"{one} or {other}", f"{one}, perhaps {other}", f"I say {one}; no, {other}"):
        found = rating_in(answer)
        assert found == one if one == other else math.isnan(found), answer


@pytest.mark.parametrize(
    "answer", ["", "none", "12", "0", "3.5", "3,5", "-3", "10/10", "7/10", "between 4 and 6", "4-6"]
)
def test_no_whole_number_of_the_scale_is_no_rating(answer: str) -> None:
    assert math.isnan(rating_in(answer))


def test_a_long_answer_is_read_quickly() -> None:
    for piece in ("1 (", "9 ", "1 - ", "(", "out of ", "1" * 50 + " ", "² ٣ "):
        assert math.isnan(rating_in("x" + piece * 5_000 + "6 7"))
