"""Measure the true effect of every image: `python -m emo_harness.demo.measure_visual_truth`.

The demo vision-language model answers the first calibration questions without image, and with
every image of the shipped set, its neutral twin, its scrambled copies, and plain grey before the
question. The table that results has a row per question and a uint8 column per arm, 1 where the
answer is right; a JSON file beside it says what was measured, and the effects by concept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from emo_harness.benchmarks.calibration import DEFAULT_SEED, calibration_questions
from emo_harness.demo import visual_truth_path, vlm_path
from emo_harness.demo.measure_truth import weights_sha256
from emo_harness.demo.sayings import measure_sayings
from emo_harness.demo.train_vlm import HELD_OUT_SEED
from emo_harness.demo.training_images import draw_images, image_kinds
from emo_harness.demo.truth import CONTROL, read_truth
from emo_harness.demo.visual_scoring import right_answers
from emo_harness.demo.visual_truth import manifest_sha256, visual_effects
from emo_harness.images.selection import SCRAMBLED, VisualStimuli, visual_stimuli
from emo_harness.stimuli import Stimulus
from emo_harness.whole_file import text_writer, write_whole

DEFAULT_QUESTIONS = 1_500
VERIFIED_QUESTIONS = 4
VERIFIED_ARMS = 12
OTHER_QUESTIONS = 300
OTHER_IMAGES = 6
OTHER_DRAWN = 700


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=vlm_path())
    parser.add_argument("--out", type=Path, default=visual_truth_path(), help="the parquet table")
    parser.add_argument("--n", type=int, default=DEFAULT_QUESTIONS, help="questions")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measure(arguments.model, arguments.out, arguments.n)


def measure(model_folder: Path, out: Path, n: int) -> None:
    """Write the table and the JSON file beside it."""
    model, processor = load_vlm(model_folder)
    images = visual_stimuli()
    arms = visual_arms(images)
    questions = calibration_questions(n)
    verified = list(arms.items())[:: max(1, len(arms) // VERIFIED_ARMS)]
    for arm, stimulus in verified:
        few = questions[:VERIFIED_QUESTIONS]
        quickly = answers(model, processor, few, images, stimulus)
        if not np.array_equal(quickly, answers_plainly(model, processor, few, images, stimulus)):
            raise RuntimeError(f"{arm}: shared image tokens and one prompt at a time disagree")
    is_right = {
        arm: answers(model, processor, questions, images, stimulus)
        for arm, stimulus in tqdm(arms.items(), desc="measuring", unit="arm", disable=None)
    }
    table = pa.table(
        {
            "question": pa.array(np.arange(n), pa.int32()),
            "question_class": pa.array([q["question_class"] for q in questions]),
            **{arm: pa.array(right.astype(np.uint8)) for arm, right in is_right.items()},
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out, compression="zstd")
    facts = {
        "benchmark": "calibration",
        "questions": n,
        "seed": DEFAULT_SEED,
        "image_order": "first",
        "image_set": images.image_set.name,
        "arms": len(arms),
        "weights_sha256": weights_sha256(model_folder),
        "stimulus_sets": {images.image_set.name: manifest_sha256(images)},
        "prompts_verified_one_by_one": VERIFIED_QUESTIONS * len(verified),
    }
    beside = out.with_suffix(".json")
    write_whole(beside, text_writer(json.dumps(facts)))
    effects = visual_effects(read_truth(out), images)
    said = measure_sayings(model, processor, images)
    other = other_compositions(model, processor, questions[:OTHER_QUESTIONS])
    whole = {**facts, "effects": effects, "other compositions": other, "said": said}
    write_whole(beside, text_writer(json.dumps(whole, indent=1) + "\n"))


def visual_arms(images: VisualStimuli) -> dict[str, Stimulus | None]:
    """Control (no image), grey, every image and twin, and scrambled copies of every image."""
    image_set = images.image_set
    shown = [e for e in image_set.entries if e.twin_of is None]
    stimuli = [
        images.grey(),
        *(image_set.stimulus(entry) for entry in image_set.entries),
        *images.named(f"img:{how}:{entry.id}" for how in SCRAMBLED for entry in shown),
    ]
    return {CONTROL: None, **{stimulus.id: stimulus for stimulus in stimuli}}


def other_compositions(
    model: Any, processor: Any, questions: list[dict[str, str]]
) -> dict[str, float]:
    """Mean effect, in percentage points, of random compositions that were not trained on."""
    drawn = draw_images(OTHER_DRAWN, HELD_OUT_SEED)
    without = right_answers(model, processor.tokenizer, questions, None).mean()
    of_concept: dict[str, list[int]] = {}
    for index, kind in enumerate(drawn.kinds):
        of_concept.setdefault(image_kinds()[kind].concept, []).append(index)
    gains = {}
    for concept in dict.fromkeys(kind.concept for kind in image_kinds()):
        pixels = drawn.pixels[of_concept[concept][:OTHER_IMAGES]]
        right = right_answers(model, processor.tokenizer, questions, pixels)
        gains[concept] = round(100 * float(right.mean() - without), 2)
    return gains


def answers(
    model: Any,
    processor: Any,
    questions: list[dict[str, str]],
    images: VisualStimuli,
    stimulus: Stimulus | None,
) -> NDArray[np.bool_]:
    """Whether each question is answered rightly under one arm: (n_questions,)."""
    values = None
    if stimulus is not None:
        values = processor.image_processor(_shown(images, stimulus), return_tensors="pt")
        values = values["pixel_values"]
    right: NDArray[np.bool_] = right_answers(model, processor.tokenizer, questions, values)[0]
    return right


@torch.inference_mode()
def answers_plainly(
    model: Any,
    processor: Any,
    questions: list[dict[str, str]],
    images: VisualStimuli,
    stimulus: Stimulus | None,
) -> NDArray[np.bool_]:
    """`answers` by the model's and the processor's own code, one prompt at a time."""
    from emo_harness.benchmarks.calibration import CHOICES, zero_shot_prompt
    from emo_harness.demo.small_llava import IMAGE_TOKEN

    right = np.zeros(len(questions), bool)
    for index, question in enumerate(questions):
        prompt = zero_shot_prompt(question["input"])
        if stimulus is None:
            given = processor.tokenizer(prompt, return_tensors="pt")
        else:
            text = f"{IMAGE_TOKEN}\n{prompt}"
            given = processor(text=text, images=_shown(images, stimulus), return_tensors="pt")
        logits = model(**given).logits[0, -1]
        ids = [processor.tokenizer(f" {c}")["input_ids"][0] for c in CHOICES]
        right[index] = CHOICES[int(logits[ids].argmax())] == question["target"]
    return right


def load_vlm(folder: Path) -> tuple[Any, Any]:
    """Model and processor of a Hugging Face folder."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)
    return model.eval(), AutoProcessor.from_pretrained(folder, local_files_only=True)


def _shown(images: VisualStimuli, stimulus: Stimulus) -> Any:
    if stimulus.image is None:
        raise ValueError(f"{stimulus.id} shows no image")
    return images.image(stimulus.image)


if __name__ == "__main__":
    main()
