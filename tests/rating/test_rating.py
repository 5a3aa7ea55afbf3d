"""Ratings of images: what a model's probabilities and answers say, against norms and twins."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emo_harness.effects.rank_correlation import rank_correlation
from emo_harness.images import ImageEntry, ImageSet, Imported, Norms, pixels_sha256
from emo_harness.rating import rate_images, rating_result
from emo_harness.rating.ask import expected_rating
from emo_harness.rating.questions import QUESTIONS, RATINGS


class BrightnessRater:
    """Finds bright images pleasant, and all of them equally exciting."""

    MULTIMODAL = True

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def loglikelihood(self, instances: list[Any], disable_tqdm: bool) -> list[tuple[float, bool]]:
        self.asked += instances
        answers = []
        for instance in instances:
            prompt, option, shown = instance.args
            (image,) = shown["visual"]
            level = np.asarray(image.convert("L")).mean() / 255
            wanted = 1 + 8 * level if "pleasant" in prompt else 5.0
            answers.append((-((float(option) - wanted) ** 2) - 1.0, False))
        return answers

    def generate_until(self, instances: list[Any], disable_tqdm: bool) -> list[str]:
        self.asked += instances
        return [f"I say {'7' if 'pleasant' in i.args[0] else 'nothing'}." for i in instances]


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (6, 4), (level, level, level))


def a_set(tmp_path: Path, levels: list[int]) -> ImageSet:
    entries = []
    for number, level in enumerate(levels):
        is_twin = number % 2 == 1
        image = grey(level)
        name = f"p-{number // 2}" + ("-twin" if is_twin else "")
        entries.append(
            ImageEntry(
                id=name,
                file=f"{name}.png",
                family="placebo" if is_twin else "attack",
                concept="fear",
                twin_of=f"p-{number // 2}" if is_twin else None,
                sha256=pixels_sha256(image),
                width=6,
                height=4,
                made=Imported(original="x", source="made"),
                norms=Norms(valence=9 - level / 32, scale=(1, 9), source="made"),
            )
        )
    return ImageSet("made", tmp_path, tuple(entries))


def test_the_expected_rating_is_the_mean_of_the_distribution() -> None:
    rng = np.random.default_rng(0)
    told = np.log(rng.dirichlet(np.ones(9), size=5) * 0.4)
    mean, mode, spread, mass = expected_rating(told)
    share = np.exp(told) / 0.4
    assert np.allclose(mean, share @ np.arange(1, 10))
    assert np.allclose(spread**2, share @ np.arange(1, 10) ** 2 - mean**2)
    assert np.allclose(mass, 0.4)
    assert (mode == told.argmax(axis=1) + 1).all()


def test_every_image_is_asked_every_question_with_every_rating() -> None:
    lm = BrightnessRater()
    images = [grey(level) for level in range(0, 250, 7)]
    valence, arousal = rate_images(lm, iter(images))
    assert len(lm.asked) == len(images) * len(QUESTIONS) * len(RATINGS)
    assert (np.diff(valence.expected) > 0).all()
    assert np.allclose(arousal.expected, 5)
    assert all(i.args[0].startswith("<image>\n") for i in lm.asked)


def test_answers_are_parsed_and_what_names_no_rating_is_unknown() -> None:
    valence, arousal = rate_images(BrightnessRater(), [grey(1), grey(2)], method="answer")
    assert valence.expected.tolist() == [7, 7]
    assert np.isnan(arousal.expected).all()
    assert arousal.answers == ("I say nothing.", "I say nothing.")


def test_ratings_stand_against_norms_and_twins(tmp_path: Path) -> None:
    levels = [10, 200, 40, 220, 30, 240, 20, 180]
    image_set = a_set(tmp_path, levels)
    rated = rate_images(BrightnessRater(), [grey(level) for level in levels])
    result = rating_result("m", "likelihood", image_set, image_set.entries, rated)
    norms = [entry.norms.valence for entry in image_set.entries if entry.norms]
    assert result.norms["valence"] == rank_correlation(rated[0].expected, norms)
    assert result.norms["valence"].value == -1
    assert result.norms["arousal"].n == 0 or math.isnan(result.norms["arousal"].value)
    over = result.over_twins["attack", "fear", "valence"]
    assert over.n == 4 and over.high < 0
    assert over.mean == pytest.approx((rated[0].expected[::2] - rated[0].expected[1::2]).mean())
    told = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert [one["id"] for one in told["images"]] == [entry.id for entry in image_set.entries]
