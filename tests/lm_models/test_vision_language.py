"""`emo-vlm` answers as lm-eval's `hf-multimodal` does, one request at a time, and `hf` for text."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.models.hf_vlms import HFMultimodalLM

from emo_harness.errors import UserError
from emo_harness.lm_models.vision_language import VisionLanguageLM
from tests.lm_models.local_models import assert_same_scores, requests
from tests.lm_models.vision_models import random_image, saved

KINDS = ("llava", "qwen2_vl", "qwen2_5_vl", "idefics3")
IMAGES = [random_image(seed, *size) for seed, size in enumerate([(24, 24), (24, 24), (40, 24)])]
LARGE = random_image(7, 64, 48)
GREEDY = {"until": ["\n\n"], "max_gen_toks": 8, "do_sample": False}
QUESTION = "Q: Is the box in the room?\nA:"
OPTIONS = (" True", " False", " (A)", " Let's think step by step.")
# Text with a place for each image.
PROMPTS: list[tuple[str, list[Any]]] = [
    *((f"<image>\n{QUESTION}", [one]) for one in (*IMAGES, LARGE)),
    (f"{QUESTION}\n<image>", IMAGES[:1]),
    ("Look at <image> and then at <image>. Is the key behind the door?\nA:", IMAGES[1:]),
    (f"<image> <image>\n{QUESTION}", [IMAGES[0], IMAGES[0]]),
    (f"\n\n<image>\n\n  {QUESTION} ", [LARGE]),
    ("<image>", IMAGES[:1]),
    ("größer 日本語<image>🙂", IMAGES[1:2]),
]
TEXTS = (QUESTION, "Q: Is the door open?\nA:", "<s>The box")

Pair = tuple[Any, Any]


def arguments(folder: Path, **changes: Any) -> dict[str, Any]:
    plain = {"device": "cpu", "dtype": "float32", "batch_size": 1}
    return {"pretrained": str(folder), **plain, **changes}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = saved(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return folder


@pytest.fixture(scope="module")
def pairs_of_models(folders: Any) -> Any:
    """Ours and theirs by kind and arguments, each loaded once."""
    loaded: dict[str, Pair] = {}

    def pair(kind: str, **changes: Any) -> Pair:
        key = f"{kind} {changes}"
        if key not in loaded:
            given = arguments(folders(kind), **changes)
            loaded[key] = VisionLanguageLM(**given), HFMultimodalLM(**given)
        return loaded[key]

    return pair


def generated(lm: Any, prompts: list[Any], rule: Any = GREEDY) -> list[str]:
    """Answers to texts, and to texts with images."""
    asked = [
        (one, dict(rule)) if isinstance(one, str) else (one[0], dict(rule), {"visual": one[1]})
        for one in prompts
    ]
    return lm.generate_until(requests("generate_until", asked), disable_tqdm=True)


def scored(lm: Any, asked: list[Any]) -> list[tuple[float, bool]]:
    """Of (text, option) and (text, option, images)."""
    given = [(*one[:2], {"visual": one[2]}) if len(one) > 2 else one for one in asked]
    return lm.loglikelihood(requests("loglikelihood", given), disable_tqdm=True)


def straightforward(hf: HFMultimodalLM, text: str, option: str, images: list[Any]) -> Any:
    """One forward pass over what the processor makes of text and option, and its softmax."""
    n_spaces = len(text) - len(text.rstrip())
    before = text[: len(text) - n_spaces]
    n_before = hf.tok_batch_multimodal_encode([before], [images])["input_ids"].shape[1]
    inputs = hf.tok_batch_multimodal_encode([text + option], [images])
    with torch.no_grad():
        logits = hf.model(**inputs).logits[0].log_softmax(-1)
    targets = inputs["input_ids"][0, n_before:]
    rows = logits[n_before - 1 : -1]
    total = float(rows[torch.arange(len(targets)), targets].sum())
    return total, bool((rows.argmax(-1) == targets).all())


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_with_and_without_images_are_continued_alike_in_any_order(
    kind: str, pairs_of_models: Any
) -> None:
    lm, hf = pairs_of_models(kind)
    asked = [*PROMPTS, *TEXTS]
    expected = generated(hf, PROMPTS) + generated(hf, list(TEXTS))
    order = np.random.default_rng(0).permutation(len(asked))
    found = generated(lm, [asked[index] for index in order])
    assert found == [expected[index] for index in order]
    assert len(set(found)) > 6
    told = lm.get_model_info()["emo_vlm"]
    assert told["backend"] == "packed"
    # transformers continues Qwen-VL after an image at the very end as if that went on.
    assert sum(told["fallbacks"].values()) == (2 if kind.startswith("qwen") else 0)
    assert not told["asks_processor"]


@pytest.mark.parametrize("kind", KINDS)
def test_options_after_images_have_the_likelihoods_of_one_plain_pass_each(
    kind: str, pairs_of_models: Any
) -> None:
    lm, hf = pairs_of_models(kind)
    asked = [(text, option, shown) for text, shown in PROMPTS for option in OPTIONS]
    of_text = [(text, option) for text in TEXTS for option in OPTIONS]
    found = scored(lm, [*of_text, *asked])
    assert_same_scores(found[len(of_text) :], [straightforward(hf, *one) for one in asked])
    assert_same_scores(found[: len(of_text)], scored(hf, of_text))
    assert len({round(total, 3) for total, _ in found}) > 30


@pytest.mark.parametrize(
    ("kind", "interleave"),
    [("llava", True), ("llava", False), ("qwen2_vl", True), ("idefics3", False)],
)
def test_chats_are_continued_alike(kind: str, interleave: bool, folders: Any) -> None:
    given = arguments(folders(kind), interleave=interleave)
    lm, hf = VisionLanguageLM(**given), HFMultimodalLM(**given)
    chats = [
        [{"role": "system", "content": "You failed."}, {"role": "user", "content": text}]
        for text, _ in PROMPTS
    ]

    def asked(one: Any) -> list[Any]:
        texts = [one.apply_chat_template(copy.deepcopy(chat)) for chat in chats]
        return [(text, shown) for text, (_, shown) in zip(texts, PROMPTS, strict=True)]

    own = asked(lm)
    assert own == asked(hf)
    assert generated(lm, own) == generated(hf, own)
    plain = [lm.apply_chat_template([{"role": "user", "content": text}]) for text in TEXTS]
    assert generated(lm, plain) == generated(hf, plain)
    # What the template writes itself (the token that begins a text) is not written again.
    options = [(text, " True", shown) for text, shown in own]
    assert_same_scores(scored(lm, options), [straightforward(hf, *one) for one in options])


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("qwen2_vl", {"max_images": 1}),
        ("idefics3", {"image_width": 24}),
        ("qwen2_vl", {"image_max_side": 32}),
        ("qwen2_5_vl", {"image_width": 32, "image_height": 16}),
        ("qwen2_vl", {"min_pixels": 256, "max_pixels": 24 * 24}),
        ("llava", {"convert_img_format": True}),
        ("llava", {"max_length": 200, "add_bos_token": True}),
    ],
)
def test_arguments_on_images_mean_the_same(
    kind: str, changes: dict[str, Any], pairs_of_models: Any
) -> None:
    lm, hf = pairs_of_models(kind, **changes)
    prompts = PROMPTS
    if changes.get("convert_img_format"):
        prompts = [*PROMPTS, ("<image> ?", [LARGE.convert("L")]), ("<image> ?", [rgba()])]
    assert generated(lm, [*prompts, *TEXTS]) == generated(hf, prompts) + generated(hf, list(TEXTS))


def rgba() -> Any:
    made = LARGE.convert("RGBA")
    made.putalpha(IMAGES[0].convert("L").resize(made.size))
    return made


def test_no_image_is_shown_where_none_may_be(folders: Any) -> None:
    lm = VisionLanguageLM(**arguments(folders("llava"), max_images=0))
    _, hf = lm, HFMultimodalLM(**arguments(folders("llava")))
    assert generated(lm, [(f"<image>{QUESTION}", [LARGE])]) == generated(hf, [QUESTION])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_words_with_another_image_are_another_prompt(
    kind: str, pairs_of_models: Any
) -> None:
    lm, hf = pairs_of_models(kind)
    asked = [(f"<image>\n{QUESTION}", " True", [one]) for one in IMAGES[:2]]
    ids = [
        hf.tok_batch_multimodal_encode([text], [shown])["input_ids"].tolist()
        for text, _, shown in asked
    ]
    assert ids[0] == ids[1]
    (one, _), (other, _) = scored(lm, asked)
    assert abs(one - other) > 1e-3


words = st.sampled_from(
    ["The", " box", " is", "\n", " ", "é", "🙂", "(A)", "tr", "ue", "<image>", "</s>", "<image>"]
)


@settings(max_examples=25)
@given(kind=st.sampled_from(KINDS), parts=st.lists(words, min_size=1, max_size=12))
def test_tokens_are_those_of_the_processor(
    kind: str, parts: list[str], pairs_of_models: Any
) -> None:
    lm, hf = pairs_of_models(kind)
    text = "".join(parts)
    shown = [(*IMAGES, LARGE)[place % 4] for place in range(text.count("<image>"))]
    if not shown:
        return
    [made] = lm._visual.prompts([(text, shown)])
    expected = hf.tok_batch_multimodal_encode([text], [shown])["input_ids"][0].tolist()
    assert lm._visual.as_read(made.tokens) == expected
    # No image can be cut, and all that is none of its own can.
    is_image = [token == hf.image_token_id for token in expected]
    assert made.stays is not None
    assert all(made.stays[is_image])


@pytest.mark.parametrize("kind", ["llava", "idefics3"])
def test_each_image_is_made_and_encoded_once(kind: str, folders: Any) -> None:
    lm = VisionLanguageLM(**arguments(folders(kind)))
    made: list[Any] = []
    plain = lm._visual.images._processed
    lm._visual.images._processed = lambda one: made.append(one) or plain(one)  # type: ignore
    before = lm._packed.encoded.total()
    for _ in range(2):
        # Equal images, not the same objects.
        asked = [(text, [one.copy() for one in shown]) for text, shown in PROMPTS]
        generated(lm, asked)
        scored(lm, [(text, " True", shown) for text, shown in asked])
    assert len(made) == 4
    assert lm._packed.encoded.total() - before == 4
    assert max(lm._packed.encoded.values()) == 1
    assert lm.get_model_info()["emo_vlm"]["images_encoded"] == 4


def test_image_major_prompts_compute_an_image_once(folders: Any) -> None:
    lm = VisionLanguageLM(**arguments(folders("llava")))
    questions = [f"<image>\nQ: Is the {name} open?\nA:" for name in ("box", "door", "room", "key")]
    scored(lm, [(text, o, [one]) for text in questions for one in IMAGES[:2] for o in OPTIONS[:2]])
    told = lm.sharing
    [with_image] = lm._visual.prompts([("<image>", IMAGES[:1])])
    assert told.computed_tokens == told.distinct_tokens
    assert told.naive_tokens - told.distinct_tokens > 14 * (len(with_image) - 1)


@pytest.mark.parametrize(
    ("text", "shown"), [("<image> and <image>", 1), ("none", 1), ("<image>", 2)]
)
@pytest.mark.parametrize("kind", ["llava", "qwen2_vl", "idefics3"])
def test_a_place_for_every_image_is_asked_for(
    kind: str, text: str, shown: int, pairs_of_models: Any
) -> None:
    lm, _ = pairs_of_models(kind)
    with pytest.raises(UserError, match="places for images"):
        generated(lm, [(text, IMAGES[:shown])])


def test_sampled_answers_do_not_depend_on_company(pairs_of_models: Any) -> None:
    lm, _ = pairs_of_models("idefics3")
    rule = {**GREEDY, "do_sample": True, "temperature": 1.0, "repetition_penalty": 1.3}
    together = generated(lm, PROMPTS, rule)
    assert together == [generated(lm, [one], rule)[0] for one in PROMPTS]


def test_penalties_on_repetition_read_images_as_upstream_does(pairs_of_models: Any) -> None:
    rule = {**GREEDY, "repetition_penalty": 1.5}
    for kind in KINDS:
        lm, hf = pairs_of_models(kind)
        assert generated(lm, PROMPTS[2:7], rule) == generated(hf, PROMPTS[2:7], rule)
