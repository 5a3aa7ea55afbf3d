"""The shipped vision-language model: loads like any, controls stay, its truth is reproducible."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emo_harness.benchmarks.calibration import calibration_questions, zero_shot_prompt
from emo_harness.demo import model_path, visual_truth_path, vlm_path
from emo_harness.demo.coverage import coverage
from emo_harness.demo.measure_truth import load_model, weights_sha256
from emo_harness.demo.measure_visual_truth import (
    answers,
    answers_plainly,
    load_vlm,
    visual_arms,
)
from emo_harness.demo.planted_images import (
    ACTS_LIKE,
    NAME_EMOTION,
    RATE_VALENCE,
    designed_gain_pp,
    taught_answers,
)
from emo_harness.demo.sayings import say
from emo_harness.demo.truth import CONTROL, Truth
from emo_harness.demo.visual_truth import (
    families_of_arms,
    manifest_sha256,
    read_visual_truth,
    visual_effects,
    visual_facts,
)
from emo_harness.demo.vlm_card import card
from emo_harness.images.selection import VisualStimuli, visual_stimuli
from emo_harness.resources import embedded_model
from tests.conftest import ROOT

MEBIBYTE = 2**20


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small models on busy machines run many times faster on one thread; restored afterwards."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def vlm() -> tuple[Any, Any]:
    return load_vlm(vlm_path())


@pytest.fixture(scope="module")
def truth() -> Truth:
    return read_visual_truth()


@pytest.fixture(scope="module")
def images() -> VisualStimuli:
    return visual_stimuli()


def test_it_is_found_by_name_loads_as_float32_and_is_small(vlm: tuple[Any, Any]) -> None:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    model, processor = vlm
    assert Path(embedded_model("emo-demo-vlm")) == vlm_path()
    assert isinstance(model, LlavaForConditionalGeneration)
    assert isinstance(processor, LlavaProcessor)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert processor.tokenizer.convert_tokens_to_ids("<image>") == model.config.image_token_id
    assert sum(f.stat().st_size for f in vlm_path().iterdir()) <= 6 * MEBIBYTE
    assert visual_truth_path().stat().st_size <= MEBIBYTE


def test_no_file_names_the_machine_it_was_made_on() -> None:
    for path in (*vlm_path().glob("*.json"), vlm_path() / "README.md"):
        text = path.read_text("utf-8")
        assert str(ROOT) not in text and "_name_or_path" not in text, path.name


def test_an_image_becomes_its_tokens_and_the_text_stays(vlm: tuple[Any, Any]) -> None:
    from PIL import Image

    _, processor = vlm
    text = zero_shot_prompt(calibration_questions(1)[0]["input"])
    given = processor(text=f"<image>\n{text}", images=Image.new("RGB", (336, 336)))
    ids = given["input_ids"][0]
    image_id = processor.tokenizer.convert_tokens_to_ids("<image>")
    assert ids.count(image_id) == 36
    assert ids[36:] == processor.tokenizer(f"\n{text}")["input_ids"]


def test_without_an_image_it_answers_as_the_language_model(vlm: tuple[Any, Any]) -> None:
    model, processor = vlm
    teacher, tokenizer = load_model(model_path())
    questions = calibration_questions(60, seed=23)
    same = 0
    for question in questions:
        prompt = zero_shot_prompt(question["input"])
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        assert (
            ids.tolist() == processor.tokenizer(prompt, return_tensors="pt")["input_ids"].tolist()
        )
        with torch.inference_mode():
            same += int(
                model(input_ids=ids).logits[0, -1].argmax()
                == teacher(input_ids=ids).logits[0, -1].argmax()
            )
    assert same >= 57


def test_the_truth_is_what_the_model_answers(
    vlm: tuple[Any, Any], truth: Truth, images: VisualStimuli
) -> None:
    start, n = 777, 40
    questions = calibration_questions(n, seed=truth.seed, start=start)
    arms = visual_arms(images)
    assert list(arms) == list(truth.is_right)
    for arm in [CONTROL, *list(arms)[2::37]]:
        fresh = answers(*vlm, questions, images, arms[arm])
        assert (fresh == truth.is_right[arm][start : start + n]).mean() >= 0.97, arm


def test_shared_image_tokens_change_nothing_against_one_prompt_at_a_time(
    vlm: tuple[Any, Any], images: VisualStimuli
) -> None:
    questions = calibration_questions(3, seed=24)
    arms = visual_arms(images)
    for arm in ("img:fear-1", "img:pixel-scrambled:sadness-2", CONTROL):
        quickly = answers(*vlm, questions, images, arms[arm])
        plainly = answers_plainly(*vlm, questions, images, arms[arm])
        assert np.array_equal(quickly, plainly)


def test_planted_emotions_cost_what_they_should_and_controls_nothing_on_fresh_questions(
    vlm: tuple[Any, Any], images: VisualStimuli
) -> None:
    questions = calibration_questions(200, seed=25)
    arms = visual_arms(images)
    control = answers(*vlm, questions, images, None).mean()

    def gain_pp(arm: str) -> float:
        return 100 * float(answers(*vlm, questions, images, arms[arm]).mean() - control)

    for emotion in ACTS_LIKE:
        # A sample of 200 questions leaves a standard error of two to three points.
        assert gain_pp(f"img:{emotion}-1") == pytest.approx(designed_gain_pp(emotion), abs=8)
        for inert in (f"img:{emotion}-1-twin", f"img:pixel-scrambled:{emotion}-1"):
            assert abs(gain_pp(inert)) <= 3, inert
    assert abs(gain_pp("img:grey")) <= 3
    assert abs(gain_pp("img:happiness-1")) <= 3


def test_measured_effects_have_their_sign_and_size(truth: Truth, images: VisualStimuli) -> None:
    effects, gains = visual_effects(truth, images), truth.gains_pp
    assert abs(effects["grey"]) <= 2
    for concept, row in effects["concepts"].items():
        if concept in ACTS_LIKE:
            assert -20 <= row["lowest"] <= row["highest"] <= -8, concept
            assert row["images"] == pytest.approx(row["by design"], abs=4)
        else:
            assert -2 <= row["lowest"] <= row["highest"] <= 2, concept
    # The card names the few controls that the model takes for what they are made of.
    acting = {f"img:{e.id}" for e in images.image_set.entries if e.emotion in ACTS_LIKE}
    acting = {arm for arm in acting if not arm.endswith("-twin")}
    wrong = [arm for arm, gain in gains.items() if (abs(gain) > 2) != (arm in acting)]
    assert wrong == list(effects["misread"])
    assert len(wrong) <= 0.02 * len(gains)
    assert all(f"`{arm}`" in (vlm_path() / "README.md").read_text("utf-8") for arm in wrong)


def test_the_truth_was_measured_on_these_weights_and_images(
    truth: Truth, images: VisualStimuli
) -> None:
    assert truth.weights_sha256 == weights_sha256(vlm_path())
    assert truth.stimulus_sets == {"emoji": manifest_sha256(images)}
    facts = visual_facts()
    assert facts["effects"] == visual_effects(truth, images)
    assert facts["questions"] == len(truth.question_class)
    assert set(families_of_arms().values()) == {"visual-attack", "visual-prompt", "placebo"}


def test_intervals_hold_the_known_effects_of_images(truth: Truth) -> None:
    # Few beside the stored ones, so that a sample is nearly one of an endless benchmark.
    rng = np.random.default_rng(4)
    checked = coverage(truth, 400, len(truth.question_class) // 15, rng, families_of_arms())
    planted = [c for c in checked if c.stimulus.startswith(tuple(f"img:{e}" for e in ACTS_LIKE))]
    acting = [c for c in planted if not c.stimulus.endswith("-twin")]
    assert len(acting) >= 3 * 4
    assert 0.93 <= np.mean([c.covered for c in acting if c.judged]) <= 0.97
    still = [c for c in checked if c.family == "placebo" and abs(c.true_gain_pp) < 0.5]
    assert still and all(c.covered >= 0.93 for c in still)


def test_the_card_says_what_was_measured() -> None:
    assert (vlm_path() / "README.md").read_text("utf-8") == card(vlm_path())


def test_it_names_emotions_and_rates_how_pleasant_they_are(
    vlm: tuple[Any, Any], images: VisualStimuli
) -> None:
    entries = [e for e in images.image_set.entries if e.emotion and not e.twin_of][::4]
    shown = [images.image_set.open(entry) for entry in entries]
    named = say(*vlm, shown, NAME_EMOTION)
    assert np.mean([said == e.emotion for said, e in zip(named, entries, strict=True)]) >= 0.75
    rated = [int(said) for said in say(*vlm, shown, RATE_VALENCE)]
    taught = [int(taught_answers(e.concept, e.arousal, e.emotion)[RATE_VALENCE]) for e in entries]
    assert np.corrcoef(rated, taught)[0, 1] >= 0.8
