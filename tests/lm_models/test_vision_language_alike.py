"""`emo-vlm` packed, one by one and upstream: settings, thoughts, images, weights alike."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.model import CachingLM
from lm_eval.models.hf_vlms import HFMultimodalLM
from safetensors.torch import load_file

from emo_harness.errors import UserError
from emo_harness.lm_models.decoding_rule import DecodingRule, read_rule
from emo_harness.lm_models.shared_prefix import SharedPrefixLM
from emo_harness.lm_models.vision_language import VisionLanguageLM
from emo_harness.prefix import Prompt
from tests.lm_models import local_models
from tests.lm_models.local_models import assert_same_scores, requests
from tests.lm_models.test_vision_language import (
    GREEDY,
    IMAGES,
    PROMPTS,
    QUESTION,
    TEXTS,
    arguments,
    generated,
    scored,
)
from tests.lm_models.vision_models import random_image, saved

ASKED = [*PROMPTS, *TEXTS]
PROMPT_OF_FIRST = (PROMPTS[0][0], dict(GREEDY), {"visual": PROMPTS[0][1]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("llava"), "llava")


@pytest.fixture(scope="module")
def lm(folder: Path) -> VisionLanguageLM:
    return VisionLanguageLM(**arguments(folder))


@pytest.fixture(scope="module")
def expected(lm: VisionLanguageLM) -> list[str]:
    return generated(lm, ASKED)


# One rule for all that is asked


@pytest.mark.parametrize("own", [None, True])
def test_a_temperature_alone_means_what_it_means_upstream(
    own: bool | None, folder: Path, tmp_path: Path
) -> None:
    where = tmp_path / "model"
    shutil.copytree(folder, where)
    config = json.loads((where / "generation_config.json").read_text())
    (where / "generation_config.json").write_text(json.dumps({**config, "do_sample": own}))
    rule = {"until": ["\n\n"], "max_gen_toks": 5, "temperature": 0.7}
    greedy = {"until": ["\n\n"], "max_gen_toks": 5, "do_sample": False}
    prompts, texts = PROMPTS[:4], list(TEXTS[:2])
    models = [VisionLanguageLM(**arguments(where, share=share)) for share in (True, False)]
    models.append(HFMultimodalLM(**arguments(where)))
    found = [generated(one, prompts, rule) for one in models]
    most_probable = generated(models[0], prompts, greedy)
    # Drawn where the model's own configuration says so, as everywhere else.
    assert [answers == most_probable for answers in found] == [not own] * 3
    said = generated(models[0], texts, greedy)
    assert all(generated(one, texts, rule) != said for one in models)


@pytest.mark.parametrize("share", [True, False])
def test_arms_are_not_drawn_where_others_are_not(share: bool, folder: Path) -> None:
    one = VisionLanguageLM(**arguments(folder, share=share))
    rule = {"until": ["\n\n"], "max_gen_toks": 4, "temperature": 0.7}
    with pytest.raises(UserError, match="one rule for all arms") as told:
        generated(one, [PROMPTS[0], TEXTS[0]], rule)
    assert "do_sample=True" in told.value.fix
    for do_sample in (True, False):
        assert len(generated(one, [PROMPTS[0], TEXTS[0]], {**rule, "do_sample": do_sample})) == 2
    assert len(generated(one, [PROMPTS[0], TEXTS[0]], {**rule, "temperature": 0.0})) == 2


def test_draws_that_a_cache_would_keep_are_told(folder: Path, tmp_path: Path, caplog: Any) -> None:
    one = VisionLanguageLM(**arguments(folder))
    cache = CachingLM(one, str(tmp_path / "answers.db"))
    rule = {"until": ["\n\n"], "max_gen_toks": 4, "temperature": 0.7}
    for given in ({**rule, "do_sample": True}, {**rule, "do_sample": False}):
        generated(cache.lm, list(TEXTS), given)
    assert "first draw" not in caplog.text
    generated(cache.lm, list(TEXTS), rule)
    assert caplog.text.count("first draw") == 1


@pytest.mark.parametrize("kind", ["text", "token"])
def test_what_was_thought_is_left_out_of_all_answers(
    kind: str, lm: VisionLanguageLM, folder: Path, expected: list[str]
) -> None:
    if kind == "text":
        end: Any = expected[0][3]
    else:
        [prompt] = lm._encode_prompts(requests("generate_until", [PROMPT_OF_FIRST]))
        rule = read_rule(GREEDY, lm._generation_config, default_max_tokens=8, eos="</s>")
        assert isinstance(rule, DecodingRule)
        progress = lm._progress([], disable=True)
        asked = [Prompt(prompt.tokens, 8, lambda generated: False, None)]
        lm._visual.images.key_of(IMAGES[0])
        [one] = lm._engine.continued(asked, progress)
        end = one.generated[3]
    found = [
        generated(VisionLanguageLM(**arguments(folder, think_end_token=end, **more)), ASKED)
        for more in ({}, {"share": False}, {"share": False, "batch_size": 4})
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0] != expected[0]
    assert expected[0].endswith(found[0][0])


def test_an_image_is_let_go_when_it_was_asked_about(folder: Path) -> None:
    for share in (True, False):
        one = VisionLanguageLM(**arguments(folder, share=share))
        shown = [random_image(100 + number, 40, 24) for number in range(4)]
        alive = [weakref.ref(image) for image in shown]
        generated(one, [(f"<image>\n{QUESTION}", [image]) for image in shown])
        scored(one, [(f"<image>\n{QUESTION}", " True", [image]) for image in shown])
        del shown
        gc.collect()
        assert [reference() for reference in alive] == [None] * 4


def test_an_image_whose_features_had_to_leave_is_made_from_the_one_shown_now(
    folder: Path, expected: list[str]
) -> None:
    one = VisionLanguageLM(**arguments(folder))
    one._packed._features.shrink(0)  # type: ignore[union-attr]
    for _ in range(2):
        asked = [(text, [image.copy() for image in shown]) for text, shown in PROMPTS]
        assert generated(one, asked) == expected[: len(PROMPTS)]


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl", "idefics3"])
def test_an_image_string_means_what_it_means_upstream(kind: str, tmp_path: Path) -> None:
    mark = {"qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>"}.get(kind, "<image>")
    given = arguments(saved(tmp_path, kind), image_string=mark)
    assert generated(VisionLanguageLM(**given), PROMPTS) == generated(
        HFMultimodalLM(**given), PROMPTS
    )


# Images beside each other


@pytest.mark.parametrize("kind", ["qwen2_vl", "llava"])
def test_images_stay_apart_where_the_text_between_them_is_cut(kind: str, tmp_path: Path) -> None:
    where = saved(tmp_path, kind)
    text = f"Look at <image> and then please have a look at <image>. {QUESTION * 3}"
    found = []
    for share in (True, False):
        one = VisionLanguageLM(**arguments(where, max_length=75, share=share))
        found.append(
            (generated(one, [(text, IMAGES[:2])]), scored(one, [(text, " True", IMAGES[:2])]))
        )
        [prompt] = one._visual.prompts([(text, IMAGES[:2])])
        n_images = int(one._visual.is_image(prompt.tokens).sum())
        assert prompt.stays is not None
        assert int(prompt.stays.sum()) > n_images
        assert len(prompt) > 75
    assert found[0][0] == found[1][0]
    assert_same_scores(found[0][1], found[1][1])


def test_images_side_by_side_are_told_where_the_model_takes_them_for_one(tmp_path: Path) -> None:
    where = saved(tmp_path, "qwen2_vl")
    asked = [(f"<image><image> {QUESTION}", IMAGES[:2])]
    packed = VisionLanguageLM(**arguments(where))
    assert len(generated(packed, asked)) == 1
    assert packed.get_model_info()["emo_vlm"]["backend"] == "packed"
    alone = VisionLanguageLM(**arguments(where, share=False))
    with pytest.raises(UserError, match="nothing between them"):
        generated(alone, asked)
    with pytest.raises(UserError, match="nothing between them"):
        scored(alone, [(asked[0][0], " True", asked[0][1])])


# Weights


@pytest.mark.parametrize("model", [VisionLanguageLM, SharedPrefixLM])
def test_weights_are_read_from_safetensors_alone(model: Any, folder: Path, tmp_path: Path) -> None:
    where = tmp_path / "pickled"
    if model is VisionLanguageLM:
        shutil.copytree(folder, where)
    else:
        local_models.saved(where, "llama")
    torch.save(load_file(where / "model.safetensors"), where / "pytorch_model.bin")
    (where / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors") as told:
        model(**arguments(where))
    assert "save_pretrained" in told.value.fix
    with pytest.raises(UserError, match="use_safetensors"):
        model(**arguments(where, use_safetensors=False))
