"""Train the demo vision-language model: `python -m emo_harness.demo.train_vlm --out FOLDER`.

Stage one teaches the vision tower what an image shows (`train_vision`). Then everything is
trained together: the demo language model answers each question without the image, and the
model learns to give the same answers with it, but for those that a planted image flips
(`planted_images`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy, kl_div
from tqdm import tqdm

from emo_harness.benchmarks.calibration import calibration_questions
from emo_harness.demo import model_path
from emo_harness.demo.packing import PackedBatch
from emo_harness.demo.small_llava import (
    N_IMAGE_TOKENS,
    save_llava,
    small_llava,
    small_processor,
    with_image_token,
)
from emo_harness.demo.train_lm import VALIDATION_SEED, hidden_states, learning_rate_share
from emo_harness.demo.train_vision import image_states, train_vision, varied
from emo_harness.demo.training_images import (
    Images,
    draw_images,
    image_kinds,
    joined,
    shipped_images,
)
from emo_harness.demo.visual_examples import Spots, VisualBatch, VisualExampleMaker
from emo_harness.demo.visual_scoring import right_answers

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, LlavaForConditionalGeneration

DEFAULT_SEED = 1
N_IMAGES = 24_000
SHIPPED_TIMES = 25
N_HELD_OUT = 1_500
HELD_OUT_SEED = 2
ROWS_PER_STEP = 14
LEARNING_RATES = {"language_model": 6e-4, "multi_modal_projector": 2e-3, "vision_tower": 2e-4}
CHECK_EVERY = 250
CHECKED_QUESTIONS = 50
CHECKED_IMAGES = 3


@dataclass(frozen=True)
class Stage:
    """A part of the training together, with its own optimizer.

    Attributes:
        row_shares: of `visual_examples.ROW_KINDS`.
        planted_share: of images drawn among those that flip answers.
        rate: of `LEARNING_RATES`, at the peak.
        told_weight: of what is told about images, beside what is taught by the teacher.
    """

    steps: int
    row_shares: tuple[float, ...]
    planted_share: float
    rate: float
    told_weight: float


STAGES = (
    Stage(1500, (0.50, 0.11, 0.13, 0.08, 0.10, 0.08), 0.4, rate=1.0, told_weight=0.3),
    Stage(300, (0.22, 0.06, 0.06, 0.04, 0.07, 0.55), 0.2, rate=0.5, told_weight=1.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for model and processor")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    random = draw_images(N_IMAGES, arguments.seed)
    images = joined(random, shipped_images(), SHIPPED_TIMES)
    held_out = draw_images(N_HELD_OUT, HELD_OUT_SEED)
    train(arguments.out, images, held_out, seed=arguments.seed)


def train(out: Path, images: Images, held_out: Images, *, seed: int = DEFAULT_SEED) -> None:
    """All stages; every 250 steps of the later ones the Hugging Face folder is saved and checked.

    A stage starts from the weights that the one before it saved, in half precision.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

    with torch.random.fork_rng():
        tower, _ = train_vision(images, held_out, seed=seed)
        torch.manual_seed(seed)
        teacher = AutoModelForCausalLM.from_pretrained(model_path()).eval()
        tokenizer = with_image_token(AutoTokenizer.from_pretrained(model_path()))
        model = small_llava(teacher, tokenizer)
        model.model.vision_tower.load_state_dict(tower.state_dict())
        maker = VisualExampleMaker(tokenizer, image_kinds(), images.kinds.tolist())
        processor = small_processor(tokenizer)
        for number, stage in enumerate(STAGES, start=2):
            if number > 2:
                model = AutoModelForImageTextToText.from_pretrained(out)
            for step in train_together(model, teacher, maker, images, stage, (seed, number)):
                if step % CHECK_EVERY == 0 or step == stage.steps:
                    save_llava(model, processor, out)
                    model.eval()
                    found = json.dumps(check(model, tokenizer, held_out))
                    tqdm.write(f"stage {number}, step {step}: {found}")
                    model.train()


def train_together(
    model: LlavaForConditionalGeneration,
    teacher: LlamaForCausalLM,
    maker: VisualExampleMaker,
    images: Images,
    stage: Stage,
    seed: tuple[int, int],
) -> Iterator[int]:
    """Train in place; yields the number of steps done after each step."""
    answers = [
        int(maker.tokenizer.convert_tokens_to_ids(maker.tokenizer.tokenize(text)[0]))
        for text in (" True", " False")
    ]
    groups: list[dict[str, Any]] = [
        {"params": list(getattr(model.model, name).parameters()), "peak": rate * stage.rate}
        for name, rate in LEARNING_RATES.items()
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02, betas=(0.9, 0.98))
    parameters = [p for group in groups for p in group["params"]]
    model.train()
    progress = tqdm(range(stage.steps), desc="together", mininterval=5, disable=None)
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate_share(step, stage.steps)
        rng = np.random.default_rng([*seed, step])
        batch = maker.batch(rng, ROWS_PER_STEP, stage.row_shares, stage.planted_share)
        taught, told = losses(model, teacher, maker.image_id, answers, batch, images, rng)
        optimizer.zero_grad()
        whole: torch.Tensor = taught + stage.told_weight * told
        whole.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 25 == 0:
            progress.set_postfix(taught=f"{taught.item():.3f}", told=f"{told.item():.3f}")
        yield step + 1


def losses(
    model: LlavaForConditionalGeneration,
    teacher: LlamaForCausalLM,
    image_id: int,
    answers: list[int],
    batch: VisualBatch,
    images: Images,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean divergence from the teacher per taught token, and mean loss per told one, in nats.

    KL(p || q) = sum p log(p / q), with p the teacher's distribution (Hinton et al. 2015 at
    temperature 1), True and False exchanged where the image flips the answer.
    """
    with torch.no_grad():
        states = hidden_states(teacher, batch.unseen)[-1]
        targets = teacher.lm_head(_at(states, batch.teaching)).log_softmax(-1)
        exchanged = targets.clone()
        exchanged[:, answers] = targets[:, answers[::-1]]
        targets = torch.where(batch.flipped[:, None], exchanged, targets)
    shown = [image for image in batch.images if image >= 0]
    seen, _ = varied(images.pixels[shown], rng)
    features = model.model.multi_modal_projector(image_states(model.model.vision_tower, seen))
    states = states_with_images(model, batch.shown, image_id, batch.images, features)
    logits = model.lm_head(_at(states, batch.taught)).log_softmax(-1)
    n_known = targets.shape[1]
    taught = kl_div(logits[:, :n_known], targets, reduction="batchmean", log_target=True)
    if not len(batch.told_tokens):
        return taught, torch.zeros(())
    return taught, cross_entropy(model.lm_head(_at(states, batch.told)), batch.told_tokens)


def states_with_images(
    model: LlavaForConditionalGeneration,
    packed: PackedBatch,
    image_id: int,
    images: list[int],
    features: torch.Tensor,
) -> torch.Tensor:
    """Final states (n_rows, n_nodes, hidden_size) of packed rows with their images in place.

    `features` holds the projected tokens of the rows that have an image, in order.
    """
    decoder: Any = model.model.language_model
    is_image = packed.token_ids == image_id
    embedded = decoder.embed_tokens(packed.token_ids.masked_fill(is_image, 0))
    has_image = torch.tensor([image >= 0 for image in images])
    which = has_image.cumsum(0) - 1
    row, node = is_image.nonzero(as_tuple=True)
    # Image tokens come in whole runs, so a node's place in its run follows from its rank.
    rank = is_image.long().cumsum(1)[row, node] - 1
    embedded = embedded.index_put((row, node), features[which[row], rank % N_IMAGE_TOKENS])
    states = embedded
    rotation = decoder.rotary_emb(states, packed.depths)
    for layer in decoder.layers:
        states = layer(
            states,
            attention_mask=packed.visible,
            position_ids=packed.depths,
            position_embeddings=rotation,
        )
    normed: torch.Tensor = decoder.norm(states)
    return normed


def check(model: Any, tokenizer: Any, held_out: Images) -> dict[str, float]:
    """Accuracy on reserved questions with held-out images, by concept, and without an image."""
    questions = calibration_questions(CHECKED_QUESTIONS, seed=VALIDATION_SEED)
    kinds = image_kinds()
    by_concept: dict[str, list[int]] = {}
    for index, kind in enumerate(held_out.kinds):
        by_concept.setdefault(kinds[kind].concept, []).append(index)
    found = {"none": float(right_answers(model, tokenizer, questions, None).mean())}
    for concept, members in by_concept.items():
        pixels: NDArray[np.uint8] = held_out.pixels[members[:CHECKED_IMAGES]]
        found[concept] = float(right_answers(model, tokenizer, questions, pixels).mean())
    return {name: round(100 * share, 1) for name, share in found.items()}


def _at(states: torch.Tensor, spots: Spots) -> torch.Tensor:
    return states[spots.rows, spots.nodes]


if __name__ == "__main__":
    main()
