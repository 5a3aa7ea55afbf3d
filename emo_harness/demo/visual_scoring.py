"""Many answers of the demo vision-language model, quickly: an image's tokens are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emo_harness.benchmarks.calibration import CHOICES, zero_shot_prompt
from emo_harness.demo.train_vision import image_states, pixel_values

QUESTIONS_PER_PASS = 64


def right_answers(
    model: Any,
    tokenizer: Any,
    questions: Sequence[dict[str, str]],
    pixels: NDArray[np.uint8] | torch.Tensor | None,
) -> NDArray[np.bool_]:
    """Whether ` True` against ` False` is answered rightly, with each image before the question.

    Args:
        questions: of the calibration benchmark.
        pixels: (n_images, side, side, 3), uint8, or what the processor made of the images,
            (n_images, 3, side, side), float32; None asks without any.

    Returns:
        (n_images, n_questions); (1, n_questions) without images.
    """
    values = pixel_values(pixels) if isinstance(pixels, np.ndarray) else pixels
    target = np.array([CHOICES.index(question["target"]) for question in questions])
    features = _features(model, values)
    chosen = [chosen_answers(model, tokenizer, questions, each) for each in features]
    return np.stack(chosen) == target


@torch.inference_mode()
def chosen_answers(
    model: Any,
    tokenizer: Any,
    questions: Sequence[dict[str, str]],
    features: torch.Tensor | None,
) -> NDArray[np.int64]:
    """The likelier of `CHOICES`, (n_questions,), after an image's tokens (n_image_tokens, width).

    Without `features` the question stands alone.
    """
    from transformers import DynamicCache

    decoder, head = model.model.language_model, model.lm_head.weight
    lead = "" if features is None else "\n"
    texts = [lead + zero_shot_prompt(question["input"]) for question in questions]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    answer_ids = [tokenizer(f" {c}", add_special_tokens=False)["input_ids"][0] for c in CHOICES]
    n_shared = min(_n_agreeing(ids), min(map(len, ids)) - 1)
    start = model.get_input_embeddings()(torch.tensor(ids[0][:n_shared]))
    if features is not None:
        start = torch.cat([features, start])
    begun = decoder(inputs_embeds=start[None], use_cache=True).past_key_values
    chosen = np.zeros(len(questions), np.int64)
    order = np.argsort([len(each) for each in ids], kind="stable")
    for first in range(0, len(order), QUESTIONS_PER_PASS):
        members = order[first : first + QUESTIONS_PER_PASS]
        rests = [ids[member][n_shared:] for member in members]
        last = torch.tensor([len(rest) - 1 for rest in rests])
        padded = torch.zeros(len(rests), int(last.max()) + 1, dtype=torch.int64)
        for row, rest in enumerate(rests):
            padded[row, : len(rest)] = torch.tensor(rest)
        cache = DynamicCache()
        for layer, known in enumerate(begun.layers):
            shape = (len(rests), -1, -1, -1)
            cache.update(known.keys.expand(shape), known.values.expand(shape), layer)
        states = decoder(input_ids=padded, past_key_values=cache, use_cache=True).last_hidden_state[
            torch.arange(len(rests)), last
        ]
        chosen[members] = (states @ head[answer_ids].T).argmax(-1).numpy()
    return chosen


@torch.inference_mode()
def _features(model: Any, values: torch.Tensor | None) -> Sequence[torch.Tensor | None]:
    """Projected image tokens per image, or one None."""
    if values is None:
        return [None]
    states = image_states(model.model.vision_tower, values)
    features: torch.Tensor = model.model.multi_modal_projector(states)
    return list(features)


def _n_agreeing(sequences: Sequence[Sequence[int]]) -> int:
    """How many first tokens all sequences share."""
    low, high = min(map(list, sequences)), max(map(list, sequences))
    shared = 0
    while shared < min(len(low), len(high)) and low[shared] == high[shared]:
        shared += 1
    return shared
