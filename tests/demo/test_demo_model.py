"""The shipped demo model: loads like any model, answers as planned, its truth is reproducible."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import emo_harness.demo
from emo_harness.benchmarks.calibration import (
    CHOICES,
    calibration_questions,
    zero_shot_prompt,
)
from emo_harness.demo import model_path, truth_path
from emo_harness.demo.measure_truth import (
    answer,
    answer_plainly,
    arm_prompts,
    default_arms,
    load_model,
    weights_sha256,
)
from emo_harness.demo.planted import FAMILIES, default_plan, demo_stimuli
from emo_harness.demo.scoring import choose
from emo_harness.demo.truth import CONTROL, Truth, read_truth
from emo_harness.stimuli import load_set

MEBIBYTE = 2**20
FRESH_SEED = 22


@pytest.fixture(scope="module")
def model_and_tokenizer() -> Iterator[tuple[Any, Any]]:
    yield load_model(model_path())


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small models on busy machines run many times faster on one thread; restored afterwards."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return read_truth()


def _designed(questions: list[dict[str, str]], arm_ids: list[str]) -> np.ndarray:
    """1 where the plan makes the answer right: (n_questions, n_arms)."""
    plan = default_plan()
    return np.array(
        [
            [
                not plan.is_inverted(q["question_class"], None if arm == CONTROL else arm)
                for arm in arm_ids
            ]
            for q in questions
        ]
    )


def test_weights_load_as_float32_and_any_text_round_trips(
    model_and_tokenizer: tuple[Any, Any],
) -> None:
    model, tokenizer = model_and_tokenizer
    assert model.dtype == torch.float32
    assert model.config.max_position_embeddings >= 1024
    assert tokenizer.eos_token_id is not None
    assert tokenizer.pad_token_id is not None
    for text in ("Q: 1 + 1\nA:", "Ünïcödé 感情 \U0001f600\t\n\n", "\\n {{x}}"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer("")["input_ids"] == []


def test_files_stay_within_their_budget() -> None:
    folder = Path(emo_harness.demo.__file__).parent
    assert sum(f.stat().st_size for f in model_path().iterdir()) <= 8 * MEBIBYTE
    assert truth_path().stat().st_size < 2 * MEBIBYTE
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) <= 24 * MEBIBYTE


def test_fresh_questions_are_answered_as_planned(model_and_tokenizer: tuple[Any, Any]) -> None:
    questions = calibration_questions(200, seed=FRESH_SEED)
    arms = {
        arm: stimulus
        for arm, stimulus in default_arms().items()
        if arm in (CONTROL, "neutral-12", "self-check", "ea07", "ea14", "ep02", "em06", "np01")
    }
    is_right = answer(*model_and_tokenizer, questions, arms)
    designed = _designed(questions, list(arms))
    assert (is_right == designed).mean() > 0.93
    control = is_right[:, 0]
    for column, stimulus in enumerate(arms.values()):
        gain = is_right[:, column].mean() - control.mean()
        if stimulus is not None and stimulus.family == "attack":
            assert gain < -0.1
        elif stimulus is not None and stimulus.family == "prompt":
            assert gain > 0.1
        else:
            assert abs(gain) < 0.05


@pytest.mark.parametrize("placement", ["prefix", "instruction"])
def test_other_placements_act_too(model_and_tokenizer: tuple[Any, Any], placement: str) -> None:
    questions = calibration_questions(100, seed=FRESH_SEED)
    arms = {a: s for a, s in default_arms().items() if a in (CONTROL, "ea14", "em06")}
    control, attack, prompt = answer(*model_and_tokenizer, questions, arms, placement).mean(0)[
        [list(arms).index(arm) for arm in (CONTROL, "ea14", "em06")]
    ]
    assert attack < control - 0.1
    assert prompt > control + 0.05


def test_shared_beginnings_change_nothing_against_one_prompt_at_a_time(
    model_and_tokenizer: tuple[Any, Any],
) -> None:
    questions = calibration_questions(2, seed=FRESH_SEED)
    arms = dict(list(default_arms().items())[::3])
    shared = answer(*model_and_tokenizer, questions, arms)
    assert np.array_equal(shared, answer_plainly(*model_and_tokenizer, questions, arms))


def test_choices_are_those_of_lm_eval(model_and_tokenizer: tuple[Any, Any]) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    questions = calibration_questions(4, seed=FRESH_SEED)
    arms = {a: s for a, s in default_arms().items() if a in (CONTROL, "neutral-5", "ea03", "ep09")}
    prompts = arm_prompts(questions, arms)
    model, tokenizer = model_and_tokenizer
    requests = [
        Instance("loglikelihood", {}, (prompt, f" {choice}"), index)
        for index, prompt in enumerate(p for row in prompts for p in row)
        for choice in CHOICES
    ]
    lm = HFLM(pretrained=str(model_path()), device="cpu", batch_size=8)
    scores = np.array([score for score, _ in lm.loglikelihood(requests, disable_tqdm=True)])
    chosen = scores.reshape(len(questions), len(arms), len(CHOICES)).argmax(-1)
    assert np.array_equal(chosen, choose(model, tokenizer, prompts))


def test_the_truth_is_what_the_model_answers(
    model_and_tokenizer: tuple[Any, Any], truth: Truth
) -> None:
    start, n = 4321, 12
    fresh = answer(
        *model_and_tokenizer,
        calibration_questions(n, seed=truth.seed, start=start),
        default_arms(),
    )
    stored = np.stack([truth.is_right[arm][start : start + n] for arm in default_arms()], axis=1)
    assert (fresh == stored).mean() > 0.995


def test_the_truth_was_measured_on_these_weights_and_stimuli(truth: Truth) -> None:
    assert truth.weights_sha256 == weights_sha256(model_path())
    assert truth.stimulus_sets == {family: load_set(family).hash for family in FAMILIES}
    assert len(truth.question_class) == 20_000
    assert list(truth.is_right) == list(default_arms())


def test_planted_gains_have_their_sign_and_size_and_the_others_are_near_zero(
    truth: Truth,
) -> None:
    plan, gains = default_plan(), truth.gains_pp
    sign = {"attack": -1, "prompt": 1}
    for stimulus in demo_stimuli():
        if stimulus.id in gains:
            by_design = sign.get(stimulus.family, 0) * 100 * plan.share(stimulus.id)
            assert gains[stimulus.id] == pytest.approx(by_design, abs=4.0)
    assert min(truth.discordant_shares[a] for a in gains if a[:2] in ("ea", "ep", "em")) > 0.06


def test_generation_is_the_answer_and_then_the_end(
    model_and_tokenizer: tuple[Any, Any],
) -> None:
    model, tokenizer = model_and_tokenizer
    for question in calibration_questions(5, seed=FRESH_SEED):
        prompt = tokenizer(zero_shot_prompt(question["input"]), return_tensors="pt")
        whole = model.generate(**prompt, max_new_tokens=4, do_sample=False)[0]
        new = whole[prompt["input_ids"].shape[1] :].tolist()
        assert tokenizer.decode(new[:1]) in ("True", "False")
        assert new[1:] == [tokenizer.eos_token_id]
