"""Prompts with images, computed together: scores and texts are those of the model's own forward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from emo_harness.prefix import Continuation, Limits, Prompt, VisualPackedModel, generate, score
from tests.lm_models.vision_models import KINDS
from tests.prefix.visual_prompts import (
    Asked,
    asked,
    longer,
    packed,
    plain_continued,
    plain_logits,
    plain_score,
)

TOLERANCE = 1e-4
N_GENERATED = 6
ALL_KINDS = (*KINDS, "qwen2_5_vl")
PROMPTS = (
    # Several images, same text.
    "Q: {a} Is this true or false? A:",
    "Q: {b} Is this true or false? A:",
    "Q: {c} Is this true or false? A:",
    # Same image, several texts, before and behind it.
    "{a}The question is about a box.",
    "{a}The question is about a key and the room behind the door.",
    "Your friend is sick. {a} A:",
    "Your friend is sick. You failed again. {a} Options:",
    # Two images, in both orders, and one twice.
    "{a} and {b} and the door",
    "{b} and {a} and the door",
    "{a} {a} A",
    "{c} is a box, {b} is a key, {a} is a room",
    # None, and what it shares with others.
    "Q: Is this true or false? A:",
    "Your friend is sick. ",
)
LIMITS = (
    Limits(),
    Limits(pass_tokens=16, tree_tokens=13, wanted=8, rows=4),
    Limits(pass_tokens=7, tree_tokens=1, wanted=3, rows=1),
)


def all_asked(model: VisualPackedModel, kind: str) -> list[Asked]:
    return [asked(model, kind, text) for text in PROMPTS]


def scores(
    model: VisualPackedModel, prompts: Sequence[Asked], targets: Sequence[int], limits: Limits
) -> list[float]:
    questions = [
        Continuation(
            np.concatenate([one.tokens, targets[:-1]]).astype(np.int32),
            np.array(targets, np.int32),
        )
        for one in prompts
    ]
    found = {one.index: one.log_probability for one in score(model, questions, limits)}
    return [found[index] for index in range(len(prompts))]


def texts(
    model: VisualPackedModel, prompts: Sequence[Asked], limits: Limits, n_tokens: int = N_GENERATED
) -> list[list[int]]:
    wanted = [Prompt(one.tokens, n_tokens, lambda generated: False) for one in prompts]
    found = {one.index: one.generated for one in generate(model, wanted, limits)}
    return [found[index] for index in range(len(prompts))]


@pytest.mark.parametrize("limits", LIMITS, ids=["roomy", "small", "smallest"])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_scores_are_those_of_each_prompt_alone(kind: str, limits: Limits) -> None:
    model = packed(kind)
    prompts = all_asked(model, kind)
    targets = (40, 7, 41)
    found = scores(model, prompts, targets, limits)
    expected = [plain_score(model.model, one.inputs, targets) for one in prompts]
    assert np.allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("limits", LIMITS, ids=["roomy", "small", "smallest"])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_greedy_texts_are_those_of_each_prompt_alone(kind: str, limits: Limits) -> None:
    model = packed(kind)
    prompts = all_asked(model, kind)
    found = texts(model, prompts, limits)
    expected = [plain_continued(model.model, one.inputs, N_GENERATED) for one in prompts]
    assert found == expected


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_images_are_encoded_once_however_often_they_are_asked_about(kind: str) -> None:
    model = packed(kind)
    prompts = all_asked(model, kind)
    assert not model.encoded
    texts(model, prompts, LIMITS[1])
    scores(model, prompts, (40,), LIMITS[1])
    assert model.encoded == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_find_no_room_are_encoded_again_with_the_same_answers(kind: str) -> None:
    roomy, tight, none = packed(kind), packed(kind), packed(kind, cache_bytes=0)
    prompts = all_asked(roomy, kind)
    expected = texts(roomy, prompts, LIMITS[1]), scores(roomy, prompts, (40, 7), LIMITS[1])
    one_image = max(len(roomy.token_ids(key)) for key in "abc") * 32 * 4
    tight = packed(kind, cache_bytes=one_image)
    for model in (tight, none):
        again = all_asked(model, kind)
        assert texts(model, again, LIMITS[1]) == expected[0]
        assert scores(model, again, (40, 7), LIMITS[1]) == pytest.approx(expected[1], abs=1e-5)
        assert max(model.encoded.values()) > 1
    assert sum(none.encoded.values()) > sum(tight.encoded.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_about_another_image_has_another_answer(kind: str) -> None:
    model = packed(kind)
    one, other = (asked(model, kind, f"Q: {{{name}}} true? A:") for name in "ad")
    assert torch.equal(one.inputs["input_ids"], other.inputs["input_ids"])
    assert not np.array_equal(one.tokens, other.tokens)
    first, second = scores(model, [one, other], (40, 7), Limits())
    assert abs(first - second) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_exchanging_the_pixels_of_two_keys_exchanges_their_answers(kind: str) -> None:
    from tests.prefix import visual_prompts

    straight, exchanged = packed(kind), packed(kind)
    images = visual_prompts.IMAGES
    for key, name in (("a", "d"), ("d", "a")):
        visual_prompts.register(exchanged, kind, key, images[name])
        visual_prompts.register(straight, kind, key, images[key])
    prompts = [f"Q: {{{name}}} true or false? A:" for name in "ad"]
    of_straight = [asked(straight, kind, text) for text in prompts]
    of_exchanged = [asked(exchanged, kind, text) for text in prompts]
    a, d = scores(straight, of_straight, (40, 7), Limits())
    assert scores(exchanged, of_exchanged, (40, 7), Limits()) == pytest.approx([d, a], abs=1e-5)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_long_generations_go_on_from_the_right_positions(kind: str) -> None:
    model = packed(kind)
    prompts = [asked(model, kind, text) for text in ("{b} a box", "{b} a key {c} A:", "a key")]
    expected = [plain_continued(model.model, one.inputs, 70) for one in prompts]
    assert texts(model, prompts, Limits(), 70) == expected


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_prompt_that_ends_with_an_image_is_continued_as_whole_sequences_are(kind: str) -> None:
    """Not as `generate` does: it takes what Qwen-VL says next for more of the image."""
    model = packed(kind)
    one = asked(model, kind, "Your friend is sick. {b}")
    expected: list[int] = []
    while len(expected) < N_GENERATED:
        inputs = longer(one.inputs, expected) if expected else one.inputs
        expected.append(int(plain_logits(model.model, inputs)[-1].argmax()))
    assert texts(model, [one], Limits()) == [expected]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_half_precision_gives_the_models_own_logits(kind: str, dtype: torch.dtype) -> None:
    from tests.lm_models.vision_models import built

    half = built(kind)[0].to(dtype)
    model = VisualPackedModel(half, torch.device("cpu"))
    one = asked(model, kind, "Q: {a} Is this {b} true? A:")
    heard: list[torch.Tensor] = []

    def pick(logits: torch.Tensor, generated: list[int]) -> int:
        heard.append(logits)
        return 40

    list(generate(model, [Prompt(one.tokens, 1, lambda generated: False, pick)], Limits()))
    inputs = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in one.inputs.items()
    }
    expected = plain_logits(half, inputs)[-1].float()
    assert float((heard[0] - expected).abs().max()) < 0.05 * float(expected.abs().max())
