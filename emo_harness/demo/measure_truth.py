"""Measure the true effect of every stimulus: `python -m emo_harness.demo.measure_truth`.

The demo model answers the first 20,000 calibration questions under every default arm. The table
that results has a row per question and a uint8 column per arm, 1 where the answer is right; gains
computed on all its rows are the truth that an estimate from a few hundred questions is compared
with.
"""

import argparse
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from emo_harness.benchmarks.calibration import (
    CHOICES,
    DEFAULT_SEED,
    SUBTASK,
    calibration_questions,
)
from emo_harness.demo import model_path, truth_path
from emo_harness.demo.corpus import Question
from emo_harness.demo.planted import FAMILIES, demo_stimuli
from emo_harness.demo.scoring import choose, choose_plainly
from emo_harness.demo.truth import CONTROL
from emo_harness.stimuli import Stimulus, load_set

DEFAULT_QUESTIONS = 20_000
QUESTIONS_PER_BATCH = 20
VERIFIED_QUESTIONS = 8
WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=model_path())
    parser.add_argument("--out", type=Path, default=truth_path(), help="the parquet table to write")
    parser.add_argument("--n", type=int, default=DEFAULT_QUESTIONS, help="questions")
    arguments = parser.parse_args()
    measure(arguments.model, arguments.out, arguments.n)


def measure(model_folder: Path, out: Path, n: int) -> None:
    """Write the table and, beside it, a JSON file that says what was measured."""
    model, tokenizer = load_model(model_folder)
    arms = default_arms()
    questions = calibration_questions(n)
    verified = questions[:VERIFIED_QUESTIONS]
    if not np.array_equal(
        answer(model, tokenizer, verified, arms), answer_plainly(model, tokenizer, verified, arms)
    ):
        raise RuntimeError(
            "shared beginnings and one prompt at a time give different answers: a bug"
        )

    def answer_part(start: int) -> np.ndarray:
        torch.set_num_threads(1)
        return answer(model, tokenizer, questions[start : start + QUESTIONS_PER_BATCH], arms)

    starts = range(0, n, QUESTIONS_PER_BATCH)
    with ThreadPoolExecutor(WORKERS) as workers:
        parts = tqdm(workers.map(answer_part, starts), total=len(starts), desc="measuring")
        is_right = np.concatenate(list(parts))
    table = pa.table(
        {
            "question": pa.array(np.arange(n), pa.int32()),
            "question_class": pa.array([q["question_class"] for q in questions]),
            **{arm: pa.array(is_right[:, column]) for column, arm in enumerate(arms)},
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out, compression="zstd")
    out.with_suffix(".json").write_text(
        json.dumps(describe(model_folder, list(arms), n), indent=2) + "\n"
    )


def default_arms() -> dict[str, Stimulus | None]:
    """Control and every default stimulus, by arm id."""
    return {CONTROL: None, **{s.id: s for s in demo_stimuli() if s.default}}


def arm_prompts(
    questions: list[dict[str, str]],
    arms: dict[str, Stimulus | None],
    placement: str = "suffix",
) -> list[list[str]]:
    """Every question's prompts, one per arm, in order."""
    asked = [Question(SUBTASK, q["input"], q["target"]) for q in questions]
    return [[q.prompt(s.text if s else None, placement) for s in arms.values()] for q in asked]


def answer(
    model: Any,
    tokenizer: Any,
    questions: list[dict[str, str]],
    arms: dict[str, Stimulus | None],
    placement: str = "suffix",
) -> np.ndarray:
    """1 where the answer is right: (n_questions, n_arms), uint8."""
    return _is_right(choose(model, tokenizer, arm_prompts(questions, arms, placement)), questions)


def answer_plainly(
    model: Any,
    tokenizer: Any,
    questions: list[dict[str, str]],
    arms: dict[str, Stimulus | None],
    placement: str = "suffix",
) -> np.ndarray:
    """`answer` computed with one forward pass per prompt and continuation."""
    prompts = arm_prompts(questions, arms, placement)
    return _is_right(choose_plainly(model, tokenizer, prompts), questions)


def load_model(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a Hugging Face folder, as lm-evaluation-harness loads them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def weights_sha256(folder: Path) -> str:
    """SHA-256 of a model folder's weights file."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def describe(model_folder: Path, arm_ids: list[str], n: int) -> dict[str, Any]:
    """What a truth table was measured with."""
    return {
        "benchmark": "calibration",
        "questions": n,
        "seed": DEFAULT_SEED,
        "placement": "suffix",
        "arms": arm_ids,
        "weights_sha256": weights_sha256(model_folder),
        "stimulus_sets": {family: load_set(family).hash for family in FAMILIES},
        "prompts_verified_one_by_one": VERIFIED_QUESTIONS * len(arm_ids),
    }


def _is_right(choice: np.ndarray, questions: list[dict[str, str]]) -> np.ndarray:
    target = np.array([CHOICES.index(q["target"]) for q in questions])
    is_right: np.ndarray = (choice == target[:, None]).astype(np.uint8)
    return is_right


if __name__ == "__main__":
    main()
