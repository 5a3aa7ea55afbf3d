"""What is said where ratings cannot be read: of norms, of ratings without spread, of answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emo_harness.effects.rank_correlation import rank_correlation
from emo_harness.rating import Rated, rate_images, rating_result
from emo_harness.rating.questions import AROUSAL, VALENCE
from emo_harness.rating.remarks import remarks, why_no_correlation
from tests.rating.test_rating import BrightnessRater, a_set, grey

NAN = float("nan")


def rated(values: list[float], *, mass: float = 1.0, question: object = VALENCE) -> Rated:
    told = np.array(values, dtype=float)
    return Rated(question, told, told, told * NAN, np.full(len(told), mass))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ratings", "norms", "why"),
    [
        ([1, 2, 3, 4], [NAN] * 4, "none in the set"),
        ([1, 2, 3, 4, 5], [1, 2, 3, NAN, NAN], "3 rated images, too few"),
        ([NAN, 2, NAN, NAN], [1, 2, 3, 4], "1 rated image, too few"),
        ([5, 5, 5, 5, NAN], [1, 2, 3, 4, 5], "all 4 ratings are equal"),
        ([1, 2, 3, 4], [7, 7, 7, 7], "all 4 norms are equal"),
        ([1, 2, 3, 4], [4, 3, 1, 2], ""),
    ],
)
def test_a_reason_is_given_exactly_where_there_is_no_correlation(
    ratings: list[float], norms: list[float], why: str
) -> None:
    told = why_no_correlation(ratings, norms)
    assert told.startswith(why) and (told == "") == (why == "")
    assert (told == "") == bool(~np.isnan(rank_correlation(ratings, norms).value))


@pytest.mark.parametrize(("n_alike", "warned"), [(80, False), (81, True), (100, True)])
def test_nearly_all_ratings_alike_are_a_warning(n_alike: int, warned: bool) -> None:
    others = list(np.linspace(1, 9, 100 - n_alike))
    ratings = {
        "valence": rated([5.01] * n_alike + others),
        "arousal": rated([2.0] * n_alike + others, question=AROUSAL),
    }
    told = remarks(ratings)
    assert bool(told) == warned
    assert all(f"{n_alike} of 100 images" in one and "valence 5.0" in one for one in told)


def test_one_scale_alike_is_no_warning_and_neither_are_few_images() -> None:
    apart, alike = rated(list(np.linspace(1, 9, 30))), rated([5.0] * 30)
    assert remarks({"valence": apart, "arousal": alike}) == []
    few = rated([5.0] * 9)
    assert remarks({"valence": few, "arousal": few}) == []


def test_little_probability_and_unread_answers_are_told_of_their_scale() -> None:
    (told,) = remarks({"valence": rated([1, 9], mass=0.9), "arousal": rated([1, 9], mass=0.2)})
    assert told.startswith("arousal: ") and "0.20" in told
    (told,) = remarks({"valence": rated([NAN, 2, NAN])})
    assert told.startswith("valence: 2 of 3 answers")


def test_differences_without_spread_have_no_interval_in_the_file(tmp_path: Path) -> None:
    levels = [10, 200, 40, 220]
    image_set = a_set(tmp_path, levels)
    found = rate_images(BrightnessRater(), [grey(level) for level in levels])
    told = rating_result("m", "likelihood", image_set, image_set.entries, found).as_json()
    json.dumps(told, allow_nan=False)
    arousal = [row for row in told["over_twins"] if row["dimension"] == "arousal"]
    assert arousal and all(row["n"] == 2 and row["p"] is None for row in arousal)
    assert all(row["difference"] == [pytest.approx(0), None, None] for row in arousal)
    assert told["norms"]["arousal"]["why_unknown"] == "none in the set"
